"""Put rows into the table of points, each where no newer revision of it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from destinations.sql_rows import encode_copy, values
from destinations.sql_tables import ACCEPTANCE, POINT_COLUMNS, point_columns
from router.schema import IDENTITY

#: Takes rows as `destinations.sql_rows.newest_rows` gives them, within a transaction.
Upsert = Callable[[sa.Connection, pl.DataFrame], None]

COLUMNS: Final = (*POINT_COLUMNS, *ACCEPTANCE)
_CHANGED: Final = tuple(name for name in COLUMNS if name not in IDENTITY)
_STAGED: Final = "candlefleet_staged"


def upsert_for(connection: sa.Connection, table: sa.Table) -> Upsert:
    """Return the fastest way that this database takes rows.

    PostgreSQL through psycopg by COPY, if the user may make temporary tables; SQLite and PostgreSQL with
    ON CONFLICT; any other by statements that every database knows.
    """
    dialect = connection.dialect
    if dialect.name == "postgresql" and dialect.driver == "psycopg" and _may_stage(connection):
        return CopyUpsert(table)
    if dialect.name in ("postgresql", "sqlite"):
        return partial(upsert_row_by_row, on_conflict(dialect.name, table))
    return GenericUpsert(table)


def upsert_row_by_row(statement: sa.Executable, connection: sa.Connection, rows: pl.DataFrame) -> None:
    """Execute an upsert for many rows."""
    dialect = connection.dialect
    parameters = values(rows, dialect.name)
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    if dialect.name == "sqlite":  # its driver takes the values as they are, ten times as fast
        connection.exec_driver_sql(str(compiled), parameters)
    else:
        connection.execute(statement, [dict(zip(COLUMNS, row, strict=True)) for row in parameters])


def on_conflict(dialect: str, table: sa.Table, rows: sa.Select[Any] | None = None) -> sa.Executable:
    """Return an upsert of rows given one by one, or selected elsewhere."""
    make = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[dialect]
    insert: Any = make(table)
    if rows is not None:
        insert = insert.from_select(COLUMNS, rows)
    else:
        insert = insert.values({name: sa.bindparam(name, type_=table.c[name].type) for name in COLUMNS})
    return insert.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=IDENTITY,
        set_={name: insert.excluded[name] for name in _CHANGED},
        where=_is_newer(table, *(insert.excluded[name] for name in ACCEPTANCE)),
    )


class CopyUpsert:
    """Copies rows into a temporary table, and from there puts them where they belong, in one statement."""

    def __init__(self, table: sa.Table) -> None:
        """Make the statements for a table."""
        staged = sa.Table(
            _STAGED,
            sa.MetaData(),
            *point_columns("postgresql", keyed=False),
            prefixes=["TEMPORARY"],
            postgresql_on_commit="DELETE ROWS",
        )
        self._stage = sa.schema.CreateTable(staged, if_not_exists=True)
        self._copy = f"COPY {_STAGED} ({', '.join(map(_quoted, COLUMNS))}) FROM STDIN (FORMAT csv)"
        self._merge = on_conflict("postgresql", table, sa.select(*staged.c))

    def __call__(self, connection: sa.Connection, rows: pl.DataFrame) -> None:
        """Put rows in."""
        connection.execute(self._stage)
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(self._copy) as copy:
            copy.write(encode_copy(rows))
        connection.execute(self._merge)


class GenericUpsert:
    """Updates the rows that are there, and inserts the others: statements that every database knows.

    Two processes that insert one row at the same time collide: the second has to begin its transaction anew.
    """

    def __init__(self, table: sa.Table) -> None:
        """Make the statements for a table."""
        given = {
            name: sa.bindparam(f"new_{name}", type_=column.type, unique=False)
            for name, column in table.c.items()
            if name in COLUMNS
        }
        same = sa.and_(*(table.c[name] == given[name] for name in IDENTITY))
        self._update = (
            sa.update(table)
            .where(same, _is_newer(table, *(given[name] for name in ACCEPTANCE)))
            .values({name: given[name] for name in _CHANGED})
        )
        absent = ~sa.exists(sa.select(sa.literal(1)).select_from(table).where(same))
        self._insert = sa.insert(table).from_select(
            COLUMNS, sa.select(*(given[name] for name in COLUMNS)).where(absent)
        )

    def __call__(self, connection: sa.Connection, rows: pl.DataFrame) -> None:
        """Put rows in."""
        names = [f"new_{name}" for name in COLUMNS]
        given = [dict(zip(names, row, strict=True)) for row in values(rows, connection.dialect.name)]
        connection.execute(self._update, given)
        connection.execute(self._insert, given)


# What is there without a number, in a table of the user's own, is older than everything.
def _is_newer(table: sa.Table, number: Any, row: Any) -> sa.ColumnElement[bool]:
    there, there_row = (sa.func.coalesce(table.c[name], sa.literal_column("0")) for name in ACCEPTANCE)
    return sa.or_(number > there, sa.and_(number == there, row >= there_row))


def _may_stage(connection: sa.Connection) -> bool:
    asked = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
    return bool(connection.exec_driver_sql(asked).scalar())


def _quoted(name: str) -> str:
    return f'"{name}"'
