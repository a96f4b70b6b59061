"""Verify a training set: every column of every example, and which examples there are, against raw bars.

Nothing of what writes examples is used here: what one must say is worked out anew from its definition
(`expected`, `known_bars`). That independence is what makes it a proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from destinations.training.expected import Expected
from destinations.training.known_bars import KnownBars, Places
from destinations.training.mismatches import NOTHING, SHOWN, Difference, Mismatch, Verified, shown
from destinations.training.options import PURGED, TrainingOptions
from destinations.training.parts import TrainingParts
from destinations.training.read_parts import read_part
from destinations.training.verify_columns import Columns
from router.schema import IDENTITY

_SERIES: Final = ("source", "symbol", "timeframe")
#: Bars in the examples that are compared at once.
_BARS: Final = 400_000


def verify(
    verifier: Verifier, batches: Iterable[tuple[str, pa.Table]], advance: Callable[[int], object]
) -> Verified:
    """Compare all examples of a training set with bars.

    Small files are compared together: most of the time is that of the first example.

    Args:
        verifier: Has taken nothing yet.
        batches: Examples, columns of `TrainingOptions.schema`, each with the split it was found in.
        advance: Told how many examples more were compared.
    """
    waiting: list[tuple[str, pa.Table]] = []
    for batch in batches:
        waiting.append(batch)
        if sum(len(table) for _, table in waiting) >= verifier.at_once:
            advance(_take(verifier, waiting))
            waiting = []
    advance(_take(verifier, waiting))
    return verifier.verified()


def written(parts: TrainingParts) -> Iterator[tuple[str, pa.Table]]:
    """Yield every example of the part files of a training set, in the order of writing, with its split.

    Raises:
        ConfigError: `dataset.part`, if a file cannot be read or holds something else.
    """
    for part in parts.parts:
        for table in read_part(part.path, parts.options):
            yield part.split, table


def _take(verifier: Verifier, waiting: Sequence[tuple[str, pa.Table]]) -> int:
    splits = [split for split, table in waiting for _ in range(len(table))]
    if splits:
        verifier.take(pl.Series(splits), pa.concat_tables([table for _, table in waiting]))
    return len(splits)


class Verifier:
    """Compares the examples of one training set with bars, some at a time, in the order of writing.

    What is written later of an `example_id` counts instead of what was before, if it says it is `revised`.

    Args:
        bars: All the bars.
        options: What makes an example of them.
        purged: Whether examples that lie across a boundary are to be there too.

    Attributes:
        at_once: How many examples are well compared at once.
        expected: How many the bars have.
    """

    def __init__(self, bars: KnownBars, options: TrainingOptions, *, purged: bool = True) -> None:
        """Work out which examples there must be."""
        self._bars = bars
        self._options = options
        self._expected = Expected(bars, options)
        self._columns = Columns(self._expected)
        self._wanted = self._expected.wanted(purged=purged)
        self.expected = int(self._wanted.sum())
        self.at_once = max(1, _BARS // options.context_window)
        self._ids = np.zeros(len(bars), dtype=np.uint64)  # of each bar the hash of its example's id; 0: none
        self._found = np.zeros(len(bars), dtype=np.int64)  # of each bar the number of its example's split
        self._splits: dict[str, int] = {}
        self._strays: dict[str, str] = {}  # splits of examples that have no current bar, by id
        self._wrong: dict[str, list[Mismatch]] = {}
        self._noted = 0

    def take(self, splits: pl.Series, table: pa.Table) -> None:
        """Compare some examples.

        Args:
            splits: The split that each is found in.
            table: Columns of `TrainingOptions.schema`.
        """
        while len(table):
            ids, at = pl.Series(table["example_id"]), self._bars.find(_keys(table))
            once = (
                ids.is_first_distinct() & (pl.Series(at < 0) | pl.Series(at).is_first_distinct())
            ).to_numpy()
            self._take(splits.filter(once), table.filter(pa.array(once)).combine_chunks(), at[once])
            splits, table = splits.filter(~once), table.filter(pa.array(~once))

    def verified(self) -> Verified:
        """Return what came of it, once all examples were taken."""
        there = self._ids != 0
        missing = np.flatnonzero(self._wanted & ~there)
        shared = self._shared()
        lists = [*self._wrong.values(), shared, self._missing(missing[:SHOWN])]
        return Verified(
            self._counts(there),
            self.expected,
            len(missing),
            len(self._wrong) + len(shared),
            tuple(one for found in lists for one in found)[:SHOWN],
            self._bars,
            self._columns.revisions,
            self._columns.indicators if self._options.has_indicators else None,
            self._columns.unknown_indicators,
        )

    # -- some examples ------------------------------------------------------------------------

    # None of them is of the same id, or of the same current bar, as another.
    def _take(self, splits: pl.Series, table: pa.Table, at: Places) -> None:
        self._forget(table["example_id"].to_pylist() if self._wrong else ())
        placed = np.flatnonzero(at >= 0)
        standing = placed[self._expected.stands[at[placed]]]
        differences = [
            *self._strayed(splits, table, np.flatnonzero(at < 0)),
            *self._placed(table, placed, at[placed]),
            *self._compared(splits, table, standing, at[standing]),
        ]
        for name in splits.unique(maintain_order=True):
            self._found[at[placed][(splits == name).to_numpy()[placed]]] = self._number(name)
        self._note(splits, table, differences)

    def _number(self, split: str) -> int:
        return self._splits.setdefault(split, len(self._splits))

    def _forget(self, ids: Iterable[str]) -> None:
        for name in ids:
            self._wrong.pop(name, None)
            self._strays.pop(name, None)

    def _strayed(self, splits: pl.Series, table: pa.Table, rows: Places) -> Iterator[Difference]:
        for row in rows.tolist():
            self._strays[table["example_id"][row].as_py()] = splits[row]
            if _series(table, row) in self._bars.series:
                why = "no bar of that time that can change no more"
                yield Difference(row, "current.timestamp", shown(_time(table, row)), why)
            else:
                yield Difference(row, "source", shown(table["source"][row].as_py()), "no such series")

    def _placed(self, table: pa.Table, rows: Places, at: Places) -> Iterator[Difference]:
        for place in np.flatnonzero(~self._expected.stands[at]).tolist():
            column, why = self._expected.why_not(int(at[place]))
            yield Difference(int(rows[place]), column, "there", why)
        ids, before = _hashes(table)[rows], self._ids[at]
        revised = pl.Series(table["flags"]).list.contains("revised").fill_null(value=False).to_numpy()[rows]
        for row in np.flatnonzero(pc.fill_null(pc.equal(table["example_id"], ""), True)).tolist():
            yield Difference(row, "example_id", NOTHING, "one of its own")
        for row in rows[(before != 0) & (before != ids)].tolist():
            yield Difference(row, "example_id", "that of a second one of these bars", "there is one")
        for row in rows[(before == ids) & ~revised].tolist():
            yield Difference(row, "example_id", "written again, and not as revised", "there is one")
        self._ids[at] = ids

    def _compared(self, splits: pl.Series, table: pa.Table, rows: Places, at: Places) -> Iterator[Difference]:
        if len(rows):
            for found in self._columns.differences(splits.gather(rows), table.take(pa.array(rows)), at):
                yield found._replace(row=int(rows[found.row]))

    def _note(self, splits: pl.Series, table: pa.Table, differences: Iterable[Difference]) -> None:
        for row, *said in sorted(differences, key=itemgetter(0)):
            name = table["example_id"][row].as_py()
            known = self._wrong.setdefault(name, [])
            if self._noted < SHOWN:
                self._noted += 1
                known.append(Mismatch(name, splits[row], *_series(table, row), _time(table, row), *said))

    # -- all of them --------------------------------------------------------------------------

    def _counts(self, there: npt.NDArray[np.bool_]) -> dict[str, int]:
        counts = np.bincount(self._found[there], minlength=len(self._splits)).tolist()
        found = Counter(dict(zip(self._splits, counts, strict=True)))
        found.update(self._strays.values())
        in_order = [*(split.name for split in self._options.splits), PURGED]
        return {name: found[name] for name in dict.fromkeys([*in_order, *found]) if found[name]}

    def _shared(self) -> list[Mismatch]:
        at = np.flatnonzero(self._ids)
        splits = list(self._splits)
        return [
            self._mismatch(place, splits[self._found[place]], "that of another one too", "one of its own")
            for place in at[pl.Series(self._ids[at]).is_duplicated().to_numpy()].tolist()
        ]

    def _missing(self, at: Places) -> list[Mismatch]:
        splits = self._expected.said(at)["split"].to_list() if len(at) else []
        return [
            self._mismatch(place, split, NOTHING, "there is one")
            for place, split in zip(at.tolist(), splits, strict=True)
        ]

    def _mismatch(self, place: int, split: str, written: str, bars: str) -> Mismatch:
        source, symbol, timeframe, time = self._bars.frame[place].select(IDENTITY).row(0)
        return Mismatch("", split, source, symbol, timeframe, time, "example_id", written, bars)


def _keys(table: pa.Table) -> pl.DataFrame:
    time = table["current"].combine_chunks().field("timestamp")
    return pl.DataFrame({**{name: pl.Series(table[name]) for name in _SERIES}, "timestamp": pl.Series(time)})


# 0 stands for no example.
def _hashes(table: pa.Table) -> npt.NDArray[np.uint64]:
    hashes: npt.NDArray[np.uint64] = pl.Series(table["example_id"]).hash().to_numpy()
    return np.maximum(hashes, np.uint64(1))


def _series(table: pa.Table, row: int) -> tuple[str, str, str]:
    source, symbol, timeframe = (table[name][row].as_py() for name in _SERIES)
    return source, symbol, timeframe


def _time(table: pa.Table, row: int) -> datetime | None:
    current = table["current"][row].as_py()
    return None if current is None else current["timestamp"]
