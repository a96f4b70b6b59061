"""Series: the bars of one source, symbol and timeframe by event time, and where new ones stand among them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from router.rows import Mask, Positions
from router.schema import FRAME_SCHEMA

Places = npt.NDArray[np.int64]
Made = TypeVar("Made")
Piece = tuple[Places, Places, Places, int]

#: What names a series.
SERIES: Final = ("source", "symbol", "timeframe")
#: Counts the complete bars of a series since the last gap, from 0; null while a bar may still change.
ORDINAL: Final = "ordinal"
HISTORY_SCHEMA: Final = pl.Schema({**FRAME_SCHEMA, ORDINAL: pl.UInt32()})


@dataclass(frozen=True, slots=True)
class SeriesPolicy:
    """What somebody needs of the bars before its own.

    Attributes:
        bars: How many complete ones of each series.
        allowed_lateness: Microseconds that a bar may come behind the newest of its series.
        max_gap: Most bars that may be missing between two neighbours of a run.
    """

    bars: int
    allowed_lateness: int = 0
    max_gap: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """The bars before some rows, each once: series by series, and in each by event time.

    Attributes:
        frame: Columns of `HISTORY_SCHEMA`.
    """

    frame: pl.DataFrame

    @classmethod
    def empty(cls) -> History:
        """Return the history of series that nobody has seen a bar of."""
        return cls(HISTORY_SCHEMA.to_frame())


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Some rows of a batch, and the bars of their series up to them.

    Attributes:
        rows: Positions in the batch, in order.
        bars: Columns of `HISTORY_SCHEMA`, by event time, as they were known when the last of the rows came.
        at: Where each row stands in `bars`.
        before: How many bars of the series came before `bars`: since the last gap, if one breaks a run.
    """

    rows: Positions
    bars: pl.DataFrame
    at: Places
    before: int


@dataclass(frozen=True, slots=True)
class Completions:
    """Bars that became complete, or were revised when they just had: one entry for each, by row.

    Attributes:
        rows: The row that made it so: its own, or that of a later bar.
        places: Where it stands in `Placed.order`.
        bars: Which bar of `Placed.bars` it was then.
        revised: Whether the series had that bar before, with other values.
    """

    rows: Places
    places: Places
    bars: Places
    revised: Mask

    def __getitem__(self, some: Mask | Places) -> Completions:
        return Completions(self.rows[some], self.places[some], self.bars[some], self.revised[some])


@dataclass(frozen=True, slots=True)
class WindowChange:
    """How the window of one series changes by the rows of a batch.

    Attributes:
        series: Source, symbol and timeframe.
        dropped: How many of the newest bars it had are to go.
        added: Bars of `Placed.bars` that come instead.
        ordinals: Theirs; -1 while a bar may still change.
        kept: How many bars it has then at most.
    """

    series: tuple[str, str, str]
    dropped: int
    added: Places
    ordinals: Places
    kept: int


@dataclass(frozen=True, slots=True)
class Placed:
    """The rows of a batch among the bars before them; `router.placing.place` makes it.

    Attributes:
        bars: Those before, then the rows, as they came; columns of `HISTORY_SCHEMA`.
        known: How many came before.
        late: Rows that came too late for their series, and why; these are in none of the others.
        order: The complete bars, by place in `bars`: series by series, and in each by event time.
        firsts: Of each place in `order` the first of its series there.
        ordinals: Of each place in `order`, see `ORDINAL`.
        completed: What the rows completed.
        changes: The windows after all rows.
        pieces: Rows, the bars of their series up to them as places in `bars`, where in these each stands, and
            how many bars came before these.
        policy: What is kept, and what is late.
    """

    bars: pl.DataFrame
    known: int
    late: dict[int, str]
    order: Places
    firsts: Places
    ordinals: Places
    completed: Completions
    changes: Sequence[WindowChange]
    pieces: Sequence[Piece]
    policy: SeriesPolicy

    def after(self) -> History:
        """Return the windows as the rows leave them; series they have no bar of stay as they are."""
        held = self.bars[: self.known].with_row_index("at").group_by(SERIES, maintain_order=True).agg("at")
        windows = {tuple(series): np.array(at, dtype=np.int64) for *series, at in held.rows()}
        ordinals = self.bars[ORDINAL].cast(pl.Int64).fill_null(-1).to_numpy().copy()
        for change in self.changes:
            old = windows.get(change.series, np.empty(0, dtype=np.int64))
            windows[change.series] = np.append(old[: len(old) - change.dropped], change.added)[-change.kept :]
            ordinals[change.added] = change.ordinals
        kept = np.concatenate([np.empty(0, dtype=np.int64), *windows.values()])
        counted = pl.Series(ORDINAL, ordinals[kept])
        numbers = counted.set(counted < 0, None).cast(pl.UInt32)
        return History(self.bars[kept].with_columns(numbers))


class Standing:
    """Where the rows of a batch stand among the bars of their series before them.

    Attributes:
        placed: The rows that were placed together: these, and perhaps others.
        rows: Which of them are the rows of the batch.
    """

    __slots__ = ("_made", "placed", "rows")

    def __init__(
        self, placed: Placed, rows: Places | None = None, made: dict[Hashable, Any] | None = None
    ) -> None:
        """Take what was placed; None: all rows of it, and nothing was made of them yet."""
        self.placed = placed
        self.rows: Places = np.arange(len(placed.bars) - placed.known) if rows is None else rows
        self._made: dict[Hashable, Any] = {} if made is None else made

    def __getitem__(self, keep: Mask | slice) -> Standing:
        return Standing(self.placed, self.rows[keep], self._made)

    def once(self, what: Hashable, make: Callable[[Placed], Made]) -> Made:
        """Return what is made of all rows that were placed together, once for every batch of them."""
        if what not in self._made:
            self._made[what] = make(self.placed)
        found: Made = self._made[what]
        return found

    @staticmethod
    def concat(standings: Sequence[Standing | None]) -> Standing | None:
        """Return that of rows placed together, in order; None: they were not."""
        first = standings[0]
        if first is None or any(one is None or one.placed is not first.placed for one in standings):
            return None
        rows = np.concatenate([one.rows for one in standings if one is not None])
        return Standing(first.placed, rows, first._made)

    def completed(self) -> Completions:
        """Return what the rows of the batch completed; `rows` are positions in the batch."""
        found, ours = self.placed.completed, self._positions()
        mine = found[ours[found.rows] >= 0]
        return Completions(ours[mine.rows], mine.places, mine.bars, mine.revised)

    def neighbours(self) -> Iterator[Neighbours]:
        """Yield the rows of the batch with the bars before them, each once; series by series, if in order."""
        ours = self._positions()
        for rows, bars, at, before in self.placed.pieces:
            mine = ours[rows] >= 0
            if mine.any():
                yield Neighbours(ours[rows[mine]].astype(np.uint32), self.placed.bars[bars], at[mine], before)

    # Of each row that was placed its position in the batch, or -1.
    def _positions(self) -> Places:
        found = np.full(len(self.placed.bars) - self.placed.known, -1, dtype=np.int64)
        found[self.rows] = np.arange(len(self.rows))
        return found
