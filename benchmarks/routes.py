"""The two routes that are measured: everything to CSV files, the longer timeframes to JSON lines."""

import json
import os
import time
from pathlib import Path

from destinations import CSVDestination, JSONLinesDestination
from router.batch import PointBatch
from router.route import Route

OUT = Path(os.environ["BENCH_OUT"])
DURABILITY = os.environ["BENCH_DURABILITY"]
WRITTEN = os.environ.get("BENCH_WRITTEN", "")


class TimedCSV(CSVDestination):
    """CSV files, and a line `[when, [batch id, …]]` after every write.

    The clock is the system's monotonic one, which all processes share; it is read when the rows are in
    their files and recorded, so the line itself is not part of what is measured.
    """

    def write_batch(self, batch: PointBatch) -> None:
        """Write the rows, then note the time."""
        super().write_batch(batch)
        line = json.dumps([time.monotonic(), [part.batch_id for part in batch.parts]])
        with Path(WRITTEN).open("a") as file:
            file.write(line + "\n")


csv_files = (TimedCSV if WRITTEN else CSVDestination)(OUT / "csv", durability=DURABILITY)
json_lines = JSONLinesDestination(OUT / "jsonl", durability=DURABILITY)

routes = [
    Route(route_id="csv", condition="true", destination=csv_files),
    Route(route_id="jsonl", condition="timeframe in ('1h','4h','1d')", destination=json_lines),
]
