"""How a DataRouter delivers by the fleet: the batch is accepted, and the workers do the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.batch import PointBatch
from router.errors import ConfigError
from router.matching import Matches
from router.names import nearest
from router.table import RouteTable
from workers.producer import Producer


class FleetDelivery:
    """Hands batches to the fleet, whose workers match them by their own routes file.

    Routes cannot be sent, for a condition may be any function: those a router was given must be
    known to the fleet under the same ids.
    """

    def __init__(self) -> None:
        """Connect at the first delivery."""
        self._producer: Producer | None = None

    def deliver(
        self, batch: PointBatch, matches: Matches, table: RouteTable, context: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Wait until the batch is safe in the fleet; what fails later is a dead letter, not an error here.

        Raises:
            ConfigError: ``route.unknown``: no worker has ever served one of the routes.
            FleetError: The fleet did not take the batch.
        """
        producer = self._connected()
        served = producer.served()
        for route_id in matches.selections:
            if route_id not in served:
                known = [name for name in served if name[0] not in "@!"]
                raise ConfigError(
                    "route.unknown",
                    route_id,
                    f"no worker of the fleet serves this route{nearest(route_id, known)}: "
                    "put it into the routes file the workers were started with, "
                    "or pass enable_parallel=False to deliver in this process",
                )
        producer.send_batch(batch, context=context)
        return []

    def flush(self, table: RouteTable) -> None:
        """Wait until everything sent is safe, and let none of it wait for its batch to fill."""
        producer = self._connected()
        producer.flush()
        producer.flush_batches(route.route_id for route in table.by_priority())

    def _connected(self) -> Producer:
        if self._producer is None:
            self._producer = Producer()
        return self._producer
