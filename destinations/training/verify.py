"""Verify a training set: every column of every example, and which examples there are, against raw bars.

Nothing here writes examples, and nothing of what writes them is used here: what an example must say is
worked out anew from its definition (`expected`, `known_bars`). That independence is what makes it a proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from destinations.training.expected import FLAGS, Expected
from destinations.training.known_bars import KnownBars, Mask, Places
from destinations.training.options import TrainingOptions
from destinations.training.verify_indicators import compare
from router.schema import IDENTITY, PRICES

_SERIES: Final = ("source", "symbol", "timeframe")
#: Mismatches that are kept to be shown; all are counted.
SHOWN: Final = 1000
#: How far a written scale may be off, as a share of the largest close of its context: sums are rounded.
_ROUNDING: Final = 1e-12
_NOTHING: Final = "nothing"
#: The column of a bar that holds a field of the bars in examples, where it has another name.
_OF_BAR: Final = {"indicators": "technical_indicators"}
#: What an example says by its flags, by the number whose bits they are.
_FLAGS: Final = [
    ",".join(name for bit, name in enumerate(FLAGS) if number & 1 << bit) for number in range(1 << len(FLAGS))
]
_REVISED: Final = 1 << FLAGS.index("revised")


class Mismatch(NamedTuple):
    """One thing that a training set says otherwise than the bars.

    Attributes:
        example_id: Of which example; empty for one that is missing.
        split: The split it was found in, or belongs to.
        series: Source, symbol and timeframe.
        timestamp: The start of its current bar, UTC; None: it says none.
        column: Which column, and where in it: `context[3].close`, `target.next_close`, `split`.
        written: What is there, as text.
        bars: What the bars say, as text.
    """

    example_id: str
    split: str
    series: tuple[str, str, str]
    timestamp: datetime | None
    column: str
    written: str
    bars: str

    def __str__(self) -> str:
        source, symbol, timeframe = self.series
        time = "" if self.timestamp is None else f" {self.timestamp.isoformat()}"
        return (
            f"{self.example_id or 'no example'} ({symbol} {timeframe}{time} from {source}, {self.split}):"
            f" {self.column} is {self.written}, the bars say {self.bars}"
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of comparing a training set with bars.

    Attributes:
        examples: How many examples were checked, by split.
        expected: How many the bars have.
        missing: How many of those are not there.
        wrong: How many examples say something the bars do not, or should not be there.
        mismatches: What is wrong, or missing: the first `SHOWN`.
        bars: How many bars were compared with, and which of those given were not.
        revisions: How many examples are flagged `revised` for which the files hold no other version.
        indicators: How many values of bars' own indicators were compared; None: the examples have none.
        unknown_indicators: How many bars in examples have indicators that no bar of the files has.
    """

    examples: dict[str, int]
    expected: int
    missing: int
    wrong: int
    mismatches: tuple[Mismatch, ...]
    bars: KnownBars
    revisions: int
    indicators: int | None
    unknown_indicators: int

    def proven(self, *, partial: bool = False) -> bool:
        """Return whether nothing is wrong, and nothing missing unless only a part is there yet."""
        return not self.wrong and (partial or not self.missing)


