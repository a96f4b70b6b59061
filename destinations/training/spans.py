"""Tally the examples of a training set: how many there are, and over what times, by split and series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

#: What examples of one series share.
SERIES: Final = ("source", "symbol", "timeframe", "asset_class")
#: The times that must not meet: of neighbouring splits, the last `label_end` and the first `context_start`.
TIMES: Final = ("context_start", "label_end")


class Spans:
    """A tally that is told of examples a batch at a time; what it holds grows with the series only."""

    def __init__(self) -> None:
        """Begin with no example."""
        self.flags: Counter[str] = Counter()  #: how many examples have each flag
        self._found = _tally(_rows("", _none()), ("split", *SERIES))

    def add(self, split: str, examples: pa.Table) -> None:
        """Count some examples of a split; they have the columns `SERIES`, `TIMES` and `flags`."""
        self.flags.update(examples["flags"].combine_chunks().flatten().to_pylist())
        found = _tally(_rows(split, examples.select([*SERIES, *TIMES])), ("split", *SERIES))
        self._found = _merged(pl.concat([self._found, found]), ("split", *SERIES))

    def by(self, names: Sequence[str]) -> pl.DataFrame:
        """Return the tally by some of `split` and `SERIES`, sorted by them.

        Its other columns are `examples`, and `first_…` and `last_…` of each of `TIMES`.
        """
        return _merged(self._found, names).sort(names)


def _none() -> pa.Table:
    times = [pa.field(name, pa.timestamp("us", "UTC")) for name in TIMES]
    return pa.schema([*(pa.field(name, pa.string()) for name in SERIES), *times]).empty_table()


def _rows(split: str, examples: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(examples)).with_columns(split=pl.lit(split))


def _tally(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    edges = {f"first_{name}": pl.min(name) for name in TIMES} | {
        f"last_{name}": pl.max(name) for name in TIMES
    }
    return rows.group_by(by).agg(examples=pl.len().cast(pl.Int64), **edges)


def _merged(tallies: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    first, last = (pl.col(f"^{edge}_.*$") for edge in ("first", "last"))
    return tallies.group_by(by).agg(pl.sum("examples"), first.min(), last.max())
