"""Answer from the bars as they were sent what the engines are asked about the bars as they were delivered.

Two questions: `years` has one row a symbol, timeframe and UTC year; `bars` has one row a bar, its own columns
and the average of the last twenty closes of its series. Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

Answers = dict[str, list[dict[str, Any]]]

NAMES: Final = ("symbol", "asset_class", "timeframe", "source")
NUMBERS: Final = ("open", "high", "low", "close", "volume")
SERIES: Final = ("source", "symbol", "timeframe")
DAYS: Final = 20

_QUESTIONS: Final = {
    "years": """
        select symbol, timeframe, year(timestamp) as year, count(*) as rows,
            min(low) as low, max(high) as high,
            min_by(open, timestamp) as open, max_by(close, timestamp) as close
        from bars group by all""",
    "bars": f"""
        select source, symbol, timeframe, epoch_us(timestamp) as timestamp, open, high, low, close, volume,
            avg(close) over (partition by source, symbol, timeframe order by timestamp
                rows {DAYS - 1} preceding) as average
        from bars""",  # noqa: S608
}


def by_polars(files: Sequence[Path]) -> Answers:
    """Return the answers for the bars of some CSV files, as Polars computes them."""
    bars = pl.concat([_read(path) for path in files])
    close, start = pl.col("close"), pl.col("timestamp")
    years = bars.group_by("symbol", "timeframe", start.dt.year().alias("year")).agg(
        pl.len().alias("rows"),
        pl.col("low").min(),
        pl.col("high").max(),
        pl.col("open").sort_by("timestamp").first(),
        close.sort_by("timestamp").last(),
    )
    average = close.rolling_mean(DAYS, min_samples=1).over(SERIES, order_by="timestamp").alias("average")
    rows = bars.select(*SERIES, start.dt.epoch("us"), *NUMBERS, average)
    return {"years": years.to_dicts(), "bars": rows.to_dicts()}


def by_duckdb(files: Sequence[Path]) -> Answers:
    """Return the same answers as DuckDB computes them."""
    types = dict.fromkeys(NAMES, "VARCHAR") | dict.fromkeys(NUMBERS, "DOUBLE") | {"timestamp": "TIMESTAMP"}
    with duckdb.connect() as connection:
        sent = connection.read_csv([str(path) for path in files], dtype=types, quotechar='"', escapechar='"')
        sent.create_view("bars")
        return {name: connection.sql(question).pl().to_dicts() for name, question in _QUESTIONS.items()}


def _read(path: Path) -> pl.DataFrame:
    types = {**dict.fromkeys(NUMBERS, pl.Float64()), **dict.fromkeys(NAMES, pl.String())}
    frame = pl.read_csv(path, schema_overrides=types)
    return frame.with_columns(pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC"))
