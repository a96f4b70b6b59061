"""The table of a review queue, and the statements that keep one revision of each point waiting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl
import sqlalchemy as sa

from destinations.review_records import State
from destinations.revisions import ACCEPTANCE, with_acceptance
from destinations.sql_copy import encode_copy
from destinations.sql_rows import encode_indicators, values
from destinations.sql_tables import POINT_COLUMNS, json_type, point_columns, text_type, time_type
from destinations.sql_upsert import copy, copy_into, takes_copies
from router.batch import PointBatch
from router.rows import Mask
from router.schema import IDENTITY

#: What a table of SQL must be able to do for two people and many workers to share it.
DIALECTS: Final = ("sqlite", "postgresql")

#: Begins the id of every batch in which points are sent on, and of no other.
SENT: Final = "review-"
#: What is known of a row when it comes, in order.
COMES_WITH: Final = (
    "id",
    "route",
    *POINT_COLUMNS,
    *ACCEPTANCE,
    "batch",
    "reason",
    "came_at",
    "state",
)
_SERIES: Final = ("route", *IDENTITY)


def review_columns(dialect: str) -> list[sa.schema.SchemaItem]:
    """Return the columns and indexes of a table of reviews, for SQLite or PostgreSQL."""
    text, time = text_type(dialect), time_type(dialect)
    return [
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("route", text, nullable=False),
        *point_columns(dialect, keyed=False),
        sa.Column("batch", text, nullable=False),
        sa.Column("reason", text, nullable=False),
        sa.Column("came_at", time, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("superseded_by", sa.BigInteger),
        sa.Column("decided_by", text),
        sa.Column("decided_at", time),
        sa.Column("why", text),
        sa.Column("changes", json_type()),
        sa.Column("sent_as", text),
        sa.Column("sent_at", time),
        sa.Index(None, *_SERIES, *ACCEPTANCE),
        sa.Index(None, "sent_as"),
    ]


def lock(connection: sa.Connection, table: sa.Table) -> None:
    """Let nobody else change the table until the transaction ends; readers are not kept waiting.

    An SQLite is locked by the words that begin the transaction.
    """
    if connection.dialect.name == "postgresql":
        name = connection.dialect.identifier_preparer.format_table(table)
        connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")


def returning(connection: sa.Connection, table: sa.Table, batch: PointBatch) -> Mask:
    """Return of each point whether it is here because a person sent it on when it waited for this route."""
    mask: Mask = np.zeros(len(batch), dtype=np.bool_)
    ids = [part.batch_id for part in batch.parts if part.batch_id.startswith(SENT)]
    if ids:
        t = table.c
        asked = sa.select(t.sent_as, *(t[name] for name in IDENTITY))
        mine = asked.where(t.route == (batch.route_id or ""), t.sent_as.in_(ids))
        decided = {tuple(row) for row in connection.execute(mine)}
        points = values(batch.frame.select(IDENTITY), connection.dialect.name)
        mask[:] = [(name, *point) in decided for name, point in zip(_batches(batch), points, strict=True)]
    return mask


def insert(connection: sa.Connection, table: sa.Table, batch: PointBatch, reasons: list[str]) -> None:
    """Insert points that wait, and mark those that are no longer, or not, the newest revision of theirs.

    The table is locked. Ids go on from the highest.
    """
    last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
    _insert(connection, table, _rows(batch, reasons, last + 1))
    connection.execute(_supersede(table, last + 1, last + len(batch)))


def _rows(batch: PointBatch, reasons: list[str], first: int) -> pl.DataFrame:
    return (
        with_acceptance(batch)
        .select(
            pl.int_range(first, first + len(batch)).alias("id"),
            pl.lit(batch.route_id or "").alias("route"),
            *(name for name in POINT_COLUMNS if name != "technical_indicators"),
            encode_indicators(batch.frame),
            *ACCEPTANCE,
            pl.Series("batch", _batches(batch)),
            pl.Series("reason", reasons),
            pl.lit(datetime.now(UTC)).alias("came_at"),
            pl.lit(State.WAITING.value).alias("state"),
        )
        .select(COMES_WITH)
    )


def _batches(batch: PointBatch) -> list[str]:
    return [part.batch_id for part in batch.parts for _ in range(len(part.rows))]


# The drivers take values as they are, or as bytes, many times as fast.
def _insert(connection: sa.Connection, table: sa.Table, rows: pl.DataFrame) -> None:
    dialect = connection.dialect
    if dialect.driver == "psycopg" and takes_copies(connection, table):
        copy(connection, copy_into(table, COMES_WITH), encode_copy(rows))
        return
    bound = {name: sa.bindparam(name, type_=table.c[name].type) for name in COMES_WITH}
    statement, given = sa.insert(table).values(bound), values(rows, dialect.name)
    if dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.executemany(str(statement.compile(dialect=dialect)), given)
    else:
        connection.execute(statement, [dict(zip(COMES_WITH, row, strict=True)) for row in given])


# What came has ids from the first to the last. At most one revision waited before, and it is looked for row
# by row: a join might read all that waits.
def _supersede(table: sa.Table, first: int, last: int) -> sa.Update:
    came, older, newer = table.alias("came"), table.alias("older"), table.alias("newer")
    waited = (
        sa.select(sa.func.max(older.c.id))
        .where(_same(older, came), older.c.id < first, older.c.state == State.WAITING.value)
        .scalar_subquery()
    )
    touched = sa.union_all(
        *(
            sa.select(found).select_from(came).where(came.c.id.between(first, last))
            for found in (came.c.id, waited)
        )
    )
    newest = (
        sa.select(newer.c.id)
        .where(_same(newer, table))
        .order_by(*(newer.c[name].desc() for name in (*ACCEPTANCE, "id")))
        .limit(1)
        .scalar_subquery()
    )
    return (
        sa.update(table)
        .where(table.c.id.in_(touched), newest != table.c.id)
        .values(state=State.SUPERSEDED.value, superseded_by=newest)
    )


def _same(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(*(one.c[name] == other.c[name] for name in _SERIES))
