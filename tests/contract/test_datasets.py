"""What a dataset holds is what Polars, DuckDB and pandas read back: every value, of the same type."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from destinations import ArrowFileDestination, FeatherDestination, ParquetDestination
from destinations.compaction import compact, planned
from destinations.dataset import DatasetDestination
from router.batch import PointBatch
from router.schema import COLUMNS, FRAME_SCHEMA
from tests.contract.reading import data_files, scan_part
from tests.make import as_batch, make_frame

#: Names that are read back as others, or as no name, where somebody was careless.
SYMBOLS = ("BTC/USD", "^GSPC", "贵州茅台 A", "a%2Fb", "x=y&z", "~.b", 'it\'s "q"', "émigré", "NULL", "0700")
NUMBERS = (0.1 + 0.2, 1e-7, 392.35000000000002, 4.35e15, 1e22, 123456789.12345679, 5e-324)
INDICATORS = (None, {}, {"rsi": 55.5, "größe/日": -0.1})
PARTITIONS = [
    (),
    ("timeframe", "year"),
    ("timeframe", "symbol"),
    ("asset_class", "source", "date"),
    ("month",),
]
KINDS = [ParquetDestination, ArrowFileDestination, FeatherDestination]


def make_odd_batch() -> PointBatch:
    """Return points that a format could get wrong, over three years."""
    frame = make_frame(120, SYMBOLS)
    row = pl.int_range(pl.len())
    numbers = pl.Series(NUMBERS, dtype=pl.Float64).gather([n % len(NUMBERS) for n in range(120)])
    return as_batch(
        frame.with_columns(
            timestamp=pl.lit(datetime(2023, 12, 31, 23, 59, 59, 999_999, UTC)) + row * pl.duration(days=6),
            **dict.fromkeys(("open", "high", "low", "close"), numbers),
            volume=pl.when(row % 3 == 0).then(None).when(row % 3 == 1).then(0.0).otherwise(numbers),
            source=pl.when(row % 2 == 0).then(pl.lit("kraken")).otherwise(pl.lit("交易所/a")),
            is_realtime=row % 2 == 0,
            technical_indicators=pl.Series(
                [INDICATORS[n % 3] for n in range(120)], dtype=FRAME_SCHEMA["technical_indicators"]
            ),
        )
    )


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(COLUMNS).sort("timestamp")


@pytest.fixture
def batch() -> PointBatch:
    return make_odd_batch()


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, batch: PointBatch) -> Write:
    """Write the batch in three parts, merge them if that is wanted, and return the dataset's folder."""

    def written(kind: type[DatasetDestination], *, merged: bool = False, **options: object) -> Path:
        destination = kind(tmp_path / "lake" / "bars", **{"durability": "process"} | options)  # type: ignore[call-arg]
        for start in range(0, len(batch), 50):
            destination.write_batch(batch.slice(start, start + 50))
        if merged:
            assert all(one.files for one in compact(destination))
            assert planned(destination) == []
        destination.close()
        return destination.path

    return written


@pytest.mark.parametrize("merged", [False, True], ids=["as_written", "merged"])
@pytest.mark.parametrize("by", PARTITIONS, ids=",".join)
@pytest.mark.parametrize("kind", KINDS)
def test_polars_reads_every_value_back(write: Write, batch: PointBatch, kind, by, merged: bool):
    path = write(kind, partition_by=by, merged=merged)
    found = in_order(scan_part(path).collect())
    assert found.schema == FRAME_SCHEMA
    assert found.equals(in_order(batch.frame))


@pytest.mark.parametrize("merged", [False, True], ids=["as_written", "merged"])
@pytest.mark.parametrize("by", PARTITIONS, ids=",".join)
def test_duckdb_reads_every_value_back(write: Write, batch: PointBatch, by, merged: bool):
    path = write(ParquetDestination, partition_by=by, merged=merged)
    rows = duckdb.sql(f"from read_parquet('{path}/**/*.parquet', hive_partitioning = true)")
    kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
    assert {name: kinds[name] for name in COLUMNS} == {
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        **dict.fromkeys(("open", "high", "low", "close", "volume", "data_quality_score"), "DOUBLE"),
        **dict.fromkeys(("symbol", "asset_class", "timeframe", "source"), "VARCHAR"),
        "is_realtime": "BOOLEAN",
        "technical_indicators": "MAP(VARCHAR, DOUBLE)",
    }
    assert in_order(rows.pl().cast(dict(FRAME_SCHEMA))).equals(in_order(batch.frame))


@pytest.mark.parametrize("kind", KINDS)
def test_pandas_reads_every_value_back(write: Write, batch: PointBatch, kind):
    path = write(kind, partition_by=("timeframe", "symbol"))
    found = (
        pd.read_parquet(path)
        if kind is ParquetDestination
        else ds.dataset(path, format="ipc", partitioning="hive").to_table().to_pandas()
    ).sort_values("timestamp")
    expected = in_order(batch.frame)
    assert str(found["timestamp"].dtype) == "datetime64[us, UTC]"
    assert found["timestamp"].tolist() == expected["timestamp"].to_list()
    for name in ("open", "close", "data_quality_score", "is_realtime", "symbol", "timeframe", "source"):
        assert found[name].tolist() == expected[name].to_list()
    assert [None if pd.isna(v) else v for v in found["volume"]] == expected["volume"].to_list()
    indicators = [None if row is None else dict(row) for row in found["technical_indicators"]]
    assert indicators == expected["technical_indicators"].to_list()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_duckdb_reads_arrow_files_through_a_dataset(write: Write, batch: PointBatch, kind):
    bars = ds.dataset(write(kind), format="ipc", partitioning="hive")
    assert bars.count_rows() == len(batch)
    (total,) = duckdb.sql("select count(distinct symbol) from bars").fetchone() or ()
    assert total == len(SYMBOLS)


def test_pandas_reads_one_feather_file(write: Write, batch: PointBatch):
    path = write(FeatherDestination, partition_by=(), merged=True)
    (file,) = data_files(path)
    found = pd.read_feather(file)
    assert sorted(found["close"]) == sorted(batch.frame["close"])
    assert set(found["symbol"]) == set(SYMBOLS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_finds_nothing_but_data_under_the_folder(write: Write, kind):
    path = write(kind)
    assert {file.suffix for file in path.rglob("*") if file.is_file()} == {f".{kind.format}"}


def test_the_documented_query_gives_the_newest_of_every_point(tmp_path: Path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "destinations" / "datasets.md").read_text()
    query = page.partition("```sql\n")[2].partition("```")[0]
    bars = ParquetDestination(tmp_path / "lake" / "bars", durability="process")
    for close in (3.0, 1.0, 2.0):
        bars.write_batch(as_batch(make_frame(3, open=1.0, high=3.0, low=1.0, close=close)))
    monkeypatch.chdir(tmp_path)
    assert duckdb.sql(query).pl()["close"].to_list() == [2.0] * 3
    list(compact(bars))
    bars.close()
    assert duckdb.sql(query).pl()["close"].to_list() == [2.0] * 3


@pytest.mark.parametrize("name", ["symbol", "source"])
def test_names_that_look_like_numbers_are_text_where_they_are_not_in_folders(tmp_path: Path, name: str):
    destination = ParquetDestination(tmp_path / "bars", durability="process")
    destination.write_batch(as_batch(make_frame(3).with_columns(pl.lit("000700").alias(name))))
    destination.close()
    assert scan_part(tmp_path / "bars").collect()[name].to_list() == ["000700"] * 3
