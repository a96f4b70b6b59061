"""Write points into files that a ledger keeps: one commit a task, every row once."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from destinations.base import DataDestination
from destinations.files import FileWrite
from destinations.ledger import Ledger
from destinations.pruning import StillOwed
from destinations.root import obstacles_under
from router.batch import PointBatch
from router.errors import DestinationError, Reason
from router.rows import Mask


class LedgeredDestination(DataDestination):
    """The base of every destination that writes files.

    A subclass says which bytes each file gets (`_writes`) and what kind of files its ledger keeps. Rows
    written twice, by a retry or in another cutting, are in the files once: see
    `destinations.ledger.Ledger`.

    Args:
        path: Where the files go; nothing is written elsewhere.
        name: The destination's name, and its queue.
        ledger: What remembers the rows.
    """

    def __init__(self, path: str | Path, *, name: str | None, ledger: Ledger) -> None:
        """Remember both; nothing is opened."""
        super().__init__(name=name)
        self.path = Path(path)
        self.ledger = ledger
        self._task = threading.local()  # what the task of this thread writes together

    @abstractmethod
    def _writes(self, batch: PointBatch) -> list[FileWrite]:
        """Return what each file gets of a batch, no file twice."""

    def open(self) -> None:
        """Open the ledger, and mend what a crash left.

        Raises:
            ConfigError: `path.not_writable`, or the path holds another kind of files.
            UnavailableError: Another host owns the path, or the disk is full.
            TransientError: The ledger stayed locked by another process.
        """
        self.ledger.open()

    def check(self) -> None:
        """Refuse a place that cannot be written.

        Raises:
            ConfigError: `path.not_writable`, or the path holds another kind of files.
        """
        with suppress(DestinationError):  # busy, or full: it may be well by the time a point comes
            self.open()
        self.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one commit of the writes in a context: it costs as much for a row as for ten thousand."""
        held: list[PointBatch] = []
        self._task.held = held
        try:
            yield
        finally:
            self._task.held = None
            if held:
                self.ledger.commit(PointBatch.concat(held), self._writes)

    def write_batch(self, batch: PointBatch) -> None:
        """Write the rows that are not in the files yet, in the batch's order.

        Raises:
            TransientError: The outcome is unknown; write again.
            UnavailableError: The disk is full, or a file is not what the ledger says it is.
            TerminalError: A batch of this id with other points was written before.
        """
        held: list[PointBatch] | None = getattr(self._task, "held", None)
        if held is None:
            self.ledger.commit(batch, self._writes)
        else:
            held.append(batch)

    def close(self) -> None:
        """Close the ledger; twice is harmless."""
        self.ledger.close()

    def place(self) -> str:
        """Return the folder."""
        return str(self.path)

    def obstacles(self) -> list[Reason]:
        """Return why the folder cannot be made or written; a disk that is nearly full is named too."""
        return obstacles_under(self.path)

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row whether the ledger says that it is in the files."""
        return self.ledger.holds(batch)

    def on_record(self, route_id: str) -> int | None:
        """Return how many rows of a route the ledger says are in the files; None: there is no ledger yet."""
        return self.ledger.rows_written(route_id) if self.ledger.exists() else None

    def prune(self, older_than: timedelta, still_owed: StillOwed) -> int:
        """Forget which rows of old, settled batches are in the files; return of how many."""
        return self.ledger.prune(older_than, still_owed)
