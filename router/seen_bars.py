"""Say of some bars what is worth knowing before they are sent: from when to when, gaps, order, repeats."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from router.batch import PointBatch
from router.schema import IDENTITY, TIMEFRAMES

_SERIES: Final = [name for name in IDENTITY if name != "timestamp"]
_LENGTHS: Final = {name: length for name, length in TIMEFRAMES.items() if length is not None}


class Facts(NamedTuple):
    """What some bars are like.

    Attributes:
        first: The earliest start of a bar, UTC; None: there are no bars.
        last: The latest.
        series: How many different source, symbol and timeframe there are.
        gaps: Steps between neighbouring bars of a series that are longer than its timeframe.
        late: Bars that start before one that came earlier in their series.
        repeated: Bars whose source, symbol, timeframe and timestamp came before.
    """

    first: datetime | None
    last: datetime | None
    series: int
    gaps: int
    late: int
    repeated: int


class SeenBars:
    """Keeps the identities of bars, some 20 bytes each."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []

    def add(self, batch: PointBatch) -> None:
        """Add the bars of a batch."""
        self._parts.append(batch.frame.select(pl.col(_SERIES).cast(pl.Categorical), "timestamp"))

    def facts(self) -> Facts:
        """Return what they are like, all together."""
        if not self._parts:
            return Facts(None, None, 0, 0, 0, 0)
        bars = pl.concat(self._parts)
        start = pl.col("timestamp")
        before = start.cum_max().shift().over(_SERIES)
        distinct = bars.unique().sort("timestamp")
        length = pl.col("timeframe").cast(pl.String).replace_strict(_LENGTHS, default=None)
        step = start.to_physical().diff().over(_SERIES)
        return Facts(
            bars["timestamp"].min(),  # type: ignore[arg-type]
            bars["timestamp"].max(),  # type: ignore[arg-type]
            bars.n_unique(_SERIES),
            distinct.select((step > length).sum()).item(),
            bars.select((start < before).sum()).item(),
            len(bars) - len(distinct),
        )
