"""What a Delta table does that may be interrupted: a commit to a table that holds one already."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from destinations import AnalyticsEngineDestination
from tests.contract.reading import read_delta
from tests.contract.scenes import BATCHES, Look, Scene, in_part


def write(batch: str, root: Path, durability: Any) -> None:
    """Write a batch as one process does: open, write, close."""
    destination = AnalyticsEngineDestination(root / "bars", ["symbol", "year"], durability=durability)
    try:
        destination.open()
        destination.write_batch(BATCHES[batch])
    finally:
        destination.close()


def look(root: Path) -> Look:
    """Return what a reader sees; nothing where there is no table that can be read."""
    try:
        DeltaTable(root / "bars")
    except DeltaError:
        return Counter()
    return Counter((json.dumps(row), b"") for row in read_delta(root / "bars"))


def recorded(root: Path) -> object:
    """Return how many rows are recorded, and what the table says of its own size."""
    destination = AnalyticsEngineDestination(root / "bars", ["symbol", "year"])
    try:
        return destination.on_record("everything"), DeltaTable(root / "bars").count()
    finally:
        destination.close()


DELTA = Scene(partial(write, "old"), partial(write, "new"), look, recorded, in_part)
