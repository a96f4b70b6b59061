"""Write files and remember what was written, so that a repeat after any crash adds nothing."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from destinations.files import Files, FileWrite
from destinations.growing import GrowingFiles
from destinations.pruning import StillOwed, prune
from destinations.records import Durability, FileTally, Records, ledger_errors, refuse_unwritable
from destinations.repeats import Entry, compare
from destinations.root import Root, disk_errors
from router.batch import PointBatch
from router.errors import ConfigError
from router.rows import Mask

#: What the system answers when a root cannot be made or written by anyone who tries again.
_NOT_WRITABLE: Final = frozenset(
    {
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)


Encode = Callable[[PointBatch], Sequence[FileWrite]]


class MakeFiles(Protocol):
    """What makes the files of a ledger, such as a subclass of `Files` with its options."""

    def __call__(self, root: Root, records: Records, *, durable: bool) -> Files:
        """Return the files; nothing is opened."""


class Ledger:
    """Files, and beside them the record of every row in them.

    One commit holds one lock: it drops rows that are recorded, writes the others, syncs, and records.
    A kill between any two steps leaves what the next commit, or the next `open`, mends: it cuts off or
    finishes what was begun, as the kind of files wants it. What is recorded is there when a commit
    returns. Several processes and several routes may write under one root. Threads may share a ledger;
    a forked child opens its own.

    Args:
        root: The folder of the ledger; made when opened.
        files: Files that grow under that root, or others.
        durability: ``power``: what was committed survives a power cut. ``process``: it survives kill -9.
        shared: Several hosts write here over a file system that has locks.
    """

    def __init__(
        self,
        root: Path,
        files: MakeFiles = GrowingFiles,
        *,
        durability: Durability = "power",
        shared: bool = False,
    ) -> None:
        """Remember what to do; nothing is opened."""
        self.root = Root(root)
        self._records = Records(self.root, durability, shared=shared)
        self._files = files(self.root, self._records, durable=durability == "power")
        self._lock = threading.RLock()
        self._pid = 0

    # -- open and close -------------------------------------------------------------------------

    def open(self) -> None:
        """Open the root and its ledger, and mend what a crash left.

        Raises:
            ConfigError: `path.not_writable`, or the files are not of the kind that was begun there.
            UnavailableError: Another host owns the root, or the disk is full.
            TransientError: The ledger stayed locked.
        """
        with self._lock:
            with self._anew():
                self._files.recover()
            self._pid = os.getpid()

    def close(self) -> None:
        """Let go of root and ledger; twice is harmless. The next use opens them again."""
        with self._lock:
            if self._pid not in (0, os.getpid()):
                self._records.disown()
            self._files.close()
            self._records.close()
            self.root.close()
            self._pid = 0

    # Whatever is raised leaves it closed.
    @contextmanager
    def _anew(self) -> Iterator[None]:
        self.close()
        try:
            with self._errors():
                self._open()
                with self._records.transaction():
                    yield
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self.root.open()
            self._records.open()
            with self._records.transaction():
                self._files.open()
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) or error.errno in _NOT_WRITABLE:
                raise ConfigError("path.not_writable", "path", f"{self.root.path}: {error}") from error
            raise
        except sqlite3.Error as error:
            refuse_unwritable(error, self._records.path)
            raise

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with self._lock:
            if self._pid != os.getpid():
                self.open()
            with self._errors():
                yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with disk_errors(self.root.path), ledger_errors(self._records.path):
            yield

    # -- writing --------------------------------------------------------------------------------

    def commit(self, batch: PointBatch, encode: Encode) -> int:
        """Write the rows of a batch that are not recorded yet, and record them; return how many.

        Args:
            batch: The rows, for the route named in it.
            encode: Gives what each file gets of a batch, no file twice. It may be called again, for
                fewer rows, if another process wrote some of them meanwhile.

        Raises:
            TransientError: The outcome is unknown, or the lock was not to be had; commit again.
            UnavailableError: The disk is full, or a file is not what the ledger says it is.
            TerminalError: A batch of this id with other points was written before.
        """
        with self._opened():
            new, _ = self._compare(batch)
        added = self._add(batch, new, encode) if new.any() else 0
        with self._opened():
            self._files.finish()
        return added

    def _add(self, batch: PointBatch, new: Mask, encode: Encode) -> int:
        writes = encode(batch.filter(new))
        with self._opened():
            self._files.register(writes)
            with self._records.transaction():
                still_new, entries = self._compare(batch)
                if not still_new.any():
                    return 0
                if not np.array_equal(still_new, new):
                    writes = encode(batch.filter(still_new))
                self._files.add(writes)
                self._records.save_written(batch.route_id or "", entries, int(still_new.sum()))
        return int(still_new.sum())

    def _compare(self, batch: PointBatch) -> tuple[Mask, dict[str, Entry]]:
        known = self._records.written(batch.route_id or "", {part.batch_id for part in batch.parts})
        return compare(batch, known)

    # -- what was written -----------------------------------------------------------------------

    def exists(self) -> bool:
        """Return whether anything was ever opened here."""
        return self._records.path.exists()

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row of a batch whether it is recorded for the route named in it.

        Raises:
            TerminalError: A batch of this id with other points was written before.
        """
        with self._opened():
            new, _ = self._compare(batch)
        return ~new

    def rows_written(self, route_id: str | None) -> int:
        """Return how many rows were ever written for a route; None: those written outside a delivery."""
        with self._opened():
            return self._records.rows_written(route_id or "")

    def files(self) -> list[FileTally]:
        """Return (name, rows, bytes) of every file written under this root, by name."""
        with self._opened():
            return self._records.tallies()

    def prune(self, older_than: timedelta, still_owed: StillOwed) -> int:
        """Forget some of the old, settled batches, as a destination does; return how many."""
        return prune(self._recorded, older_than, still_owed)

    @contextmanager
    def _recorded(self) -> Iterator[Records]:
        with self._opened():
            yield self._records

    def forget(self, name: str) -> None:
        """Give up what is recorded of one file: the next write adopts it as it is, or begins it anew.

        The ledger is closed then; it opens by itself, and only then mends what a crash left.
        """
        with self._lock:
            with self._anew():
                self._records.forget_file(name)
            self.close()
