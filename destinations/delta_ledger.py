"""Remember which rows a table holds, though nobody can commit to a table and a ledger at once."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from destinations.records import Records, ledger_errors
from destinations.repeats import Entry, compare
from destinations.root import Root, disk_errors
from router.batch import PointBatch
from router.rows import Mask, Rows

_INTENTS: Final = """CREATE TABLE IF NOT EXISTS intents (
    number INTEGER PRIMARY KEY, route TEXT NOT NULL, added INTEGER NOT NULL, entries TEXT NOT NULL
)"""


class Mark(NamedTuple):
    """What a commit to the table carries: whose it is, and a number higher than all before it."""

    application: str
    number: int


class MarkedTable(Protocol):
    """A table whose every commit carries a mark, in the same moment as its rows."""

    def prepare(self) -> None:
        """Make the table, or check the one that is there."""

    def append(self, batch: PointBatch, mark: Mark) -> None:
        """Commit rows and mark, both or neither."""

    def last(self, application: str) -> int:
        """Return the number of the last mark of an application; -1: there is none."""


class DeltaLedger:
    """A ledger beside a table: what is about to be written is noted first, and the table says whether it was.

    A kill between any two steps leaves a note. Whoever commits next reads the table's last mark: at the
    note's number the rows are there and are recorded, below it they are not and the note is dropped. The
    ledger's lock is held while the table is written, so a note that is read has no writer any more.
    """

    def __init__(self, folder: Path, table: MarkedTable) -> None:
        """Remember both; nothing is opened."""
        self._root = Root(folder)
        self._records = Records(self._root, "power", shared=False)
        self._table = table
        self._lock = threading.RLock()
        self._pid = 0

    def open(self) -> None:
        """Open the ledger and the table, and settle what a crash left.

        Raises:
            ConfigError: The table is not one that points fit into.
            UnavailableError: Another host owns the folder, or the disk is full.
        """
        with self._lock, self._errors():
            self.close()
            self._root.open()
            self._records.open()
            with self._records.transaction():
                self._records.db.execute(_INTENTS)
                self._application()  # committed before any commit carries it
                self._table.prepare()
                self._settle()
            self._pid = os.getpid()

    def close(self) -> None:
        """Let go of it; twice is harmless. The next use opens it again."""
        with self._lock:
            if self._pid not in (0, os.getpid()):
                self._records.disown()
            self._records.close()
            self._root.close()
            self._pid = 0

    def commit(self, batch: PointBatch) -> None:
        """Write the rows of a batch that are not in the table yet."""
        with self._opened():
            while not self._committed(batch):
                pass  # another process took the lock between our two transactions, and dropped our note

    def _committed(self, batch: PointBatch) -> bool:
        with self._records.transaction():
            self._settle()
            new, entries = self._compare(batch)
            if not new.any():
                return True
            number = self._note(batch.route_id or "", entries, int(new.sum()))
        with self._records.transaction():
            if self._number() != number:
                return False
            self._table.append(batch.filter(new), Mark(self._application(), number))
            self._settle()
        return True

    def _compare(self, batch: PointBatch) -> tuple[Mask, dict[str, Entry]]:
        known = self._records.written(batch.route_id or "", {part.batch_id for part in batch.parts})
        return compare(batch, known)

    # -- notes ----------------------------------------------------------------------------------

    def _application(self) -> str:
        return self._records.agree("application", f"candlefleet/{uuid.uuid4().hex}")

    def _note(self, route: str, entries: dict[str, Entry], added: int) -> int:
        (number,) = self._records.take_numbers(1)
        text = json.dumps({batch: (one.digest, one.rows.encode().hex()) for batch, one in entries.items()})
        self._records.db.execute("INSERT INTO intents VALUES (?, ?, ?, ?)", (number, route, added, text))
        return number

    def _number(self) -> int | None:
        found = self._records.db.execute("SELECT number FROM intents").fetchone()
        return None if found is None else int(found[0])

    def _settle(self) -> None:
        found = self._records.db.execute("SELECT number, route, added, entries FROM intents").fetchone()
        if found is None:
            return
        number, route, added, text = found
        if self._table.last(self._application()) >= number:
            entries = {
                batch: Entry(digest, Rows.decode(bytes.fromhex(rows)))
                for batch, (digest, rows) in json.loads(text).items()
            }
            self._records.save_written(route, entries, added)
        self._records.db.execute("DELETE FROM intents")

    # -- what was written -----------------------------------------------------------------------

    def exists(self) -> bool:
        """Return whether anything was ever opened here."""
        return self._records.path.exists()

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row of a batch whether it is in the table for the route named in it."""
        with self._opened(), self._records.transaction():
            self._settle()
            return ~self._compare(batch)[0]

    def rows_written(self, route: str) -> int:
        """Return how many rows were ever written for a route."""
        with self._opened(), self._records.transaction():
            self._settle()
            return self._records.rows_written(route)

    def prune(self, older_than: timedelta, still_owed: Callable[[str], bool] | Collection[str]) -> int:
        """Forget which rows of old, settled batches were written; return how many batches."""
        owed = still_owed if callable(still_owed) else set(still_owed).__contains__
        with self._opened(), self._records.transaction():
            return self._records.prune(older_than, owed)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with self._lock:
            if self._pid != os.getpid():
                self.open()
            with self._errors():
                yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with disk_errors(self._root.path), ledger_errors(self._records.path):
            yield
