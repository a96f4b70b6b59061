"""Put rows into the table of points, each where no newer revision of it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from destinations.revisions import ACCEPTANCE
from destinations.sql_copy import encode_copy
from destinations.sql_rows import spans, values
from destinations.sql_tables import POINT_COLUMNS, point_columns
from router.schema import IDENTITY

#: Takes rows as `destinations.sql_rows.newest_rows` gives them, within a transaction.
Upsert = Callable[[sa.Connection, pl.DataFrame], None]

COLUMNS: Final = (*POINT_COLUMNS, *ACCEPTANCE)
_CHANGED: Final = tuple(name for name in COLUMNS if name not in IDENTITY)
_STAGED: Final = "candlefleet_staged"
#: Whether a row of the table lies between the first and the last of its series among those that are given;
#: one look at the key for each series.
_OVERLAPS: Final = """
SELECT EXISTS (
    SELECT FROM
        json_to_recordset(%s::json)
            AS given (source text, symbol text, timeframe text, first timestamptz, last timestamptz),
        LATERAL (
            SELECT FROM {table} AS there
            WHERE there.source = given.source AND there.symbol = given.symbol
                AND there.timeframe = given.timeframe AND there.timestamp BETWEEN first AND last
            LIMIT 1
        ) AS found
)
"""
#: Rows a series from which on looking first costs less than merging.
_SEVERAL: Final = 2
#: COPY does not go with row-level security, nor into a view; its bytes have to be of the column's very type.
_TAKES_COPIES: Final = """
SELECT relkind IN ('r', 'p') AND NOT row_security_active(oid) AND EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = oid AND attname = 'technical_indicators' AND atttypid = 'jsonb'::regtype
)
FROM pg_class WHERE oid = %s::regclass
"""


def upsert_for(connection: sa.Connection, table: sa.Table) -> Upsert:
    """Return the fastest way that this database takes rows.

    PostgreSQL through psycopg by COPY, if the user may make temporary tables; SQLite and PostgreSQL with
    ON CONFLICT; any other by statements that every database knows.
    """
    dialect = connection.dialect
    if dialect.name == "postgresql" and dialect.driver == "psycopg" and _may_stage(connection):
        return CopyUpsert(table, directly=takes_copies(connection, table))
    if dialect.name in ("postgresql", "sqlite"):
        return partial(upsert_row_by_row, on_conflict(dialect.name, table))
    return GenericUpsert(table)


def upsert_row_by_row(statement: sa.Executable, connection: sa.Connection, rows: pl.DataFrame) -> None:
    """Execute an upsert for many rows."""
    dialect, parameters = connection.dialect, values(rows, connection.dialect.name)
    if dialect.name == "sqlite":  # its driver takes the values as they are, ten times as fast
        driver: Any = connection.connection.driver_connection
        driver.executemany(str(statement.compile(dialect=dialect)), parameters)  # type: ignore[attr-defined]
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
    """Copies rows: into the table where none of them can be there yet, else merged by way of a temporary one.

    Two processes that copy one row at the same time collide: the second has to begin its transaction anew.
    """

    def __init__(self, table: sa.Table, *, directly: bool = True) -> None:
        """Make the statements for a table; it may be one that takes no copies itself."""
        staged = sa.Table(
            _STAGED,
            sa.MetaData(),
            *point_columns("postgresql", keyed=False),
            prefixes=["TEMPORARY"],
            postgresql_on_commit="DELETE ROWS",
        )
        self._stage = sa.schema.CreateTable(staged, if_not_exists=True)
        self._into_staged, self._into_table = copy_into(staged), copy_into(table)
        self._merge = on_conflict("postgresql", table, sa.select(*staged.c))
        self._overlaps = _OVERLAPS.replace("{table}", _named(table).replace("%", "%%"))
        self._directly = directly

    def __call__(self, connection: sa.Connection, rows: pl.DataFrame) -> None:
        """Put rows in."""
        encoded = encode_copy(rows)
        if self._directly and self._are_apart(connection, rows):
            copy(connection, self._into_table, encoded)
            return
        connection.execute(self._stage)
        copy(connection, self._into_staged, encoded)
        connection.execute(self._merge)

    def _are_apart(self, connection: sa.Connection, rows: pl.DataFrame) -> bool:
        series = spans(rows)
        if len(rows) < _SEVERAL * len(series):
            return False
        return not connection.exec_driver_sql(self._overlaps, (series.write_json(),)).scalar()


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


def copy_into(table: sa.Table, columns: Sequence[str] = COLUMNS) -> str:
    """Return the statement that copies what `encode_copy` makes of some columns into a table."""
    return f"COPY {_named(table)} ({', '.join(map(_quoted, columns))}) FROM STDIN (FORMAT binary)"


def copy(connection: sa.Connection, statement: str, encoded: bytes) -> None:
    """Copy rows, through psycopg."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copying:
        copying.write(encoded)


def _may_stage(connection: sa.Connection) -> bool:
    asked = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
    return bool(connection.exec_driver_sql(asked).scalar())


def takes_copies(connection: sa.Connection, table: sa.Table) -> bool:
    """Return whether rows may be copied into a table of PostgreSQL, of which indicators are `jsonb`."""
    return bool(connection.exec_driver_sql(_TAKES_COPIES, (_named(table),)).scalar())


def _named(table: sa.Table) -> str:
    return ".".join(_quoted(name) for name in (table.schema, table.name) if name is not None)


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
