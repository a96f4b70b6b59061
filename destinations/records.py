"""Keep a ledger's tables: what was written, for which route, into which files, and on whose host."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

from destinations.pruning import AT_ONCE
from destinations.repeats import Entry
from destinations.root import Root
from router.errors import ConfigError, TransientError, UnavailableError
from router.rows import Rows

LEDGER_NAME: Final = ".candlefleet-ledger.sqlite"
#: Seconds to wait for another process that is writing under the same root.
PATIENCE: Final = 30.0

Durability = Literal["power", "process"]

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS routes (route TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS files (
        name TEXT PRIMARY KEY, holds TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS written (
        route TEXT, batch TEXT, digest TEXT NOT NULL, rows BLOB NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (route, batch)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS moves (
        staged TEXT PRIMARY KEY, place TEXT NOT NULL, swap TEXT
    ) WITHOUT ROWID""",
)

#: A ledger in WAL mode needs memory that all its processes share: one host. Rollback needs locks only.
_SHARED_JOURNAL: Final = "DELETE"
_LOCAL_JOURNAL: Final = "WAL"
#: FULL syncs every commit. NORMAL syncs none, and still never lets a power cut tear the ledger itself.
_SYNCHRONOUS: Final = {"power": "FULL", "process": "NORMAL"}

_NOT_WRITABLE: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_NEEDS_A_HAND: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, *_NOT_WRITABLE}
)


class FileTally(NamedTuple):
    """One file: its name under the root, the rows written into it, and its length in bytes."""

    name: str
    rows: int
    bytes: int


class Swap(NamedTuple):
    """What a folder holds once another takes its place: files that are new in it, and those that are gone."""

    new: dict[str, FileEntry]
    gone: dict[str, FileEntry]


class Move(NamedTuple):
    """A file, or with a swap a folder, that is recorded at a place and goes there next."""

    staged: str
    place: str
    swap: Swap | None = None


class FileEntry(NamedTuple):
    """What the ledger says of one file; `holds` tells whose rows they are, in what format."""

    holds: str
    rows: int
    bytes: int