class Verifier:
    """Compares the examples of one training set with bars, some at a time, in the order of writing."""

    def __init__(self, bars: KnownBars, options: TrainingOptions) -> None:
        """Take all the bars, and what makes an example of them."""
        self._bars = bars
        self._options = options
        self._expected = Expected(bars, options)
        self._ids = np.zeros(len(bars), dtype=np.uint64)  # of each bar the hash of its example's id; 0: none
        self._found = np.zeros(len(bars), dtype=np.int64)  # of each bar the number of its example's split
        self._names: dict[str, int] = {}
        self._strays: dict[str, str] = {}
        self._wrong: dict[str, list[Mismatch]] = {}
        self._shown = self._revisions = self._indicators = self._unknown = 0

    def take(self, split: str, table: pa.Table) -> None:
        """Compare some examples.

        Args:
            split: What they are found as.
            table: Columns of `TrainingOptions.schema`.
        """
        ids = pl.Series(table["example_id"])
        at = self._bars.find(_keys(table))
        once = (ids.is_first_distinct() & ((at < 0) | pl.Series(at).is_first_distinct())).to_numpy()
        if not once.all():  # what is written once more is a later word on the same
            self.take(split, table.filter(pa.array(once)))
            self.take(split, table.filter(pa.array(~once)))
            return
        if self._wrong:
            for name in ids:
                self._wrong.pop(name, None)
                self._strays.pop(name, None)
        block = _Block(split, table, ids, at)
        self._note(block, [*self._placed(block), *self._compared(block)])

    def verified(self) -> Verified:
        """Return what came of it, once all examples were taken."""
        there = self._ids != 0
        examples = Counter(
            dict(zip(self._names, np.bincount(self._found[there], minlength=len(self._names)).tolist()))
        )
        examples.update(self._strays.values())
        missing = np.flatnonzero(self._expected.stands & ~there)
        shared = self._shared()
        lists = [*self._wrong.values(), shared, self._missing(missing[:SHOWN])]
        return Verified(
            dict(examples),
            int(self._expected.stands.sum()),
            len(missing),
            len(self._wrong) + len(shared),
            tuple(one for found in lists for one in found)[:SHOWN],
            self._bars,
            self._revisions,
            self._indicators if self._options.has_indicators else None,
            self._unknown,
        )

    # -- where examples stand -----------------------------------------------------------------

    def _placed(self, block: _Block) -> Iterator[tuple[int, str, str, str]]:
        for row in np.flatnonzero(block.at < 0).tolist():
            self._strays[block.ids[row]] = block.split
            series, time = block.series(row), block.time(row)
            known = series in self._bars.series
            why = "no bar of that time that could be in an example" if known else "no bar of its series"
            yield row, "current.timestamp" if known else "source", _shown(time if known else series[0]), why
        rows = np.flatnonzero(block.at >= 0)
        at = block.at[rows]
        for row in rows[~self._expected.stands[at]].tolist():
            column, why = self._expected.why_not(int(block.at[row]))
            yield row, column, "an example", why
        hashes, before = block.hashes[rows], self._ids[at]
        for row in rows[(before != 0) & (before != hashes)].tolist():
            yield row, "example_id", "a second one of the same bars", "one example for each current bar"
        again = (before == hashes) & ~block.flagged("revised")[rows]
        for row in rows[again].tolist():
            yield row, "example_id", "written a second time, not as revised", "one example for each id"
        self._ids[at] = hashes
        self._found[at] = self._names.setdefault(block.split, len(self._names))

    def _shared(self) -> list[Mismatch]:
        at = np.flatnonzero(self._ids)
        twice = at[pl.Series(self._ids[at]).is_duplicated().to_numpy()]
        names = list(self._names)
        return [
            self._mismatch(
                int(place),
                names[self._found[place]],
                "example_id",
                "that of another one too",
                "one id for each example",
            )
            for place in twice
        ]

    def _missing(self, places: Places) -> list[Mismatch]:
        splits = self._expected.said(places)["split"] if len(places) else []
        return [
            self._mismatch(int(place), split, "example_id", _NOTHING, "an example for this bar")
            for place, split in zip(places, splits, strict=True)
        ]

    def _mismatch(self, place: int, split: str, *said: str) -> Mismatch:
        source, symbol, timeframe, time = self._bars.frame[place].select(IDENTITY).row(0)
        return Mismatch("", split, (source, symbol, timeframe), time, *said)

    def _note(self, block: _Block, found: Sequence[tuple[int, str, str, str]]) -> None:
        for row, *said in sorted(found, key=itemgetter(0)):
            known = self._wrong.setdefault(block.ids[row], [])
            if self._shown < SHOWN:
                self._shown += 1
                known.append(Mismatch(block.ids[row], block.split, block.series(row), block.time(row), *said))

    # -- what they say ------------------------------------------------------------------------

    def _compared(self, block: _Block) -> Iterator[tuple[int, str, str, str]]:
        rows = np.flatnonzero(block.at >= 0)
        rows = rows[self._expected.stands[block.at[rows]]]
        if not len(rows):
            return
        table, at = block.table.take(pa.array(rows)), block.at[rows]
        for column, written, bars, bad in self._differences(block.split, table, at):
            for row in np.flatnonzero(bad).tolist():
                yield int(rows[row]), column, _shown(written[row]), _shown(bars[row])
        yield from self._contexts(rows, table["context"].combine_chunks(), at)

    def _differences(
        self, split: str, table: pa.Table, at: Places
    ) -> Iterator[tuple[str, pl.Series, pl.Series, Mask]]:
        for column, bars in self._expected.said(at).items():
            written = (
                pl.Series([split]).new_from_index(0, len(at)) if column == "split" else _column(table, column)
            )
            yield column, written, bars, self._unlike(column, written, bars, at)
        yield self._flags(table, at)
        current = table["current"].combine_chunks()
        for name in _fields(self._options):
            bars, written = self._expected.bar(at, _OF_BAR.get(name, name)), pl.Series(current.field(name))
            yield f"current.{name}", written, bars, written.ne_missing(bars).to_numpy()
        if self._options.has_indicators:
            found = self._own(current.field("indicators"), at)
            yield (
                "current.indicators",
                pl.Series(current.field("indicators")),
                self._expected.bar(at, "technical_indicators"),
                found,
            )

    def _unlike(self, column: str, written: pl.Series, bars: pl.Series, at: Places) -> Mask:
        if not column.startswith("scale."):
            return written.ne_missing(bars).to_numpy()
        off = np.abs(written.to_numpy() - bars.to_numpy())
        closes = self._bars.frame["close"].to_numpy()[self._expected.context(at)]
        return ~(off <= _ROUNDING * np.abs(closes).max(axis=1))

    # Bars cannot disprove that another version of one was known once.
    def _flags(self, table: pa.Table, at: Places) -> tuple[str, pl.Series, pl.Series, Mask]:
        written = pl.Series(table["flags"]).list.join(",")
        codes = sum(
            mask.astype(np.int64) << bit for bit, mask in enumerate(self._expected.flags(at).values())
        )
        bars = pl.Series([_FLAGS[code] for code in codes.tolist()], dtype=pl.String)
        revised = pl.Series([_FLAGS[code | _REVISED] for code in codes.tolist()], dtype=pl.String)
        differs = written.ne_missing(bars)
        told = differs & written.eq_missing(revised)
        self._revisions += int(told.sum())
        return "flags", written, bars, (differs & ~told).to_numpy()

    def _contexts(
        self, rows: Places, contexts: pa.ListArray, at: Places
    ) -> Iterator[tuple[int, str, str, str]]:
        width = self._options.context_window - 1
        lengths = pc.list_value_length(contexts).fill_null(0).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(lengths != width).tolist():
            yield int(rows[row]), "context", f"{lengths[row]} bars", f"{width} bars"
        whole = np.flatnonzero(lengths == width)
        bars = contexts.take(pa.array(whole)).flatten()
        places = self._expected.context(at[whole]).ravel()
        unlike = {
            name: pl.Series(bars.field(name))
            .ne_missing(self._expected.bar(places, _OF_BAR.get(name, name)))
            .to_numpy()
            for name in _fields(self._options)
        }
        if self._options.has_indicators:
            unlike["indicators"] = self._own(bars.field("indicators"), places)
        bad = np.any(list(unlike.values()), axis=0).reshape(-1, width)
        for row in np.flatnonzero(bad.any(axis=1)).tolist():
            bar = int(bad[row].argmax())
            cell = row * width + bar
            name = next(name for name, mask in unlike.items() if mask[cell])
            own = self._expected.bar(places[cell : cell + 1], _OF_BAR.get(name, name))[0]
            yield (
                int(rows[whole[row]]),
                f"context[{bar}].{name}",
                _shown(bars[cell][name].as_py()),
                _shown(own),
            )

    def _own(self, written: pa.Array, places: Places) -> Mask:
        own = self._bars.frame["technical_indicators"].gather(places).to_arrow()
        found = compare(written, own)
        self._indicators += found.compared
        self._unknown += found.unknown
        return found.differs


