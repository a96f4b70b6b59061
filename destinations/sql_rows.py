"""Make the rows of a table from the columns of a batch; pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final

import polars as pl
from polars import selectors

from destinations.revisions import ACCEPTANCE, acceptance, newest
from destinations.sql_tables import POINT_COLUMNS
from router.batch import PointBatch
from router.schema import IDENTITY

#: Text that sorts as time does, and that the functions of SQLite and PostgreSQL read.
_TEXT_TIME: Final = "%Y-%m-%d %H:%M:%S%.6f+00:00"
_INDICATORS: Final = "technical_indicators"
_OPENING: Final = len(f'{{"{_INDICATORS}":')


def newest_rows(batch: PointBatch) -> pl.DataFrame:
    """Return one row a point identity, the newest, with its `ACCEPTANCE`; sorted by identity.

    The highest acceptance number is the newest, then the highest row of that batch. Rows of a batch that
    no fleet accepted are as new as the moment; indicators are JSON text.
    """
    number, row = acceptance(batch)
    frame = batch.frame.with_columns(
        *map(pl.Series, ACCEPTANCE, (number, row)), encode_indicators(batch.frame)
    )
    # By identity: the one order in which transactions never wait for each other.
    kept = newest(batch, number, row)
    return frame[kept].select(*POINT_COLUMNS, *ACCEPTANCE)


def encode_indicators(frame: pl.DataFrame) -> pl.Series:
    """Return one JSON object a point as text; null where none were given."""
    if frame[_INDICATORS].null_count() == len(frame):
        return pl.Series(_INDICATORS, [None] * len(frame), pl.String)
    out = BytesIO()
    frame.select(_INDICATORS).write_ndjson(out)
    objects = (line[_OPENING:-1] for line in out.getvalue().decode().split("\n")[:-1])
    return pl.Series(_INDICATORS, [None if text == "null" else text for text in objects], pl.String)


def values(rows: pl.DataFrame, dialect: str) -> Iterator[tuple[Any, ...]]:
    """Return rows as a driver takes them, each made when it is asked for.

    Timestamps are text for SQLite, aware for PostgreSQL, and naive UTC for every other database.
    """
    moments = selectors.datetime()
    if dialect == "sqlite":
        rows = rows.with_columns(moments.dt.strftime(_TEXT_TIME))
    elif dialect != "postgresql":
        rows = rows.with_columns(moments.dt.replace_time_zone(None))
    return zip(*(column.to_list() for column in rows), strict=True)


def as_moment(when: datetime, dialect: str) -> Any:
    """Return a moment as a driver of SQLite or PostgreSQL takes it."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00" if dialect == "sqlite" else when


def spans(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row a series, with the timestamps of its first and its last row as text."""
    moment = pl.col("timestamp")
    series = [name for name in IDENTITY if name != "timestamp"]
    found = rows.group_by(series).agg(first=moment.min(), last=moment.max())
    return found.with_columns(pl.col("first", "last").dt.strftime(_TEXT_TIME))
