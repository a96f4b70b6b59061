"""Two routes that write every point: into CSV files and into JSON lines, one file a symbol."""

import os
import threading
from pathlib import Path

from destinations import CSVDestination, JSONLinesDestination
from router import PointBatch, Route

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])


class Dawdling:
    """Takes its time to say that points are written: whoever is killed then has written, but not settled."""

    def write_batch(self, batch: PointBatch) -> None:
        super().write_batch(batch)
        threading.Event().wait(0.05)


class DawdlingCSV(Dawdling, CSVDestination):
    """CSV files, written and not yet settled for a moment."""


class DawdlingJSONLines(Dawdling, JSONLinesDestination):
    """JSON lines, written and not yet settled for a moment."""


routes = [
    Route(route_id="csv", condition="true", destination=DawdlingCSV(EXPORTS / "csv", "{symbol}.csv")),
    Route(
        route_id="jsonl",
        condition="timeframe = '1m'",
        destination=DawdlingJSONLines(EXPORTS / "jsonl", "{symbol}.jsonl"),
    ),
]
