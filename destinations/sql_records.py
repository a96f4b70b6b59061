"""Remember in the database which rows of which batch are in it, in the transaction that puts them there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from destinations.pruning import AT_ONCE
from destinations.repeats import Entry
from router.rows import Rows

#: So many batches are asked for at once: no database's limit on parameters is lower.
_AT_ONCE: Final = 500
#: The batch under which the rows of forgotten ones are counted.
_FORGOTTEN: Final = ""
_NOTHING: Final = Rows.all(0).encode()


class SQLRecords:
    """The table of records; every method belongs in a transaction."""

    def __init__(self, table: sa.Table) -> None:
        """Take its definition."""
        self._table = table

    def exist(self, connection: sa.Connection) -> bool:
        """Return whether anything was ever opened here."""
        return sa.inspect(connection).has_table(self._table.name, self._table.schema)

    def locked(self, connection: sa.Connection, route: str, batches: Sequence[str]) -> dict[str, Entry]:
        """Return, by batch id, what was written for a route; until the transaction ends, only it may add.

        A batch that nothing was written of yet gets an entry of no rows: there must be something to lock.
        """
        ids = sorted(set(batches))  # in one order, so that two transactions never wait for each other
        if connection.dialect.name in _IGNORING:
            self._begin(connection, route, ids)
            found = dict(self._read(connection, route, ids))
            if len(found) < len(ids):  # one that was there was forgotten before it was locked
                self._begin(connection, route, ids)
                found = dict(self._read(connection, route, ids))
            return found
        found = dict(self._read(connection, route, ids))
        if missing := [batch for batch in ids if batch not in found]:
            self._begin(connection, route, missing)
            found |= dict(self._read(connection, route, missing))
        return found

    def save(self, connection: sa.Connection, route: str, entries: Mapping[str, Entry]) -> None:
        """Record what is written of some batches now."""
        t, now = self._table.c, time.time()
        changed = (
            sa.update(self._table)
            .where(t.route == sa.bindparam("its_route"), t.batch == sa.bindparam("its_batch"))
            .values({name: sa.bindparam(name) for name in ("digest", "row_set", "row_count", "written_at")})
        )
        connection.execute(
            changed,
            [
                {"its_route": route, "its_batch": batch, "written_at": now, **_columns(entry)}
                for batch, entry in sorted(entries.items())
            ],
        )

    def rows_written(self, connection: sa.Connection, route: str) -> int:
        """Return how many rows were ever written for a route."""
        count = sa.func.coalesce(sa.func.sum(self._table.c.row_count), 0)
        return int(connection.execute(sa.select(count).where(self._table.c.route == route)).scalar_one())

    def routes(self, connection: sa.Connection) -> list[str]:
        """Return every route that anything is recorded of; no row of another is read for it."""
        t, found = self._table.c, []
        route = connection.execute(sa.select(sa.func.min(t.route))).scalar()
        while route is not None:
            found.append(str(route))
            route = connection.execute(sa.select(sa.func.min(t.route)).where(t.route > route)).scalar()
        return found

    def old(self, connection: sa.Connection, route: str, after: str, before: float) -> list[str]:
        """Return some batches of a route last written before a moment, those that follow one id, in order."""
        t = self._table.c
        mine = (t.route == route, t.batch > after, t.written_at < before)
        found = connection.execute(sa.select(t.batch).where(*mine).order_by(t.batch).limit(AT_ONCE))
        return [str(batch) for (batch,) in found]

    def forget(self, connection: sa.Connection, route: str, batches: Sequence[str], before: float) -> int:
        """Forget those of some batches that were not written since, but for their count; return how many.

        They are locked in the order in which writes lock them; what a write has locked is waited for.
        """
        t = self._table.c
        self.locked(connection, route, [_FORGOTTEN])
        mine = (t.route == route, t.batch.in_(batches), t.written_at < before)
        old = sa.select(t.batch, t.row_count).where(*mine).order_by(t.batch).with_for_update()
        gone = connection.execute(old).all()
        more = t.row_count + sum(row.row_count for row in gone)
        its = (t.route == route, t.batch == _FORGOTTEN)
        connection.execute(sa.update(self._table).where(*its).values(row_count=more))
        ids = [row.batch for row in gone]
        connection.execute(sa.delete(self._table).where(t.route == route, t.batch.in_(ids)))
        return len(gone)

    def _read(
        self, connection: sa.Connection, route: str, batches: Sequence[str]
    ) -> Iterator[tuple[str, Entry]]:
        t = self._table.c
        for some in _chunks(batches):
            asked = (
                sa.select(t.batch, t.digest, t.row_set)
                .where(t.route == route, t.batch.in_(some))
                .order_by(t.batch)
                .with_for_update()
            )
            for batch, digest, rows in connection.execute(asked):
                yield batch, Entry(digest, Rows.decode(bytes(rows)))

    def _begin(self, connection: sa.Connection, route: str, batches: Sequence[str]) -> None:
        insert: Any = _IGNORING.get(connection.dialect.name, sa.insert)(self._table)
        if connection.dialect.name in _IGNORING:
            insert = insert.on_conflict_do_nothing(index_elements=["route", "batch"])
        nothing = {
            "route": route,
            "digest": "",
            "row_set": _NOTHING,
            "row_count": 0,
            "written_at": time.time(),
        }
        connection.execute(insert, [{"batch": batch, **nothing} for batch in batches])


class OldSQLRecords:
    """What `prune` asks of a table of records, each step in a transaction of its own."""

    def __init__(
        self, records: SQLRecords, transaction: Callable[[str], AbstractContextManager[sa.Connection]]
    ) -> None:
        """Take the table, and what begins a transaction of SQLite by the words it is given."""
        self._records = records
        self._transaction = transaction

    def routes(self) -> list[str]:
        """Return every route that anything is recorded of."""
        with self._transaction("BEGIN") as connection:
            return self._records.routes(connection)

    def old(self, route: str, after: str, before: float) -> list[str]:
        """Return some batches of a route last written before a moment, those that follow one id, in order."""
        with self._transaction("BEGIN") as connection:
            return self._records.old(connection, route, after, before)

    def forget(self, route: str, batches: Sequence[str], before: float) -> int:
        """Forget those of some batches that were not written since; return how many."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            return self._records.forget(connection, route, batches, before)


_IGNORING: Final[Mapping[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def _columns(entry: Entry) -> dict[str, Any]:
    return {"digest": entry.digest, "row_set": entry.rows.encode(), "row_count": len(entry.rows)}


def _chunks(batches: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(batches), _AT_ONCE):
        yield batches[start : start + _AT_ONCE]
