"""Make the rows of a table from the columns of a batch; pure functions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from destinations.sql_tables import ACCEPTANCE, POINT_COLUMNS
from router.batch import PointBatch
from router.schema import IDENTITY

Numbers = npt.NDArray[np.int64]

#: Text that sorts as time does, and that the functions of SQLite and PostgreSQL read.
_TEXT_TIME: Final = "%Y-%m-%d %H:%M:%S%.6f+00:00"
_INDICATORS: Final = "technical_indicators"
_OPENING: Final = len(f'{{"{_INDICATORS}":')


def newest_rows(batch: PointBatch) -> pl.DataFrame:
    """Return one row a point identity, the newest, with its `ACCEPTANCE`; sorted by identity.

    The highest acceptance number is the newest, then the highest row of that batch. Rows of a batch that
    no fleet accepted are as new as the moment; indicators are JSON text.
    """
    now = time.time_ns() // 1000
    number = _per_row((part.number or now + at, len(part.rows)) for at, part in enumerate(batch.parts))
    row = np.concatenate([part.rows.positions for part in batch.parts]).astype(np.int64)
    kept = _newest(batch, number, row)
    frame = batch.frame.with_columns(
        pl.Series(ACCEPTANCE[0], number), pl.Series(ACCEPTANCE[1], row), encode_indicators(batch.frame)
    )
    return frame[kept].select(*POINT_COLUMNS, *ACCEPTANCE)


# Positions of the rows to keep, by identity: the one order in which transactions never wait for each other.
# Words are compared once each, and then their ranks: sorting the text itself takes ten times as long.
def _newest(batch: PointBatch, number: Numbers, row: Numbers) -> Numbers:
    timestamp = batch.frame["timestamp"].to_physical().to_numpy()
    keys = [timestamp, *(_ranks(batch, name) for name in ("timeframe", "symbol", "source"))]
    order: Numbers = np.lexsort([row, number, *keys])
    differs = np.zeros(len(order), dtype=np.bool_)
    differs[-1:] = True
    for key in keys:
        ordered = key[order]
        differs[:-1] |= ordered[1:] != ordered[:-1]
    return order[differs]


def _ranks(batch: PointBatch, name: str) -> Numbers:
    column = batch.dictionary(name)
    words = np.array(column.dictionary.to_pylist(), dtype=np.str_)
    _, rank = np.unique(words, return_inverse=True)
    ranks: Numbers = rank.astype(np.int64)[column.indices.to_numpy()]
    return ranks


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
    moment = pl.col("timestamp")
    if dialect == "sqlite":
        rows = rows.with_columns(moment.dt.strftime(_TEXT_TIME))
    elif dialect != "postgresql":
        rows = rows.with_columns(moment.dt.replace_time_zone(None))
    return zip(*(column.to_list() for column in rows), strict=True)


def _per_row(numbers: Iterable[tuple[int, int]]) -> Numbers:
    numbers, counts = zip(*numbers, strict=True)
    return np.repeat(np.array(numbers, dtype=np.int64), counts)


def spans(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row a series, with the timestamps of its first and its last row as text."""
    moment = pl.col("timestamp")
    series = [name for name in IDENTITY if name != "timestamp"]
    found = rows.group_by(series).agg(first=moment.min(), last=moment.max())
    return found.with_columns(pl.col("first", "last").dt.strftime(_TEXT_TIME))
