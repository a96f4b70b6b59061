from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from destinations import ArrowFileDestination, CSVDestination, FeatherDestination, ParquetDestination
from destinations.dataset import DatasetDestination
from router.errors import ConfigError, TerminalError, UnavailableError
from router.route import Route
from router.table import RouteTable
from tests.contract.reading import data_files, read_dataset, rows_of, scan_part
from tests.make import make_batch, make_point

Make = Callable[..., DatasetDestination]
KINDS = [ParquetDestination, ArrowFileDestination, FeatherDestination]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[DatasetDestination] = []

    def make_dataset(
        kind: type[DatasetDestination] = ParquetDestination, **options: Any
    ) -> DatasetDestination:
        made.append(kind(tmp_path / "bars", **{"durability": "process"} | options))  # type: ignore[call-arg]
        return made[-1]

    yield make_dataset
    for dataset in made:
        dataset.close()


def folders(dataset: DatasetDestination) -> list[str]:
    return sorted({str(file.parent.relative_to(dataset.path)) for file in data_files(dataset.path)})


# -- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"compression": "zip"}, "enum", "'zip' is not one of zstd"),
        ({"compression": "ZSTD"}, "enum", "'ZSTD' is not one of zstd"),
        ({"durability": "none"}, "enum", "'none' is not power or process"),
        ({"target_file_size": 0}, "range", "0 is not a whole number from 1 up"),
        ({"target_file_size": 1.5}, "range", "1.5 is not"),
        ({"target_file_size": True}, "range", "True is not"),
        ({"target_file_size": "128MB"}, "range", "'128MB' is not"),
        ({"partition_by": ["symbl"]}, "partition.field", "did you mean 'symbol'"),
        ({"partition_by": ["close"]}, "partition.field", "'close' is not one of symbol, timeframe"),
        ({"partition_by": [3]}, "partition.field", "3 is not one of"),
        ({"partition_by": ["date", "date"]}, "partition.repeated", "names a column twice"),
    ],
)
def test_dataset_refuses_what_it_cannot_do(make: Make, kind, options, code: str, message: str):
    with pytest.raises(ConfigError, match=message) as refusal:
        make(kind, **options)
    assert refusal.value.code == code
    assert refusal.value.where == next(iter(options))


@pytest.mark.parametrize(
    "options",
    [
        {"compression_level": 23},
        {"compression_level": 0},
        {"compression": "gzip", "compression_level": 10},
        {"compression": "snappy", "compression_level": 1},
        {"compression": None, "compression_level": 1},
        {"row_group_size": 0},
    ],
)
def test_parquet_refuses_levels_and_sizes_that_are_none(make: Make, options):
    with pytest.raises(ConfigError) as refusal:
        make(**options)
    assert refusal.value.code == "range"


@pytest.mark.parametrize("path", ["/", "a\0b"])
def test_dataset_needs_a_folder_of_its_own(path: str):
    with pytest.raises(ConfigError, match="path"):
        ParquetDestination(path)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "none", None])
def test_parquet_is_compressed_as_it_was_asked_to(make: Make, compression):
    dataset, batch = make(compression=compression), make_batch(50)
    dataset.write_batch(batch)
    (file,) = data_files(dataset.path)
    codec = pq.read_metadata(file).row_group(0).column(0).compression
    assert codec == {None: "UNCOMPRESSED", "none": "UNCOMPRESSED"}.get(compression, str(compression).upper())
    assert read_dataset(dataset.path) == rows_of(batch)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("compression", ["zstd", "lz4", "none", None])
def test_arrow_is_compressed_as_it_was_asked_to(make: Make, kind, compression):
    dataset, batch = make(kind, compression=compression), make_batch(500)
    dataset.write_batch(batch)
    (file,) = data_files(dataset.path)
    assert (file.stat().st_size > 500 * 6 * 8) is (compression in (None, "none"))
    assert read_dataset(dataset.path) == rows_of(batch)


def test_parquet_keeps_statistics_of_every_row_group(make: Make):
    dataset = make(row_group_size=20)
    dataset.write_batch(make_batch(50))
    (file,) = data_files(dataset.path)
    found = pq.read_metadata(file)
    assert [found.row_group(n).num_rows for n in range(found.num_row_groups)] == [20, 20, 10]
    assert found.row_group(1).column(0).statistics.min == make_batch(50)[20].timestamp


# -- folders and files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ((), ["."]),
        ("timeframe", ["timeframe=1m"]),
        (["timeframe", "symbol"], ["timeframe=1m/symbol=BTC%2FUSDT", "timeframe=1m/symbol=ETH%2FUSDT"]),
        (["date", "asset_class"], ["date=2024-01-01/asset_class=crypto"]),
        (["source", "month"], ["source=exchange-a/month=2024-01"]),
    ],
)
def test_dataset_names_folders_after_the_columns_it_is_partitioned_by(make: Make, by, expected):
    dataset = make(partition_by=by)
    dataset.write_batch(make_batch(4, ["BTC/USDT", "ETH/USDT"]))
    assert folders(dataset) == expected


