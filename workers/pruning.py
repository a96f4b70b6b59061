"""Destinations forget what nobody owes any more: about once an hour each, and never instead of a write."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Final

from router.errors import CandlefleetError
from router.table import RouteTable
from workers.letters import said
from workers.open_destinations import OpenDestinations
from workers.store import Store

logger = logging.getLogger(__name__)

#: How long ago a batch was last written that may be forgotten.
AGE: Final = timedelta(days=1)
#: Seconds, over the whole fleet, between two times that a destination forgets.
EVERY: Final = 3600.0
#: Seconds until it goes on where something may be left.
REST: Final = 10.0
#: Seconds in which a process asks once whether it is time.
LOOK: Final = 1.0


class Pruning:
    """What one process does about the records of the destinations that it has open.

    Args:
        store: The fleet's state, which knows what is owed and who pruned last.
        table: The routes.
        destinations: Those that are open.
    """

    def __init__(self, store: Store, table: RouteTable, destinations: OpenDestinations) -> None:
        self._store = store
        self._table = table
        self._destinations = destinations
        self._looked: dict[str, float] = {}

    def look(self, route_id: str) -> None:
        """Let the destination of a route forget some of what is old, if it is time for that."""
        name, now = self._table.destination_name(route_id), time.monotonic()
        if name not in self._destinations or now - self._looked.get(name, -LOOK) < LOOK:
            return
        self._looked[name] = now
        try:
            if self._store.begin_pruning(name, EVERY) and self._prune(name):
                self._store.go_on_pruning(name, REST)
        except CandlefleetError as error:
            logger.warning("Records not pruned.", extra={"destination": name, "error": said(error)})

    def _prune(self, name: str) -> int:
        gone = self._destinations.prune(name, AGE, self._store.still_owed)
        if gone:
            logger.info("Records pruned.", extra={"destination": name, "batches": gone})
        return gone