@dataclass(frozen=True, slots=True)
class _Block:
    split: str
    table: pa.Table
    ids: pl.Series
    at: Places  # where the current bar of each is, or -1

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        return np.maximum(self.ids.hash().to_numpy(), 1)

    def flagged(self, flag: str) -> Mask:
        return pl.Series(self.table["flags"]).list.contains(flag).fill_null(value=False).to_numpy()

    def series(self, row: int) -> tuple[str, str, str]:
        source, symbol, timeframe = (self.table[name][row].as_py() for name in _SERIES)
        return source, symbol, timeframe

    def time(self, row: int) -> datetime | None:
        current = self.table["current"][row].as_py()
        return None if current is None else current["timestamp"]


def _keys(table: pa.Table) -> pl.DataFrame:
    time = table["current"].combine_chunks().field("timestamp")
    return pl.DataFrame({**{name: pl.Series(table[name]) for name in _SERIES}, "timestamp": pl.Series(time)})


def _column(table: pa.Table, path: str) -> pl.Series:
    name, _, field = path.partition(".")
    column = table[name].combine_chunks()
    return pl.Series(column.field(field) if field else column)


def _fields(options: TrainingOptions) -> list[str]:
    return ["timestamp", *PRICES, *(["volume"] if options.has_volume else [])]


def _shown(value: Any) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, datetime):
        return value.isoformat()
    return value or "none" if isinstance(value, str) else repr(value)
