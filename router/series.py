"""Series: where the bars of a batch stand among those before them, by event time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from router.rows import Positions
from router.schema import FRAME_SCHEMA

#: What names a series.
SERIES: Final = ("source", "symbol", "timeframe")
#: Counts the complete bars of a series since the last gap, from 0; null while a bar may still be revised.
ORDINAL: Final = "ordinal"
HISTORY_SCHEMA: Final = pl.Schema({**FRAME_SCHEMA, ORDINAL: pl.UInt32()})


@dataclass(frozen=True, slots=True)
class SeriesPolicy:
    """What somebody needs of the bars before its own.

    Attributes:
        bars: How many of each series.
        allowed_lateness: Microseconds that a bar may come behind the newest of its series.
        max_gap: Most bars that may be missing between two neighbours of a run.
    """

    bars: int
    allowed_lateness: int = 0
    max_gap: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """The bars before some rows, each once: by series, and in each by event time.

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
        bars: Columns of `HISTORY_SCHEMA`, by event time; the last `len(rows)` are these rows, in order.
            Bars are as they were known when the last of the rows came.
    """

    rows: Positions
    bars: pl.DataFrame


class Standing:
    """Where the rows of a batch stand among the bars of their series before them."""

    def neighbours(self) -> list[Neighbours]:
        """Return the rows of the batch with the bars before them, every row once; few pieces, if all is in order."""
        raise NotImplementedError
