"""What `yaml_fleet.yaml` names: a condition that may kill, a transform, and a destination of one's own."""

import os
import signal
from typing import Any

import polars as pl

from destinations import JSONLinesDestination
from router import NormalizedDataPoint, PointBatch, TerminalError


def is_deadly(point: NormalizedDataPoint) -> bool:
    """Tell points of the source deadly; the symbol BAD takes the process down."""
    if point.source == "deadly" and point.symbol == "BAD":
        os.kill(os.getpid(), signal.SIGKILL)
    return point.source == "deadly"


def halved(frame: pl.DataFrame) -> pl.DataFrame:
    """Halve the prices."""
    return frame.with_columns(pl.col("open", "high", "low", "close") / 2)


class Picky(JSONLinesDestination):
    """JSON lines without the symbol BAD."""

    def __init__(self, *args: Any, token: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.token = token

    def write_batch(self, batch: PointBatch) -> None:
        """Write the rows of other symbols, and refuse those."""
        super().write_batch(batch.filter(pl.col("symbol") != "BAD"))
        if rows := [row for row, point in enumerate(batch) if point.symbol == "BAD"]:
            raise TerminalError("BAD is not listed here", rows)
