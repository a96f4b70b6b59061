"""Routes for a batch that is decided apart: what each does is in the symbol."""

import os
import signal
import threading

import polars as pl

from destinations import MemoryDestination
from router import NormalizedDataPoint, Route


def acts(point: NormalizedDataPoint) -> bool:
    """Do what the symbol says."""
    deeds = {
        "DIES": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "LEAVES": lambda: os._exit(3),
        "HANGS": lambda: threading.Event().wait(),
        "RAISES": lambda: 1 / 0,
    }
    deeds.get(point.symbol, bool)()
    return point.symbol != "NO"


here = MemoryDestination(name="here")
routes = [
    Route(route_id="acts", condition=acts, destination=here),
    Route(route_id="number", condition=pl.col("symbol").cast(pl.Int64) > 0, destination=here),
    Route(route_id="sql", condition="symbol <> 'NO'", destination=here),
    Route(route_id="off", condition="true", destination=here, enabled=False),
]
