"""Let points wait in a table of SQL until a person has decided on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from destinations.review_reasons import Rule, reasons, rule_of
from destinations.review_table import DIALECTS, insert, lock, returning, review_columns
from destinations.reviews import Reviews
from destinations.sql_recorded import RecordedSQLDestination
from destinations.sql_tables import Tables, exists
from destinations.sql_url import Server
from router.batch import PointBatch
from router.errors import ConfigError
from router.route import Route


class QualityReviewQueue(RecordedSQLDestination):
    """A table of points that wait for `candlefleet review`: one row for each point and route.

    The newest revision of a point waits; one that waited before it is marked superseded. Rows and the
    record of them are written in one transaction a write.

    Args:
        url: Of an SQLite or a PostgreSQL, as SQLAlchemy takes it.
        table: The table of points; beside it lies `<table>_written`.
        schema: The schema of both; None: the connection's own.
        create: Whether `open` makes tables that are missing, or refuses.
        reason: Why points wait here; None: what the condition of their route says, and what they have.
        name: The destination's name, and its queue.
        timeout: Seconds that a connection, a statement of PostgreSQL or a lock of SQLite may take.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    def __init__(
        self,
        url: str = "sqlite:///review.db",
        table: str = "review",
        schema: str | None = None,
        create: bool = True,
        *,
        reason: str | None = None,
        name: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Check the arguments; nothing is opened."""
        server = Server(url)
        if server.dialect not in DIALECTS:
            message = f"a review queue lies in an SQLite or a PostgreSQL, not in {server.dialect}"
            raise ConfigError("url.dialect", "url", message)
        tables = Tables(server.dialect, table, schema, review_columns)
        super().__init__(server, tables, create=create, name=name, timeout=timeout)
        if reason is not None and not (reason.strip() and reason.isprintable()):
            raise ConfigError("reason", "reason", f"{reason!r} is not a line of text")
        self._reason = reason
        self._rules: dict[str, Rule] = {}
        #: What waits here and what was decided; nothing is made to look at it.
        self.reviews = Reviews(tables.points, self._begun)

    def learn_route(self, route: Route) -> None:
        """Take note of why the points of a route come here."""
        self._rules[route.route_id] = rule_of(route)

    def _put(self, connection: sa.Connection, batch: PointBatch) -> None:
        table = self._tables.points
        lock(connection, table)
        new = batch.filter(~returning(connection, table, batch))
        if len(new):
            insert(connection, table, new, self._reasons(new))

    @contextmanager
    def _begun(self, begin: str) -> Iterator[sa.Connection | None]:
        with self._lock:
            if not self._is_connected() and not self._is_there():
                yield None
                return
            if not self._is_connected():
                self._connect()
            with self._transaction(begin) as connection:
                yield connection if exists(connection, self._tables.points) else None

    def _reasons(self, batch: PointBatch) -> list[str]:
        if self._reason is not None:
            return [self._reason] * len(batch)
        return reasons(batch, self._rules.get(batch.route_id or "", Rule()))
