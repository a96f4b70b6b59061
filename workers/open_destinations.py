"""The destinations a worker process has open: opened at the first write, again after a failure."""

from __future__ import annotations

import logging

from router.batch import PointBatch
from router.errors import TerminalError
from router.route import Destination
from router.table import RouteTable
from workers.failpoints import reach

logger = logging.getLogger(__name__)


class OpenDestinations:
    """One open instance of each destination, kept for the life of a worker process."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._open: dict[str, Destination] = {}

    def write(self, table: RouteTable, route_id: str, batch: PointBatch) -> None:
        """Write a batch to its route's destination; after a failure other than a refusal it is reopened."""
        if not len(batch):
            return
        name = table.destination_name(route_id)
        try:
            if name not in self._open:
                destination = table.route(route_id).destination
                destination.open()
                self._open[name] = destination
            reach("write.before")
            self._open[name].write_batch(batch.for_route(route_id))
            reach("write.after")
        except TerminalError:
            raise
        except Exception:
            self._forget(name)
            raise

    def close(self) -> None:
        """Close them all; one that fails is logged and does not keep the others open."""
        for name in list(self._open):
            self._forget(name)

    def _forget(self, name: str) -> None:
        destination = self._open.pop(name, None)
        if destination is None:
            return
        try:
            destination.close()
        except Exception:
            logger.exception("Destination did not close.", extra={"destination": name})
