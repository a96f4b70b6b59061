"""Write some batches into a Delta table for a route, each in two cuttings that overlap; a script."""

from __future__ import annotations

import sys
from pathlib import Path

from destinations import AnalyticsEngineDestination
from router.batch import PointBatch
from tests.make import make_batch

BATCHES = 5


def make_writers_batch(number: int, route: str) -> PointBatch:
    """Return one of the batches, the same in every process."""
    name = f"exchange-{number}"
    return make_batch(10, source=name, batch_id=name, route_id=route)


def main(root: Path, route: str) -> None:
    """Write every batch."""
    destination = AnalyticsEngineDestination(root)
    for number in range(BATCHES):
        batch = make_writers_batch(number, route)
        destination.write_batch(batch.slice(3, 10))
        destination.write_batch(batch.slice(0, 7))
    destination.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
