"""The destinations a worker process has open: opened at the first write, again after a failure."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Container
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from destinations.base import DataDestination
from destinations.pruning import StillOwed
from router.batch import PointBatch
from router.check_routes_policies import small_writes
from router.errors import ConfigError, TerminalError
from router.route import Destination, Route
from router.rows import Mask
from router.table import RouteTable
from workers.failpoints import reach
from workers.letters import said

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Written:
    """How far the writes of a batch came.

    Attributes:
        rows: How many rows are done, from the first: written, or refused by name. All of them, unless a write
            failed or the turn was over.
        refused: Those that were refused: position in the batch, and why.
        failed: How many rows the write after them held, if it failed.
        error: Why it did; None: none failed.
    """

    rows: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    failed: int = 0
    error: Exception | None = None


def check_destinations(table: RouteTable, names: Container[str]) -> None:
    """Refuse at start what could never be written.

    Raises:
        ConfigError: One of the destinations of these names says so, such as `path.not_writable`.
    """
    for name, destination in table.destinations().items():
        if name in names:
            try:
                getattr(destination, "check", lambda: None)()
            except ConfigError as error:
                raise error.at(f"destination {name}") from error.__cause__


class OpenDestinations:
    """One open instance of each destination, kept for the life of a worker process."""

    def __init__(self, turn: float = math.inf) -> None:
        """Open nothing yet; after a turn of so many seconds no further write is begun."""
        self._open: dict[str, Destination] = {}
        self._turn = turn

    def __contains__(self, name: str) -> bool:
        """Return whether the destination of a name is open."""
        return name in self._open

    def write(self, table: RouteTable, route_id: str, batch: PointBatch, size: int | None) -> Written:
        """Write a batch to its route's destination, `size` rows a write, until one fails or the turn is over.

        After a failure other than a refusal the destination is opened anew by the next write.
        """
        name, written = table.destination_name(route_id), Written()
        if not len(batch):
            return written
        try:
            destination = self._opened(name, table.route(route_id))
            with _together(destination):
                ends = time.monotonic() + self._turn
                for chunk in batch.for_route(route_id).chunks(size):
                    if written.error is not None or (written.rows and time.monotonic() > ends):
                        break
                    _write(destination, chunk, written)
        except Exception as error:  # whatever a destination raises: the journey says what happens next
            written = Written(failed=len(batch), error=error)
        if written.error is not None and not isinstance(written.error, TerminalError):
            self._forget(name)
        return written

    def hold(self, table: RouteTable, route_id: str, batch: PointBatch) -> Mask:
        """Return of each row whether its destination has it on record; of none where it cannot tell."""
        nothing: Mask = np.zeros(len(batch), dtype=np.bool_)
        destination = table.route(route_id).destination
        if not isinstance(destination, DataDestination) or not len(batch):
            return nothing
        try:
            return destination.holds(batch.for_route(route_id))
        except Exception as error:  # its rows become dead letters, of which a replay writes none twice
            why = {"destination": table.destination_name(route_id), "error": said(error)}
            logger.warning("Destination cannot tell what it holds.", extra=why)
            return nothing

    def prune(self, name: str, older_than: timedelta, still_owed: StillOwed) -> int:
        """Let a destination that is open forget some old batches; return how many.

        One that fails is logged, and opened anew by the next write.
        """
        destination = self._open.get(name)
        if not isinstance(destination, DataDestination):
            return 0
        try:
            return int(destination.prune(older_than, still_owed))
        except Exception as error:  # whatever a destination raises: its points are written all the same
            why = {"destination": name, "error": said(error)}
            logger.warning("Destination did not prune its records.", extra=why)
            self._forget(name)
            return 0

    def close(self) -> None:
        """Close them all; one that fails is logged and does not keep the others open."""
        for name in list(self._open):
            self._forget(name)

    def _opened(self, name: str, route: Route) -> Destination:
        if name not in self._open:
            route.destination.open()
            self._open[name] = route.destination
            if small := small_writes(route):
                logger.warning("Route %s: %s.", route.route_id, small, extra={"destination": name})
        return self._open[name]

    def _forget(self, name: str) -> None:
        destination = self._open.pop(name, None)
        if destination is None:
            return
        try:
            destination.close()
        except Exception as error:  # said without its traceback, which may show a secret
            logger.warning("Destination did not close: %s", said(error), extra={"destination": name})


def _together(destination: Destination) -> AbstractContextManager[None]:
    together = getattr(destination, "together", nullcontext)
    context: AbstractContextManager[None] = together()
    return context


# A refusal that names its rows, or can only mean the one row there is, does not stop the writes after it.
def _write(destination: Destination, chunk: PointBatch, written: Written) -> None:
    try:
        reach("write.before")
        destination.write_batch(chunk)
        reach("write.after")
    except TerminalError as error:
        rows = (0,) if error.rows is None and len(chunk) == 1 else error.rows
        if rows is None or not all(0 <= row < len(chunk) for row in rows):
            written.failed, written.error = len(chunk), TerminalError(error.message)
            return
        written.refused += [(written.rows + row, said(error)) for row in sorted(set(rows))]
    except Exception as error:
        written.failed, written.error = len(chunk), error
        return
    written.rows += len(chunk)
