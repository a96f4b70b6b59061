"""Write some batches into a Delta table, and die at a step that is named."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from destinations.delta import AnalyticsEngineDestination
from destinations.delta_files import DeltaFiles
from destinations.delta_table import DeltaTable
from tests.make import make_batch


def deadly(call: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    """Return a function that ends this process instead of calling another, or once that returned."""

    def die(*arguments: object) -> None:
        if not before:
            call(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


def main(root: Path, batches: int, step: str) -> None:
    """Write that many batches of 10 points, each in two cuttings that overlap."""
    destination = AnalyticsEngineDestination(root)
    destination.open()
    if step == "adding":
        DeltaFiles.add = deadly(DeltaFiles.add, before=False)  # type: ignore[method-assign]
    elif step in ("before_commit", "after_commit"):
        DeltaTable.commit = deadly(DeltaTable.commit, before=step == "before_commit")  # type: ignore[method-assign]
    for number in range(batches):
        batch = make_batch(10, source=f"exchange-{number}", batch_id=f"batch-{number}")
        destination.write_batch(batch.slice(3, 10))
        destination.write_batch(batch.slice(0, 7))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
