"""Write eight batches in one of two orders; a script, run by two processes at once."""

from __future__ import annotations

import sys
from pathlib import Path

from destinations import CSVDestination
from router.batch import PointBatch
from tests.make import make_batch

BATCHES = 8
ORDERS = (range(BATCHES), range(BATCHES - 1, -1, -1))


def make_race_batch(number: int) -> PointBatch:
    """Return one of the batches, the same in every process."""
    return make_batch(20, ["BTC/USDT", f"S{number}"], batch_id=f"batch-{number}", source=f"exchange-{number}")


def main() -> None:
    """Write every batch in the order of the number given, in two overlapping parts."""
    destination = CSVDestination(Path(sys.argv[1]), "{symbol}.csv", durability="process")
    for number in ORDERS[int(sys.argv[2])]:
        batch = make_race_batch(number)
        destination.write_batch(batch.slice(0, 13))
        destination.write_batch(batch.slice(7, 20))
    destination.close()


if __name__ == "__main__":
    main()
