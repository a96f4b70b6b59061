"""Write the files of a Delta table, record them, and only then commit them to the table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Final, NamedTuple, Protocol

from destinations.delta_torn import is_torn
from destinations.files import Files, FileWrite
from destinations.ledger import Ledger
from destinations.records import LEDGER_NAME, Durability, Records
from destinations.root import Root
from router.batch import PointBatch
from router.errors import UnavailableError
from router.rows import Mask

#: The folder of a table's log.
LOG: Final = "_delta_log"
#: The file in it that names the newest checkpoint.
HINT: Final = "_last_checkpoint"

_COMMITS: Final = "CREATE TABLE IF NOT EXISTS commits (number INTEGER PRIMARY KEY, adds TEXT NOT NULL)"


class Mark(NamedTuple):
    """What a commit to the table carries: whose it is, and a number higher than all before it."""

    application: str
    number: int


class Add(NamedTuple):
    """A file that a commit adds: its name under the table, bytes, and what `FileWrite.holds` says of it."""

    name: str
    size: int
    holds: str


class MarkedTable(Protocol):
    """A table whose every commit carries a mark, in the same moment as its files."""

    def prepare(self, *, begun: bool) -> None:
        """Make the table, unless it was begun before, or check the one that is there."""

    def last(self, application: str) -> int:
        """Return the number of the last mark of an application; -1: there is none."""

    def commit(self, adds: Sequence[Add], mark: Mark) -> None:
        """Commit files and mark, both or neither, to the table as `last` found it."""


class DeltaFiles(Files):
    """Files under the ledger's root that a table beside them lists.

    Files are written and synced, then recorded together with the commit that is to list them, then
    committed: what is recorded is made true by whoever holds the ledger next. The table's last mark says
    which commits are in it, whatever was killed in between.

    The arguments are those of `Files`, and:

    Args:
        table: What lists them.
    """

    def __init__(self, root: Root, records: Records, *, durable: bool, table: MarkedTable) -> None:
        """Remember all; nothing is opened."""
        super().__init__(root, records, durable=durable)
        self._table = table
        self._synced: dict[str, tuple[int, int]] = {}

    def open(self) -> None:
        """Make room in the ledger for what is to be committed; within a transaction."""
        self._records.db.execute(_COMMITS)

    def recover(self) -> None:
        """Make the table, or check it, and commit what a crash kept from it; within a transaction.

        Raises:
            ConfigError: The folder holds something else, or a table that points do not fit into.
            UnavailableError: The table is not what it was, or cannot be read.
        """
        begun = self._committed() > 0
        if self._pending() or not begun:
            self._mend()
        self._table.prepare(begun=begun)
        self._sync_log()
        self._check(self._table.last(self._application()))
        self._settle()

    def add(self, writes: Sequence[FileWrite]) -> None:
        """Write each as a file of its own, and record the commit that is to list them; in a transaction."""
        # The numbers keep the order; the mark keeps a ledger that was set back from using a name twice.
        numbers, mark = self._records.take_numbers(len(writes)), token_hex(8)
        named = {_named(w.name, f"{n:016}-{mark}"): w for n, w in zip(numbers, writes, strict=True)}
        self._root.write_files({name: write.content for name, write in named.items()}, durable=self._durable)
        if self._durable:
            self._root.sync_folders(named)
        adds = [Add(name, len(write.content), write.holds) for name, write in named.items()]
        self._records.db.execute("INSERT INTO commits VALUES (?, ?)", (numbers[-1], json.dumps(adds)))

    def finish(self) -> None:
        """Commit what is recorded to the table."""
        if self._pending():
            with self._records.transaction(synced=False):
                self._settle()

    # -- commits --------------------------------------------------------------------------------

    def _settle(self) -> None:
        if not (pending := self._pending()):
            return
        application, newest = self._application(), max(pending)
        last = self._table.last(application)
        self._check(last)
        adds = [add for number, added in pending.items() if number > last for add in added]
        if adds:
            self._check_there(adds)
            self._table.commit(adds, Mark(application, newest))
        self._sync_log()
        self._records.db.execute("DELETE FROM commits")
        self._records.remember("committed", str(newest))

    def _pending(self) -> dict[int, list[Add]]:
        found = self._records.db.execute("SELECT number, adds FROM commits ORDER BY number")
        return {number: [Add(*add) for add in json.loads(adds)] for number, adds in found}

    def _application(self) -> str:
        return self._records.agree("application", f"candlefleet/{uuid.uuid4().hex}")

    def _committed(self) -> int:
        return int(self._records.agree("committed", "-1"))

    def _check(self, last: int) -> None:
        if last < self._committed():
            raise UnavailableError(
                f"the table in {self._root.path} lacks commits that were made to it: it was set back, or made"
                f" anew. Put its {LOG} back, or remove {LEDGER_NAME} there to go on with the table as it is"
            )

    def _check_there(self, adds: Sequence[Add]) -> None:
        for add in adds:
            if self._root.size(add.name) != add.size:
                raise UnavailableError(
                    f"{add.name} under {self._root.path} was written and is gone before the table listed it:"
                    " put it back"
                )

    # -- the log --------------------------------------------------------------------------------

    # The library syncs nothing, and no entry can be read without those before it, whoever wrote them.
    def _sync_log(self) -> None:
        if not self._durable:
            return
        found = {name: (of.st_ino, of.st_mtime_ns) for name, of in self._root.entries(LOG).items()}
        names = [f"{LOG}/{name}" for name, state in found.items() if self._synced.get(name) != state]
        self._root.sync_present(names)
        self._root.sync_folders(names)
        self._synced = found

    # Of a commit that a power cut tore nobody was told: it is made again. A checkpoint only saves time.
    def _mend(self) -> None:
        self._set_torn_aside(".json")
        if self._set_torn_aside(".checkpoint.parquet") and self._root.size(f"{LOG}/{HINT}") is not None:
            self._root.set_aside(f"{LOG}/{HINT}")
        self._set_torn_aside(HINT)

    def _set_torn_aside(self, suffix: str) -> bool:
        found = False
        for name in sorted((n for n in self._root.entries(LOG) if n.endswith(suffix)), reverse=True):
            if not is_torn(name, self._root.read(f"{LOG}/{name}")):
                break
            self._root.set_aside(f"{LOG}/{name}")
            found = True
        return found


class DeltaLedger(Ledger):
    """The ledger of a Delta table, in the table's folder: a name with a dot is no part of a table.

    Args:
        path: The table's folder.
        table: The table.
        durability: See `Ledger`.
    """

    def __init__(self, path: Path, table: MarkedTable, *, durability: Durability) -> None:
        """Remember what to do; nothing is opened."""
        super().__init__(path, partial(DeltaFiles, table=table), durability=durability)

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row of a batch whether it is in the table for the route named in it."""
        with self._opened():
            self._files.finish()
        return super().holds(batch)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Hold the lock, with every file in the table that was written for it."""
        with self._opened(), self._records.transaction():
            self._files.recover()
            yield


def _named(name: str, mark: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{mark}{path.suffix}"))
