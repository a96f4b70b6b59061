"""Write points into a table of an SQL database, with the record of them in the same transaction."""

from __future__ import annotations

import math
import os
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from destinations.base import DataDestination
from destinations.pruning import StillOwed, prune
from destinations.repeats import compare
from destinations.root import obstacles_under
from destinations.sql_errors import sql_errors
from destinations.sql_records import OldSQLRecords, SQLRecords
from destinations.sql_tables import Tables
from destinations.sql_url import Server, TablePlace
from router.batch import PointBatch
from router.errors import ConfigError, DestinationError, Reason, TerminalError, TransientError
from router.rows import Mask


class RecordedSQLDestination(DataDestination):
    """The base of every destination that writes into a table of an SQL database.

    A subclass puts rows in (`_put`). They and the record of them, which lies in a table beside theirs, are
    written in one transaction a write. There is one connection, made by `open` and made again after it was
    lost; threads share it.

    Args:
        server: Where the database is.
        tables: The definitions of both tables.
        create: Whether `open` makes tables that are missing, or refuses.
        name: The destination's name, and its queue.
        timeout: Seconds that a connection, a statement of PostgreSQL or a lock of SQLite may take.

    Raises:
        ConfigError: `range`: the timeout is none.
    """

    def __init__(
        self, server: Server, tables: Tables, *, create: bool, name: str | None, timeout: float
    ) -> None:
        """Remember them; nothing is opened."""
        super().__init__(name=name)
        self._server = server
        self._tables = tables
        self._records = SQLRecords(tables.written)
        self._place = TablePlace(server, tables.schema, tables.points.name)
        self._create = create
        if not 1 <= timeout < math.inf:
            raise ConfigError("range", "timeout", f"{timeout!r} is not a number of seconds from 1 up")
        self._timeout = timeout
        self._lock = threading.RLock()
        self._connection: sa.Connection | None = None
        self._prepared = False
        self._pid = 0

    @abstractmethod
    def _put(self, connection: sa.Connection, batch: PointBatch) -> None:
        """Put rows that were not written yet into the table, within a transaction."""

    def _adapt(self, connection: sa.Connection) -> None:
        """Choose what suits a database, once its tables are there."""

    # -- open and close -------------------------------------------------------------------------

    def open(self) -> None:
        """Connect; make the tables, or check those that are there.

        Raises:
            ConfigError: `url.driver`, `url.option`, `path.not_writable`, or a code of `Tables.prepare`.
            UnavailableError: No connection, or no permission; the message says to what, and what to do.
            TransientError: Another process is in the way.
        """
        with self._lock:
            try:
                self._prepare()
            except (TerminalError, TransientError):  # another process made the same tables meanwhile
                self._prepare()

    def close(self) -> None:
        """Let go of the connection; twice is harmless. The next write connects again."""
        with self._lock:
            connection, self._connection, self._prepared = self._connection, None, False
            if connection is None:
                return
            if self._pid != os.getpid():  # the parent's: it still talks through it
                connection.engine.dispose(close=False)
                _INHERITED.append(connection)
                return
            with suppress(sa.exc.DBAPIError):
                connection.invalidate()
                connection.close()

    def check(self) -> None:
        """Refuse a driver that is not there or not for this URL, and a file that cannot be written.

        Raises:
            ConfigError: `url.driver`, `url.option`, `path.not_writable`, or a code of `Tables.prepare`.
        """
        self._server.engine()
        if self._server.file is not None:
            with suppress(DestinationError):
                self.open()
            self.close()

    # -- writing --------------------------------------------------------------------------------

    def write_batch(self, batch: PointBatch) -> None:
        """Write the rows that were not written yet, in one transaction.

        Raises:
            UnavailableError: No connection, no permission, no room.
            TransientError: A deadlock, a conflict, a time limit or a lost connection; write again.
            TerminalError: The database refused some row, and nothing was written; or a batch of this id
                with other points was written before.
        """
        if not len(batch):
            return
        with self._opened() as connection:
            try:
                self._write(batch)
            except TerminalError:
                # Two processes may insert or copy one row at a time: the second updates it now.
                if connection.dialect.name == "sqlite":
                    raise
                self._write(batch)

    def _write(self, batch: PointBatch) -> None:
        route = batch.route_id or ""
        with self._transaction() as connection:
            known = self._records.locked(connection, route, [part.batch_id for part in batch.parts])
            new, entries = compare(batch, known)
            if new.any():
                self._put(connection, batch.filter(new))
                self._records.save(connection, route, entries)

    # -- what was written -----------------------------------------------------------------------

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row whether the table of records says that it was written.

        A transaction that may still write some of them is waited for.

        Raises:
            UnavailableError: No connection, or no permission.
            TransientError: The connection was lost; ask again.
            TerminalError: A batch of this id with other points was written before.
        """
        batches = [part.batch_id for part in batch.parts]
        with self._opened(), self._transaction() as connection:
            known = self._records.locked(connection, batch.route_id or "", batches)
        new, _ = compare(batch, known)
        return ~new

    def on_record(self, route_id: str) -> int | None:
        """Return how many rows of a route the database says were written; None: it cannot be asked."""
        with self._lock, suppress(ConfigError, DestinationError):
            if self._is_connected():
                with suppress(DestinationError):  # the server may have ended it since
                    return self._rows_written(route_id)
            if self._is_there():
                self._connect()
                return self._rows_written(route_id)
        return None

    def _rows_written(self, route_id: str) -> int | None:
        with self._transaction("BEGIN") as connection:
            if self._records.exist(connection):
                return self._records.rows_written(connection, route_id)
        return None

    def prune(self, older_than: timedelta, still_owed: StillOwed) -> int:
        """Forget which rows of old, settled batches are in the table, but not how many; return of how many.

        Raises:
            UnavailableError: No connection, or no permission to delete.
            TransientError: A deadlock, a conflict, a time limit or a lost connection.
        """
        return prune(self._recorded, older_than, still_owed)

    @contextmanager
    def _recorded(self) -> Iterator[OldSQLRecords]:
        with self._opened():
            yield OldSQLRecords(self._records, self._transaction)

    # -- where ----------------------------------------------------------------------------------

    def place(self) -> str:
        """Return the database without its password, and the table."""
        return str(self._place)

    def owns(self) -> list[TablePlace]:
        """Return both tables."""
        return [self._place, replace(self._place, table=self._tables.written.name)]

    def obstacles(self) -> list[Reason]:
        """Return why the file of an SQLite cannot be made or written, or that the driver is missing here."""
        try:
            self._server.check_driver()
        except ConfigError as error:
            return [Reason(error.code, "url", error.message)]
        file = self._server.file
        return [] if file is None else obstacles_under(file.parent)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place()})"

    # -- the connection -------------------------------------------------------------------------

    def _connect(self) -> None:
        self.close()
        if self._server.file is not None:
            _make_folder(self._server)
        engine = self._server.engine(
            poolclass=NullPool,
            connect_args=self._connect_arguments(),
            hide_parameters=True,
            json_serializer=str,  # indicators are JSON already
        )
        self._pid = os.getpid()
        with sql_errors(self._server, engine.dialect.loaded_dbapi, connecting=True):
            self._connection = engine.connect()
            if self._server.file is not None:
                _settle_file(self._connection)

    def _connect_arguments(self) -> dict[str, Any]:
        seconds = math.ceil(self._timeout)
        driver = self._server.url.get_dialect().driver
        if self._server.dialect == "sqlite":
            return {"timeout": self._timeout, "isolation_level": None, "check_same_thread": False}
        if driver not in ("psycopg", "psycopg2"):
            return {}
        wanted = {
            "connect_timeout": seconds,
            "tcp_user_timeout": seconds * 1000,
            "application_name": "candlefleet",
        }
        given = {name: value for name, value in wanted.items() if name not in self._server.url.query}
        # Statements that a server prepared are lost where a pooler gives every transaction another one.
        return given | ({"prepare_threshold": None} if driver == "psycopg" else {})

    def _prepare(self) -> None:
        self._connect()
        with self._transaction() as connection:
            self._tables.prepare(connection, create=self._create)
            self._adapt(connection)
        self._prepared = True

    # A file that is not there is made by who writes, not by who asks.
    def _is_there(self) -> bool:
        return self._server.file is None or self._server.file.exists()

    def _is_connected(self) -> bool:
        return self._connection is not None and self._pid == os.getpid()

    @contextmanager
    def _opened(self) -> Iterator[sa.Connection]:
        with self._lock:
            if not self._prepared or not self._is_connected():
                self.open()
            assert self._connection is not None
            yield self._connection

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sa.Connection]:
        connection = self._connection
        assert connection is not None
        try:
            with sql_errors(self._server, connection.dialect.loaded_dbapi), connection.begin():
                self._begin(connection, begin)
                yield connection
        except TerminalError:
            raise
        except BaseException:
            self.close()  # whatever it was doing, nobody knows how far it came
            raise

    # For this transaction alone: behind a pooler the next belongs to somebody else.
    def _begin(self, connection: sa.Connection, begin: str) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(begin)
        elif connection.dialect.name == "postgresql":
            limits = ("statement_timeout", "idle_in_transaction_session_timeout")
            milliseconds = str(math.ceil(self._timeout * 1000))
            connection.execute(sa.select(*(sa.func.set_config(name, milliseconds, True) for name in limits)))


def _make_folder(server: Server) -> None:
    file = server.file
    assert file is not None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("path.not_writable", "url", f"{file}: {error}") from error
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ConfigError("path.not_writable", "url", f"{file} cannot be written")


# A file that we make lets others read while we write; whoever made another decided that for it.
def _settle_file(connection: sa.Connection) -> None:
    connection.exec_driver_sql("PRAGMA synchronous = FULL")
    if not connection.exec_driver_sql("PRAGMA page_count").scalar():
        with suppress(sa.exc.OperationalError):  # another process is doing it
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    connection.commit()


_INHERITED: list[sa.Connection] = []
