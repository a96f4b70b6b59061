"""A Delta table, read by the engines it is for, before and after it was maintained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from destinations import AnalyticsEngineDestination
from router import PointBatch, Route
from router.batch import BatchRows
from router.errors import ConfigError
from router.rows import Rows
from tests.make import make_batch, make_point

IDENTITY = ("source", "symbol", "timeframe", "timestamp")
NEWEST = """
    select * exclude (acceptance_number, acceptance_row)
    from read_parquet($files, hive_partitioning = true, hive_types = {'symbol': varchar})
    qualify row_number() over (
        partition by source, symbol, timeframe, timestamp
        order by acceptance_number desc, acceptance_row desc) = 1
"""
SYMBOLS = ["BTC/USD", 'it\'s "q"', "贵州=茅台", "a b%2F&", "null", "~", "000700", "*?[x]"]

Records = list[Mapping[str, Any]]


def by_polars(table: DeltaTable) -> Records:
    """Read the table as Polars does."""
    return pl.read_delta(table.table_uri).to_dicts()


def by_duckdb(table: DeltaTable) -> Records:
    """Read the files that the table lists, with DuckDB."""
    query = "from read_parquet($files, hive_partitioning = true, hive_types = {'symbol': varchar})"
    return duckdb.execute(query, {"files": table.file_uris()}).pl().to_dicts()


def by_pandas(table: DeltaTable) -> Records:
    """Read the table into pandas; what is absent is None."""
    frame = table.to_pandas()
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def accepted(batch: PointBatch, number: int, name: str = "") -> PointBatch:
    """Return a batch as a fleet accepted it, with a number."""
    return PointBatch(batch.table, [BatchRows(name or f"batch-{number}", Rows.all(len(batch)), number)])


@pytest.fixture
def table(tmp_path: Path) -> Iterator[AnalyticsEngineDestination]:
    made = AnalyticsEngineDestination(tmp_path / "bars", ["symbol", "year"])
    yield made
    made.close()


def maintain(table: AnalyticsEngineDestination) -> None:
    work = table.maintenance()
    assert work.begun()
    assert [one.error for one in work.merges() if one.error] == []


def values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what every reader must find in a row, in types that all have."""
    volume = row["volume"]
    return (
        str(row["symbol"]),
        pd.Timestamp(row["timestamp"]).tz_convert("UTC").isoformat(),
        float(row["close"]),
        None if volume is None or pd.isna(volume) else float(volume),
        row["timeframe"],
        row["source"],
        int(row["year"]),
        int(row["acceptance_number"]),
        int(row["acceptance_row"]),
    )


@pytest.mark.parametrize("read", [by_polars, by_duckdb, by_pandas])
def test_every_reader_finds_every_row_before_and_after_maintain(
    table: AnalyticsEngineDestination, read: Callable[[DeltaTable], Records]
):
    batch = make_batch(64, SYMBOLS)
    for number, chunk in enumerate(batch.chunks(16), 1):
        table.write_batch(accepted(chunk, number))
    expected = sorted(
        values(point | {"year": 2024, "acceptance_number": 1 + row // 16, "acceptance_row": row % 16})
        for row, point in enumerate(batch.to_dicts())
    )
    assert sorted(map(values, read(DeltaTable(table.path)))) == expected
    maintain(table)
    found = DeltaTable(table.path)
    assert len(found.file_uris()) == len(SYMBOLS) - 2 + 8  # "null" and "~" keep their four
    assert sorted(map(values, read(found))) == expected


def test_newest_revision_is_told_by_acceptance_whatever_arrives_last(table: AnalyticsEngineDestination):
    point = make_point(open=1.0, high=9.0, low=1.0, close=1.0)

    def revisions(*closes: float) -> PointBatch:
        return PointBatch.of([point.revised(close=close) for close in closes])

    table.write_batch(accepted(revisions(4.0, 5.0), 1_700_000_000_000_002))
    table.write_batch(accepted(revisions(2.0), 1_700_000_000_000_001))  # a late retry
    table.write_batch(accepted(make_batch(3, ["ETH/USD"]), 1_700_000_000_000_003))
    for _ in range(2):
        files = DeltaTable(table.path).file_uris()
        by_query = duckdb.execute(NEWEST, {"files": files}).pl()
        by_frame = (
            pl.read_delta(str(table.path))
            .sort("acceptance_number", "acceptance_row")
            .unique(IDENTITY, keep="last")
        )
        for newest in (by_query, by_frame):
            assert len(newest) == 4
            assert newest.filter(pl.col("symbol") == point.symbol)["close"].to_list() == [5.0]
        maintain(table)


def test_indicators_are_read_back_as_a_map(table: AnalyticsEngineDestination):
    table.write(make_point(technical_indicators={"rsi": 66.3, "sma": 1.5}))
    query = "select technical_indicators['rsi'] from read_parquet($files)"
    assert duckdb.execute(query, {"files": DeltaTable(table.path).file_uris()}).fetchall() == [(66.3,)]
    (row,) = by_polars(DeltaTable(table.path))
    assert row["technical_indicators"] == {"rsi": 66.3, "sma": 1.5}


def test_statistics_let_a_reader_skip_files(table: AnalyticsEngineDestination):
    for number, chunk in enumerate(make_batch(40).chunks(10), 1):
        table.write_batch(accepted(chunk, number))
    added = pl.DataFrame(DeltaTable(table.path).get_add_actions(flatten=True))
    assert sorted(added["max.acceptance_number"]) == [1, 2, 3, 4]
    assert added["min.timestamp"].n_unique() == 4


def test_table_without_the_columns_of_a_revision_is_taken_once_they_are_added(tmp_path: Path):
    table = AnalyticsEngineDestination(tmp_path / "ours", [])
    table.write_batch(make_batch(4))
    old = DeltaTable(table.path).to_pyarrow_table().drop_columns(["acceptance_number", "acceptance_row"])
    write_deltalake(tmp_path / "old", old)
    with pytest.raises(ConfigError, match="acceptance_number"):
        AnalyticsEngineDestination(tmp_path / "old", []).open()
    long = PrimitiveType("long")
    columns = [Field("acceptance_number", long), Field("acceptance_row", long)]
    DeltaTable(tmp_path / "old").alter.add_columns(columns)
    taken = AnalyticsEngineDestination(tmp_path / "old", [])
    taken.write_batch(make_batch(2, ["ETH/USD"]))
    maintain(taken)
    taken.close()
    table.close()
    assert pl.read_delta(str(tmp_path / "old"))["acceptance_number"].null_count() == 4


def test_policy_of_the_table_is_that_of_a_route_that_names_none(tmp_path: Path):
    def policy(route: dict[str, Any], **options: Any) -> tuple[int | None, float | None]:
        table = AnalyticsEngineDestination(tmp_path, **options)
        made = Route(route_id="bars", condition="close > 0", destination=table, **route)
        return made.batch_size, made.batch_timeout

    assert policy({}) == (10_000, 60)
    assert policy({"batch_size": 50_000, "batch_timeout": 5}) == (50_000, 5)
    assert policy({}, batch_size=20_000, flush_interval=10) == (20_000, 10)
    assert policy({}, batch_size=None) == (None, None)
    with pytest.raises(ConfigError, match="batch_size"):
        AnalyticsEngineDestination(tmp_path, batch_size=0)
