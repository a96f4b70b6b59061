"""Write some batches into a Delta table, and die at a step that is named."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from destinations.delta import AnalyticsEngineDestination, DeltaFolder
from destinations.delta_ledger import DeltaLedger
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
    if step == "noting":
        DeltaLedger._note = deadly(DeltaLedger._note, before=False)  # type: ignore[method-assign]
    elif step in ("before_append", "after_append"):
        DeltaFolder.append = deadly(DeltaFolder.append, before=step == "before_append")  # type: ignore[method-assign]
    for number in range(batches):
        batch = make_batch(10, source=f"exchange-{number}", batch_id=f"batch-{number}")
        destination.write_batch(batch.slice(3, 10))
        destination.write_batch(batch.slice(0, 7))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
