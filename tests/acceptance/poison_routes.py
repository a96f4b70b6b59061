"""Routes whose conditions do not live to decide about the symbol BAD; each looks at one source alone."""

import os
import signal
import threading
from pathlib import Path

import polars as pl

from destinations import JSONLinesDestination
from router import NormalizedDataPoint, Route

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])


def destination(name: str) -> JSONLinesDestination:
    """Return a folder of JSON lines."""
    return JSONLinesDestination(EXPORTS / name, "{symbol}.jsonl", name=name, durability="process")


def dies(symbol: str) -> bool:
    """Take the process down when the symbol is BAD."""
    if symbol == "BAD":
        os.kill(os.getpid(), signal.SIGKILL)
    return True


def is_deadly(point: NormalizedDataPoint) -> bool:
    """Tell points of the source deadly; BAD ones kill."""
    print("a condition may print")
    return point.source == "deadly" and dies(point.symbol)


def is_endless(point: NormalizedDataPoint) -> bool:
    """Tell points of the source endless; for BAD ones it never does."""
    if point.source == "endless" and point.symbol == "BAD":
        threading.Event().wait()
    return point.source == "endless"


routes = [
    Route(route_id="deadly", condition=is_deadly, destination=destination("deadly")),
    Route(route_id="endless", condition=is_endless, destination=destination("endless")),
    Route(
        route_id="column",
        condition=pl.when(pl.col("source") == "column").then(
            pl.col("symbol").map_elements(dies, return_dtype=pl.Boolean)
        ),
        destination=destination("column"),
    ),
    Route(route_id="all", condition="true", destination=destination("all")),
]
