"""The tables of an SQL destination: made as they should be, or checked against what is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, oracle
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from destinations.revisions import ACCEPTANCE
from router.check_names import MAX_NAME_LENGTH
from router.errors import ConfigError
from router.schema import IDENTITY, PRICES

#: The columns of points, in order; `ACCEPTANCE` follows.
POINT_COLUMNS: Final = (
    *IDENTITY,
    *PRICES,
    "volume",
    "asset_class",
    "data_quality_score",
    "is_realtime",
    "technical_indicators",
)
#: What the name of the table of records adds to that of the points.
RECORDS: Final = "_written"
#: The least that a database allows is 63 bytes for a name, and the table of records adds to it.
MAX_TABLE_NAME: Final = 50
#: Makes the columns and the indexes of a table for one kind of database, named as SQLAlchemy does.
Definition = Callable[[str], Sequence[sa.schema.SchemaItem]]

#: Names compare byte by byte: where that is not the rule, or is not as fast, the column says so.
_BYTEWISE: Final = {
    "postgresql": "C",
    "mysql": "utf8mb4_bin",
    "mariadb": "utf8mb4_bin",
    "mssql": "Latin1_General_100_BIN2_UTF8",
}
_MOST_SINGLE: Final = 24  #: bits of a float in four bytes


class Tables:
    """The definitions of both tables for one kind of database.

    Args:
        dialect: Its name, such as ``postgresql``.
        table: The name of the table of points.
        schema: The schema of both; None: the connection's own.
        definition: What is in the table of points; None: one row a point identity.

    Attributes:
        points: The table of points.
        written: For each route and batch, the rows that were written; batch ``''`` counts the forgotten.
    """

    def __init__(
        self, dialect: str, table: str, schema: str | None = None, definition: Definition | None = None
    ) -> None:
        """Define them; nothing is made."""
        for where, name in (("table", table), ("schema", schema)):
            if name is not None and not (0 < len(name.encode()) <= MAX_TABLE_NAME and name.isprintable()):
                raise ConfigError("range", where, f"{name!r} is not a name of 1 to {MAX_TABLE_NAME} bytes")
        self.schema = schema
        self.metadata = sa.MetaData(schema=schema)
        items = (definition or point_columns)(dialect)
        self.points = sa.Table(table, self.metadata, *items, sqlite_with_rowid=False)
        self.written = sa.Table(
            table + RECORDS,
            self.metadata,
            sa.Column("route", text_type(dialect), primary_key=True),
            sa.Column("batch", text_type(dialect), primary_key=True),
            sa.Column("digest", text_type(dialect, 64), nullable=False),
            sa.Column("row_set", _bytes(), nullable=False),
            sa.Column("row_count", sa.BigInteger, nullable=False),
            sa.Column("written_at", sa.Double, nullable=False),
            sqlite_with_rowid=False,
        )

    def prepare(self, connection: sa.Connection, *, create: bool) -> None:
        """Make what is missing, if that is asked for, and check what is there.

        Raises:
            ConfigError: `table.` and what is wrong: `missing`, `schema`, `view`, `column`, `type` or `key`.
        """
        missing = [t for t in self.metadata.sorted_tables if not exists(connection, t)]
        if (
            missing
            and self.schema is not None
            and self.schema not in sa.inspect(connection).get_schema_names()
        ):
            message = f"there is no schema {self.schema!r}: CREATE SCHEMA {self.schema}"
            raise ConfigError("table.schema", "schema", message)
        if missing and not create:
            wanted = "; ".join(_ddl(connection, table) for table in missing)
            raise ConfigError("table.missing", "table", f"with create=False make it yourself: {wanted}")
        for table in missing:
            table.create(connection)
        for table in self.metadata.sorted_tables:
            if table not in missing:
                _check(connection, table)


def point_columns(dialect: str, *, keyed: bool = True) -> list[sa.Column[Any]]:
    """Return the columns of points, for a table of its own or one without a key."""
    number: Any = sa.Double().with_variant(oracle.BINARY_DOUBLE(), "oracle")
    types: dict[str, Any] = {
        **dict.fromkeys(("source", "symbol", "timeframe"), text_type(dialect, MAX_NAME_LENGTH)),
        "timestamp": time_type(dialect),
        **dict.fromkeys((*PRICES, "volume", "data_quality_score"), number),
        "asset_class": text_type(dialect, 16),
        "is_realtime": sa.Boolean(),
        "technical_indicators": json_type(),
        "acceptance_number": sa.BigInteger(),
        "acceptance_row": sa.BigInteger(),
    }
    return [
        sa.Column(
            name,
            types[name],
            primary_key=keyed and name in IDENTITY,
            autoincrement=False,
            nullable=name in ("volume", "technical_indicators"),
        )
        for name in (*POINT_COLUMNS, *ACCEPTANCE)
    ]


def json_type() -> sa.types.TypeEngine[Any]:
    """Return the type of JSON, of which nothing is null."""
    return sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def text_type(dialect: str, length: int = 255) -> sa.types.TypeEngine[str]:
    """Return the type of text that is compared byte by byte; some databases must know its length."""
    if dialect in ("postgresql", "sqlite"):
        return sa.Text(collation=_BYTEWISE.get(dialect))
    return sa.String(length, collation=_BYTEWISE.get(dialect))


def time_type(dialect: str) -> sa.types.TypeEngine[Any]:
    """Return the type of a moment; for SQLite, text of `destinations.sql_rows`, which sorts as time does."""
    if dialect == "sqlite":
        return sa.Text()
    precise = sa.DateTime(timezone=dialect == "postgresql")
    return (
        precise.with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
        .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]
        .with_variant(oracle.TIMESTAMP(), "oracle")
    )


def _bytes() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


# -- what is there ------------------------------------------------------------------------------


def exists(connection: sa.Connection, table: sa.Table) -> bool:
    """Return whether there is a table of this name."""
    return sa.inspect(connection).has_table(table.name, table.schema)


def _check(connection: sa.Connection, table: sa.Table) -> None:
    inspector, dialect = sa.inspect(connection), connection.dialect
    there: dict[str, Any] = {
        column["name"]: column for column in inspector.get_columns(table.name, table.schema)
    }
    if table.name in inspector.get_view_names(table.schema):
        raise ConfigError("table.view", "table", f"{table} is a view: name a table")
    if missing := [column for column in table.columns if column.name not in there]:
        raise ConfigError("table.column", "table", _lacking(table, missing, dialect))
    for column in table.columns:
        found = there[column.name]["type"]
        if not fits(column.type, found, dialect.name):
            wanted = column.type.compile(dialect)
            message = f"{table}.{column.name} is of type {found.compile(dialect)}, and {wanted} is needed"
            raise ConfigError("table.type", "table", f"{message}: change it, or name another table")
    for name, other in there.items():
        if name not in table.columns and not (other["nullable"] or _fills_itself(other)):
            message = (
                f"{table}.{name} must be given and no point has it: give it a default, or let it be null"
            )
            raise ConfigError("table.column", "table", message)
    key = {column.name for column in table.primary_key}
    if key not in _keys(inspector, table):
        wanted = ", ".join(column.name for column in table.primary_key)
        message = f"{table} has no unique key ({wanted}), by which rows are found again"
        raise ConfigError("table.key", "table", f"{message}: ALTER TABLE {table} ADD UNIQUE ({wanted})")


def _lacking(table: sa.Table, missing: Sequence[sa.Column[Any]], dialect: sa.Dialect) -> str:
    names = ("column " if len(missing) == 1 else "columns ") + ", ".join(column.name for column in missing)
    added = "; ".join(f"ALTER TABLE {table} ADD COLUMN {_specified(column, dialect)}" for column in missing)
    return f"{table} has no {names}: {added}"


def _fills_itself(column: Any) -> bool:
    return any(column.get(name) for name in ("default", "identity", "computed", "autoincrement"))


def _keys(inspector: sa.Inspector, table: sa.Table) -> list[set[str | None]]:
    where = table.name, table.schema
    partial = ("postgresql_where", "sqlite_where")
    indexes: list[Any] = [
        index["column_names"]
        for index in inspector.get_indexes(*where)
        if index["unique"] and not any(name in index.get("dialect_options", {}) for name in partial)
    ]
    unique: list[Any] = [
        constraint["column_names"] for constraint in inspector.get_unique_constraints(*where)
    ]
    primary = inspector.get_pk_constraint(*where)["constrained_columns"]
    return [set(columns) for columns in (primary, *unique, *indexes)]


def fits(wanted: sa.types.TypeEngine[Any], found: sa.types.TypeEngine[Any], dialect: str) -> bool:
    """Return whether a column of a type holds every value that one of another holds, unchanged."""
    if isinstance(wanted, sa.Double):
        return isinstance(found, sa.Float | oracle.BINARY_DOUBLE) and not _is_single(found, dialect)
    if isinstance(wanted, sa.DateTime):
        exact = getattr(found, "fsp", 6) == 6 and getattr(found, "precision", None) in (None, 6)
        return isinstance(found, sa.DateTime) and bool(found.timezone) == bool(wanted.timezone) and exact
    if isinstance(wanted, sa.BigInteger):
        return isinstance(found, sa.BigInteger) or (dialect == "sqlite" and isinstance(found, sa.Integer))
    if isinstance(wanted, sa.JSON):
        return isinstance(found, sa.JSON | sa.Text)
    if isinstance(wanted, sa.Boolean):
        number = isinstance(found, sa.SmallInteger | mysql.TINYINT | mssql.BIT)
        return isinstance(found, sa.Boolean) or (number and dialect != "postgresql")
    if isinstance(found, sa.Enum) and dialect == "postgresql":
        return False
    return isinstance(found, sa.String) is not isinstance(wanted, sa.LargeBinary)


def _is_single(found: sa.types.TypeEngine[Any], dialect: str) -> bool:
    if dialect == "sqlite" or isinstance(found, sa.Double | oracle.BINARY_DOUBLE):
        return False
    precision = getattr(found, "precision", None)
    return isinstance(found, sa.REAL) or precision is None or precision <= _MOST_SINGLE


def _specified(column: sa.Column[Any], dialect: sa.Dialect) -> str:
    text = str(CreateColumn(column).compile(dialect=dialect))
    return f"{text} DEFAULT 0" if column.name in ACCEPTANCE else text


def _ddl(connection: sa.Connection, table: sa.Table) -> str:
    made: list[sa.schema.ExecutableDDLElement] = [CreateTable(table), *map(CreateIndex, table.indexes)]
    return "; ".join(
        re.sub(r"\s+", " ", str(one.compile(dialect=connection.dialect))).strip() for one in made
    )
