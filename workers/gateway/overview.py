"""What the fleet does now, for many who look at once."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from router.table import RouteTable
from workers.report import report
from workers.store import Store

#: Seconds for which an answer is good.
_GOOD: Final = 1.0


class Overview:
    """Looks at the fleet at most once a second.

    Args:
        store: Its state.
        table: Its routes, as far as they are known here.
    """

    def __init__(self, store: Store, table: RouteTable | None) -> None:
        """Look at nothing yet."""
        self._store = store
        self._table = table
        self._alone = asyncio.Lock()
        self._found: dict[str, Any] = {}
        self._at = float("-inf")

    async def get(self) -> dict[str, Any]:
        """Return what `candlefleet status --json` does, but for what lies in destinations and queues.

        Raises:
            FleetUnreachableError: Redis does not answer.
        """
        async with self._alone:
            if time.monotonic() - self._at > _GOOD:
                self._found = await asyncio.to_thread(self._look)
                self._at = time.monotonic()
        return self._found

    def _look(self) -> dict[str, Any]:
        return report(self._store, self._table, recorded=False).to_dict()
