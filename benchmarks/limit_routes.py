"""Routes with limits of very different sizes, each into a destination that notes when it was given what."""

import json
import os
import time
from pathlib import Path

from destinations import DataDestination
from router.batch import PointBatch
from router.route import Route

LIMITS = json.loads(os.environ["BENCH_LIMITS"])  #: points a second
OUT = Path(os.environ["BENCH_OUT"])


class Notes(DataDestination):
    """Notes the time of each write, by the clock that all processes share, and does nothing else."""

    def write_batch(self, batch: PointBatch) -> None:
        """Note when, and how many rows."""
        with (OUT / f"{self.name}.jsonl").open("a") as file:
            file.write(json.dumps([time.monotonic(), len(batch)]) + "\n")


routes = [
    Route(
        route_id=f"limited_{limit}",
        condition=f"symbol = 'L{limit}'",
        destination=Notes(name=f"limited_{limit}"),
        rate_limit=limit,
    )
    for limit in LIMITS
]