class Records:
    """The tables of one ledger. Every method but `open` and `close` belongs between those two."""

    def __init__(self, root: Root, durability: Durability, *, shared: bool) -> None:
        """Remember where the ledger is; nothing is opened."""
        if durability not in _SYNCHRONOUS:
            allowed = " or ".join(_SYNCHRONOUS)
            raise ConfigError("enum", "durability", f"{durability!r} is not {allowed}")
        self.path = root.path / LEDGER_NAME
        self._root = root
        self._synchronous = _SYNCHRONOUS[durability]
        self._shared = shared
        self._db: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def db(self) -> sqlite3.Connection:
        """The open database."""
        if self._db is None:
            raise RuntimeError("open() comes first")
        return self._db

    def open(self) -> None:
        """Open the ledger, made if need be, for this host.

        Raises:
            UnavailableError: Another host opened it first and it was not declared shared.
        """
        _make_file(self._root)
        self._inode = self.path.stat().st_ino
        self._db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        with _alone(self._root):
            self._db.execute(f"PRAGMA journal_mode = {_SHARED_JOURNAL if self._shared else _LOCAL_JOURNAL}")
        with self.transaction():
            for table in _TABLES:
                self._db.execute(table)
            self._claim_for_host()

    def close(self) -> None:
        """Close the ledger; twice is harmless."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def disown(self) -> None:
        """Leave an inherited connection alone: after a fork SQLite forbids even closing it."""
        _INHERITED.append(self._db)
        self._db = None

    @contextmanager
    def transaction(self, *, synced: bool = True) -> Iterator[None]:
        """Hold the ledger's lock; commit at the end, or roll back whatever was raised.

        Not synced: a power cut may undo it, and then whatever was recorded after it as well.
        """
        lax = not synced and not self._shared
        self.db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS['process'] if lax else self._synchronous}")
        self.db.execute("BEGIN IMMEDIATE")
        try:
            self._check_in_place()
            yield
            self.db.execute("COMMIT")
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")

    # -- what was written -----------------------------------------------------------------------

    def written(self, route: str, batches: Collection[str]) -> dict[str, Entry]:
        """Return, by batch id, what was written for a route of those batches that are known."""
        found = self.db.execute(
            "SELECT batch, digest, rows FROM written"
            " WHERE route = ? AND batch IN (SELECT value FROM json_each(?))",
            (route, json.dumps(list(batches))),
        )
        return {batch: Entry(digest, Rows.decode(rows)) for batch, digest, rows in found}

    def save_written(self, route: str, entries: Mapping[str, Entry], added: int) -> None:
        """Record what is written of some batches now, `added` rows more than before."""
        now = time.time()
        self.db.executemany(
            "INSERT OR REPLACE INTO written VALUES (?, ?, ?, ?, ?)",
            [(route, batch, entry.digest, entry.rows.encode(), now) for batch, entry in entries.items()],
        )
        self.db.execute(
            "INSERT INTO routes VALUES (?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
            (route, added),
        )

    def rows_written(self, route: str) -> int:
        """Return how many rows were ever written for a route."""
        found = self.db.execute("SELECT rows FROM routes WHERE route = ?", (route,)).fetchone()
        return 0 if found is None else int(found[0])

    def routes(self) -> list[str]:
        """Return every route that anything was ever written for."""
        return [route for (route,) in self.db.execute("SELECT route FROM routes ORDER BY route")]

    def old(self, route: str, after: str, before: float) -> list[str]:
        """Return some batches of a route last written before a moment, those that follow one id, in order."""
        found = self.db.execute(
            "SELECT batch FROM written WHERE route = ? AND batch > ? AND at < ? ORDER BY batch LIMIT ?",
            (route, after, before, AT_ONCE),
        )
        return [batch for (batch,) in found]

    def forget(self, route: str, batches: Sequence[str], before: float) -> int:
        """Forget those of some batches that were not written since; return how many."""
        with self.transaction():
            gone = self.db.execute(
                "DELETE FROM written"
                " WHERE route = ? AND batch IN (SELECT value FROM json_each(?)) AND at < ?",
                (route, json.dumps(list(batches)), before),
            )
        return gone.rowcount

    # -- files ----------------------------------------------------------------------------------

    def files(self, names: Iterable[str]) -> dict[str, FileEntry]:
        """Return, by name, those of some files that are known."""
        found = self.db.execute(
            "SELECT name, holds, rows, bytes FROM files WHERE name IN (SELECT value FROM json_each(?))",
            (json.dumps(list(names)),),
        )
        return {name: FileEntry(*entry) for name, *entry in found}

    def tallies(self) -> list[FileTally]:
        """Return every known file, by name."""
        return [
            FileTally(*row) for row in self.db.execute("SELECT name, rows, bytes FROM files ORDER BY name")
        ]

    def save_files(self, entries: Mapping[str, FileEntry]) -> None:
        """Record some files as they are now."""
        self.db.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            [(name, *entry) for name, entry in entries.items()],
        )

    def forget_file(self, name: str) -> None:
        """Drop what is known of one file."""
        self.db.execute("DELETE FROM files WHERE name = ?", (name,))
        for move in self.moves():
            if name == move.place or (move.swap is not None and name in move.swap.new):
                self.clear_move(move)

    def take_numbers(self, count: int) -> range:
        """Return as many numbers, each higher than all before it, even those of a ledger that was lost."""
        found = self.db.execute("SELECT value FROM about WHERE key = 'number'").fetchone()
        first = max(int(found[0]) + 1 if found else 0, time.time_ns() // 1000)
        self.db.execute("INSERT OR REPLACE INTO about VALUES ('number', ?)", (str(first + count - 1),))
        return range(first, first + count)

    def agree(self, key: str, value: str) -> str:
        """Return what was first said of something; this value, if nothing was."""
        self.db.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, value))
        (first,) = self.db.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return str(first)

    def remember(self, key: str, value: str) -> None:
        """Record what is said of something now."""
        self.db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    # -- moves ----------------------------------------------------------------------------------

    def moves(self) -> list[Move]:
        """Return what is recorded at its place and may not be there yet."""
        found = self.db.execute("SELECT staged, place, swap FROM moves ORDER BY staged")
        return [Move(staged, place, swap and _swap(swap)) for staged, place, swap in found]

    def save_moves(self, moves: Iterable[Move]) -> None:
        """Record what is to be done next."""
        rows = [(move.staged, move.place, move.swap and json.dumps(move.swap)) for move in moves]
        self.db.executemany("INSERT INTO moves VALUES (?, ?, ?)", rows)

    def clear_move(self, move: Move) -> None:
        """Record that one was done."""
        self.db.execute("DELETE FROM moves WHERE staged = ?", (move.staged,))

    # -- whose it is ----------------------------------------------------------------------------

    def _claim_for_host(self) -> None:
        here = this_host()
        self.db.execute("INSERT OR IGNORE INTO about VALUES ('host', ?)", (here,))
        (owner,) = self.db.execute("SELECT value FROM about WHERE key = 'host'").fetchone()
        if not self._shared and not _same_host(owner, here):
            raise UnavailableError(
                f"{self.path.parent} belongs to the host that opened it first, {owner.split()[0]!r}: write"
                " there, choose another path, or pass shared=True if all hosts share a file system with locks"
            )

    def _check_in_place(self) -> None:
        try:
            in_place = self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise TransientError(f"{self.path} was removed or replaced while it was open")


@contextmanager
def ledger_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite answers into what happens next.

    Raises:
        UnavailableError: The disk is full, or the ledger is damaged or not writable.
        TransientError: Anything else, such as a lock that was not released in time.
    """
    try:
        yield
    except sqlite3.Error as error:
        kind = UnavailableError if _primary_code(error) in _NEEDS_A_HAND else TransientError
        raise kind(f"{path}: {error}") from error


def refuse_unwritable(error: sqlite3.Error, path: Path) -> None:
    """Raise `path.not_writable` if that is what an error at opening means."""
    if _primary_code(error) in _NOT_WRITABLE:
        raise ConfigError("path.not_writable", "path", f"{path}: {error}") from error


def this_host() -> str:
    """Return the host's name and, where there is one, its machine id."""
    with suppress(OSError):
        return f"{socket.gethostname()} {Path('/etc/machine-id').read_text(encoding='ascii').strip()}"
    return socket.gethostname()


def _swap(text: str) -> Swap:
    new, gone = json.loads(text)
    return Swap(*({name: FileEntry(*entry) for name, entry in side.items()} for side in (new, gone)))


_INHERITED: Final[list[sqlite3.Connection | None]] = []


def _same_host(one: str, other: str) -> bool:
    # A laptop's name changes with its network, its machine id does not; not every system has one.
    (name, *machine), (other_name, *other_machine) = one.split(), other.split()
    return machine == other_machine if machine and other_machine else name == other_name


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _make_file(root: Root) -> None:
    # Never open a ledger that is there: closing it would drop the locks of this process's connections.
    if root.size(LEDGER_NAME) is None:
        os.close(root.open_file(LEDGER_NAME))


@contextmanager
def _alone(root: Root) -> Iterator[None]:
    # SQLite does not wait for its turn to change a journal mode. Not every file system locks folders.
    with suppress(OSError):
        fcntl.flock(root.fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(root.fd, fcntl.LOCK_UN)
