"""Compare what examples say, column by column, with what the bars say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from destinations.training.expected import FLAGS, Expected
from destinations.training.known_bars import Mask, Places
from destinations.training.mismatches import Difference, shown
from destinations.training.options import TrainingOptions
from destinations.training.verify_indicators import compare
from router.schema import PRICES

#: How far a written scale may be off, as a share of the largest close of its context: sums are rounded.
_ROUNDING: Final = 1e-12
_INDICATORS: Final = "indicators"
#: What an example says by its flags, by the number whose bits they are.
_FLAGS: Final = [
    ",".join(name for bit, name in enumerate(FLAGS) if number & 1 << bit) for number in range(1 << len(FLAGS))
]
_REVISED: Final = 1 << FLAGS.index("revised")


class _Pair(NamedTuple):
    column: str
    written: pl.Series
    bars: pl.Series
    differs: Mask


class Columns:
    """Compares examples whose current bar is known, and counts what could not be compared.

    Attributes:
        revisions: See `Verified`, and so are `indicators` and `unknown_indicators`.
    """

    def __init__(self, expected: Expected) -> None:
        """Take what the bars say."""
        self.revisions = self.indicators = self.unknown_indicators = 0
        self._expected = expected
        self._options = expected.options

    def differences(self, splits: pl.Series, table: pa.Table, at: Places) -> Iterator[Difference]:
        """Yield what some examples say otherwise.

        Args:
            splits: The split that each is found in.
            table: Columns of `TrainingOptions.schema`.
            at: Where the current bar of each is.
        """
        for pair in self._pairs(splits, table, at):
            for row in np.flatnonzero(pair.differs).tolist():
                yield Difference(row, pair.column, shown(pair.written[row]), shown(pair.bars[row]))
        yield from self._contexts(table["context"].combine_chunks(), at)

    def _pairs(self, splits: pl.Series, table: pa.Table, at: Places) -> Iterator[_Pair]:
        said = self._expected.said(at)
        yield _pair("split", splits, said.pop("split"))
        for column, bars in said.items():
            pair = _pair(column, _column(table, column), bars)
            yield self._rounded(pair, at) if column.startswith("scale.") else pair
        yield self._flags(table, at)
        current = table["current"].combine_chunks()
        for name in _fields(self._options):
            yield _pair(f"current.{name}", pl.Series(current.field(name)), self._expected.bar(at, name))
        if self._options.has_indicators:
            yield self._own(current, at)._replace(column=f"current.{_INDICATORS}")

    def _rounded(self, pair: _Pair, at: Places) -> _Pair:
        off = np.abs(pair.written.to_numpy() - pair.bars.to_numpy())
        closes = self._expected.bars.frame["close"].to_numpy()[self._expected.context(at)]
        return pair._replace(differs=~(off <= _ROUNDING * np.abs(closes).max(axis=1)))

    # Bars cannot disprove that another version of one was known once.
    def _flags(self, table: pa.Table, at: Places) -> _Pair:
        numbers = np.zeros(len(at), dtype=np.int64)
        for bit, mask in enumerate(self._expected.flags(at).values()):
            numbers |= mask.astype(np.int64) << bit
        written = pl.Series(table["flags"]).list.join(",")
        pair = _pair("flags", written, _texts(numbers))
        revised = pair.differs & written.eq_missing(_texts(numbers | _REVISED)).to_numpy()
        self.revisions += int(revised.sum())
        return pair._replace(differs=pair.differs & ~revised)

    def _contexts(self, contexts: pa.ListArray, at: Places) -> Iterator[Difference]:
        width = self._options.context_window - 1
        lengths = pc.fill_null(pc.list_value_length(contexts), 0).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(lengths != width).tolist():
            yield Difference(row, "context", f"{lengths[row]} bars long", f"{width} bars long")
        whole = np.flatnonzero(lengths == width)
        bars = contexts.take(pa.array(whole)).flatten()
        pairs = self._of_bars(bars, self._expected.context(at[whole]).ravel())
        differs = np.any([pair.differs for pair in pairs], axis=0).reshape(-1, width)
        for row in np.flatnonzero(differs.any(axis=1)).tolist():
            bar = int(differs[row].argmax())
            cell = row * width + bar
            name, written, known, _ = next(pair for pair in pairs if pair.differs[cell])
            yield Difference(
                int(whole[row]), f"context[{bar}].{name}", shown(written[cell]), shown(known[cell])
            )

    def _of_bars(self, bars: pa.StructArray, at: Places) -> list[_Pair]:
        found = [
            _pair(name, pl.Series(bars.field(name)), self._expected.bar(at, name))
            for name in _fields(self._options)
        ]
        return [*found, self._own(bars, at)] if self._options.has_indicators else found

    def _own(self, bars: pa.StructArray, at: Places) -> _Pair:
        own = self._expected.bar(at, "technical_indicators")
        found = compare(bars.field(_INDICATORS), own.to_arrow())
        self.indicators += found.compared
        self.unknown_indicators += found.unknown
        return _Pair(_INDICATORS, pl.Series(bars.field(_INDICATORS)), own, found.differs)


def _pair(column: str, written: pl.Series, bars: pl.Series) -> _Pair:
    return _Pair(column, written, bars, written.ne_missing(bars).to_numpy())


def _texts(numbers: Places) -> pl.Series:
    return pl.Series([_FLAGS[number] for number in numbers.tolist()], dtype=pl.String)


def _column(table: pa.Table, path: str) -> pl.Series:
    name, _, field = path.partition(".")
    column = table[name].combine_chunks()
    return pl.Series(column.field(field) if field else column)


def _fields(options: TrainingOptions) -> list[str]:
    return ["timestamp", *PRICES, *(["volume"] if options.has_volume else [])]