def test_dataset_takes_the_day_and_the_year_in_utc(make: Make):
    dataset = make(partition_by=("year", "date"))
    for moment in (datetime(2023, 12, 31, 23, 59, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)):
        dataset.write(make_point(timestamp=moment))
    assert folders(dataset) == ["year=2023/date=2023-12-31", "year=2024/date=2024-01-01"]


def test_dataset_gives_the_rows_of_a_batch_to_their_folders_in_their_order(make: Make):
    dataset, batch = make(partition_by=["symbol"]), make_batch(9, ["A", "B", "C"])
    dataset.write_batch(batch)
    assert read_dataset(dataset.path) == sorted(rows_of(batch), key=lambda row: row.symbol)


def test_dataset_splits_a_write_that_is_larger_than_its_files_should_be(make: Make):
    dataset, batch = make(target_file_size=50_000, compression=None), make_batch(3000)
    dataset.write_batch(batch)
    files = data_files(dataset.path)
    assert len(files) > 2
    assert max(file.stat().st_size for file in files) < 52_000
    assert read_dataset(dataset.path) == rows_of(batch)


def test_dataset_never_splits_a_row(make: Make):
    dataset, batch = make(target_file_size=1), make_batch(3)
    dataset.write_batch(batch)
    assert [file.rows for file in dataset.ledger.files()] == [1, 1, 1]
    assert read_dataset(dataset.path) == rows_of(batch)


def test_dataset_makes_one_commit_of_the_writes_of_a_task(make: Make):
    dataset, batch = make(), make_batch(30)
    with dataset.together():
        for chunk in batch.chunks(7):
            dataset.write_batch(chunk)
    assert [file.rows for file in dataset.ledger.files()] == [30]


def test_dataset_refuses_only_rows_whose_folder_no_reader_could_read(make: Make):
    dataset = make(partition_by=["symbol"])
    longest = "漢" * 82
    batch = make_batch(4, [longest, "漢" * 83, "__HIVE_DEFAULT_PARTITION__", "BTC"])
    with dataset.together(), pytest.raises(TerminalError, match="symbol: too long") as refusal:
        dataset.write_batch(batch)
    assert refusal.value.rows == (1, 2)
    assert scan_part(dataset.path).collect()["symbol"].sort().to_list() == ["BTC", longest]


def test_dataset_takes_long_names_that_name_no_folder(make: Make):
    dataset, batch = make(), make_batch(2, ["漢" * 128])
    dataset.write_batch(batch)
    assert read_dataset(dataset.path) == rows_of(batch)


# -- whose folder it is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ({"partition_by": ["symbol"]}, "begun as"),
        ({"kind": ArrowFileDestination}, "begun as"),
    ],
)
def test_dataset_is_never_of_two_kinds(make: Make, later, message: str):
    make().write_batch(make_batch(1))
    with pytest.raises(ConfigError, match=message) as refusal:
        make(**later).open()
    assert refusal.value.code == "dataset.layout"


@pytest.mark.parametrize("other", ["bars", "bars/csv"])
def test_routes_that_write_other_files_into_a_dataset_are_refused(tmp_path: Path, make: Make, other: str):
    routes = [
        Route(route_id="dataset", condition="close > 0", destination=make()),
        Route(route_id="csv", condition="close > 0", destination=CSVDestination(tmp_path / other)),
    ]
    for pair in (routes, routes[::-1]):
        with pytest.raises(ConfigError, match="give both routes one destination") as refusal:
            RouteTable(pair)
        assert refusal.value.code == "destination.shared_place"


def test_dataset_is_known_by_its_folder_however_that_is_called(tmp_path: Path, make: Make):
    batch = make_batch(3)
    make().write_batch(batch)
    (tmp_path / "link").symlink_to("bars")
    other = ParquetDestination(tmp_path / "link", durability="process")
    other.write_batch(batch)
    other.close()
    assert read_dataset(tmp_path / "bars") == rows_of(batch)


def test_dataset_that_was_removed_is_not_begun_anew_unasked(make: Make):
    dataset, batch = make(), make_batch(3)
    dataset.write_batch(batch)
    (file,) = data_files(dataset.path)
    file.unlink()
    dataset.close()
    with pytest.raises(UnavailableError, match=r"none of the 1 files.*\.bars\.candlefleet as well"):
        dataset.open()


def test_dataset_goes_on_when_old_files_were_removed(make: Make):
    dataset, batch = make(), make_batch(4)
    dataset.write_batch(batch.slice(0, 2))
    old = data_files(dataset.path)
    dataset.write_batch(batch)
    old[0].unlink()
    dataset.close()
    dataset.write_batch(batch)
    assert read_dataset(dataset.path) == rows_of(batch)[2:]
    assert dataset.on_record("everything") == 4
