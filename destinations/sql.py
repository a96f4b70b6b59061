"""Write points into a table of any SQL database, where the newest revision of each is kept."""

from __future__ import annotations

import sqlalchemy as sa

from destinations.sql_recorded import RecordedSQLDestination
from destinations.sql_rows import newest_rows
from destinations.sql_tables import Tables
from destinations.sql_upsert import Upsert, upsert_for
from destinations.sql_url import Server
from router.batch import PointBatch


class SQLDestination(RecordedSQLDestination):
    """One table of points, by source, symbol, timeframe and timestamp, and one of what was written.

    A point that is accepted again takes the place of the older one, whichever arrives first. Rows and the
    record of them are written in one transaction a write. There is one connection, made by `open` and
    made again after it was lost; threads share it.

    Args:
        url: Of the database, as SQLAlchemy takes it.
        table: The table of points; beside it lies `<table>_written`.
        schema: The schema of both; None: the connection's own.
        create: Whether `open` makes tables that are missing, or refuses.
        name: The destination's name, and its queue.
        timeout: Seconds that a connection, a statement of PostgreSQL or a lock of SQLite may take.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    def __init__(
        self,
        url: str,
        table: str = "ohlcv",
        schema: str | None = None,
        create: bool = True,
        *,
        name: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Check the arguments; nothing is opened."""
        server = Server(url)
        tables = Tables(server.dialect, table, schema)
        super().__init__(server, tables, create=create, name=name, timeout=timeout)
        self._upsert: Upsert | None = None

    def _adapt(self, connection: sa.Connection) -> None:
        self._upsert = upsert_for(connection, self._tables.points)

    def _put(self, connection: sa.Connection, batch: PointBatch) -> None:
        assert self._upsert is not None
        self._upsert(connection, newest_rows(batch))
