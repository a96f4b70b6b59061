"""Keep points in a list, for tests and notebooks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np

from destinations.base import DataDestination
from destinations.repeats import new_rows
from router.batch import PointBatch
from router.errors import TerminalError
from router.points import NormalizedDataPoint
from router.rows import Rows


class MemoryDestination(DataDestination):
    """A list of points that holds to the contract of every destination: rows written twice are there once.

    What it remembers lives and dies with the instance; `close` forgets nothing. Threads may share it.

    Args:
        refuse: Which points it will never take: they are named in a TerminalError and not kept.

    Attributes:
        points: What was written, in order.
    """

    def __init__(
        self, *, name: str | None = None, refuse: Callable[[NormalizedDataPoint], bool] | None = None
    ) -> None:
        """Start empty."""
        super().__init__(name=name)
        self.points: list[NormalizedDataPoint] = []
        self.refuse = refuse
        self._written: dict[str | None, dict[str, Rows]] = {}
        self._rows: Counter[str | None] = Counter()
        self._lock = threading.Lock()

    def write_batch(self, batch: PointBatch) -> None:
        """Keep the rows that are not kept yet, in order.

        Raises:
            TerminalError: Names the rows that were refused; all others are kept.
        """
        refused = [row for row, point in enumerate(batch) if self.refuse is not None and self.refuse(point)]
        accepted = np.ones(len(batch), dtype=np.bool_)
        accepted[refused] = False
        self._keep(batch.filter(accepted))
        if refused:
            raise TerminalError(f"{len(refused)} points were refused", refused)

    def rows_written(self, route_id: str | None) -> int:
        """Return how many rows were written for a route; None: those written outside a delivery."""
        return self._rows[route_id]

    def _keep(self, batch: PointBatch) -> None:
        with self._lock:
            written = self._written.setdefault(batch.route_id, {})
            new, after = new_rows(batch, written)
            self.points.extend(batch.filter(new))
            written.update(after)
            self._rows[batch.route_id] += int(new.sum())
