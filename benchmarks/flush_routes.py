"""One route into a destination of a user's own, in which order does not matter."""

import json
import os
import time
from pathlib import Path

import workers.store
from destinations import DataDestination
from router.batch import PointBatch
from router.route import Route

# Parts stay at 10,000 points, however many wait: a flush of 32 parts is what is measured.
workers.store.BACKLOG_ROWS = 1_000_000_000


class Notes(DataDestination):
    """Notes the time of each write, by the clock that all processes share, and does nothing else."""

    ordered = False

    def write_batch(self, batch: PointBatch) -> None:
        """Note when, and how many rows."""
        with Path(os.environ["BENCH_WRITTEN"]).open("a") as file:
            file.write(json.dumps([time.monotonic(), len(batch)]) + "\n")


routes = [Route(route_id="notes", condition="true", destination=Notes())]
