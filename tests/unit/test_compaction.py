from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ulid import ULID

from destinations import ParquetDestination, compaction
from destinations.compaction import compact, merge, planned
from destinations.maintenance import plan
from destinations.records import FileTally
from router.batch import PointBatch
from router.errors import TransientError
from tests.contract.reading import data_files, read_dataset, row_of, rows_of
from tests.make import START, make_batch, make_point


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[ParquetDestination]:
    made = ParquetDestination(tmp_path / "bars", durability="process")
    yield made
    made.close()


def write_in(parts: int, dataset: ParquetDestination, batch: PointBatch) -> None:
    rows = len(batch) // parts
    for start in range(0, len(batch), rows):
        dataset.write_batch(batch.slice(start, start + rows))


def tallies(**sizes: int) -> list[FileTally]:
    return [FileTally(name.replace("__", "/"), 1, size) for name, size in sizes.items()]


def planned_names(target: int, **sizes: int) -> list[str]:
    return [" ".join(file.name for file in one.files) for one in plan(tallies(**sizes), target)]


def test_plan_takes_neighbours_that_fit_into_one_file():
    assert planned_names(100, a=40, b=40, c=40, d=10) == ["a b", "c d"]


def test_plan_leaves_large_files_and_what_has_no_neighbour():
    assert planned_names(100, a=49, b=50, c=49, d=200) == []


def test_plan_merges_nothing_over_a_file_that_lies_between():
    assert planned_names(100, a=1, b=99, c=1, d=1) == ["c d"]


def test_plan_keeps_folders_apart():
    assert planned_names(100, x__a=1, x__b=1, x__y__a=1, x__y__b=1, z__a=1) == ["x/a x/b", "x/y/a x/y/b"]


def test_compact_leaves_the_same_rows_in_one_file(dataset: ParquetDestination):
    batch = make_batch(60, ["BTC/USDT", "ETH/USDT"])
    write_in(6, dataset, batch)
    (merged,) = compact(dataset)
    (file,) = merged.files
    assert (len(merged.merge.files), file.rows) == (6, 60)
    assert read_dataset(dataset.path) == sorted(rows_of(batch), key=lambda row: (row.symbol, row.timestamp))


def test_compact_twice_does_nothing_the_second_time(dataset: ParquetDestination):
    write_in(10, dataset, make_batch(100))
    list(compact(dataset))
    files = data_files(dataset.path)
    assert list(compact(dataset)) == []
    assert data_files(dataset.path) == files


def test_compact_stops_at_the_size_that_files_should_have(tmp_path: Path):
    dataset = ParquetDestination(tmp_path / "bars", durability="process", target_file_size=20_000)
    batch = make_batch(6000)
    write_in(30, dataset, batch)
    before = len(data_files(dataset.path))
    list(compact(dataset))
    sizes = [file.stat().st_size for file in data_files(dataset.path)]
    dataset.close()
    assert before > 2 * len(sizes) > 2
    assert max(sizes) < 22_000
    assert sorted(read_dataset(tmp_path / "bars")) == sorted(rows_of(batch))


def test_compact_keeps_revisions_of_a_point_in_the_order_they_came(dataset: ParquetDestination):
    for close in (3.0, 1.0, 2.0):
        dataset.write(make_point(open=1.0, high=3.0, low=1.0, close=close))
        dataset.write(make_point(timestamp=START - timedelta(days=1)))
    list(compact(dataset))
    assert [row.close for row in read_dataset(dataset.path) if row.timestamp == START.isoformat()] == [
        3,
        1,
        2,
    ]


def test_compact_changes_nothing_of_what_the_ledger_knows(dataset: ParquetDestination):
    batch = make_batch(20)
    write_in(4, dataset, batch)
    list(compact(dataset))
    dataset.write_batch(batch)
    assert sorted(read_dataset(dataset.path)) == sorted(rows_of(batch))
    assert dataset.on_record("everything") == 20


def test_compact_tells_what_it_cannot_read_and_goes_on(dataset: ParquetDestination):
    for timeframe in ("1m", "1h"):
        write_in(2, dataset, make_batch(2, timeframe=timeframe))
    spoilt = data_files(dataset.path)[0]
    spoilt.write_bytes(b"x" * spoilt.stat().st_size)
    found = list(compact(dataset))
    assert [len(one.files) for one in found] == [0, 1]
    assert "cannot be read as parquet" in found[0].error
    assert len(data_files(dataset.path)) == 3


def test_compact_tells_what_somebody_removed_and_goes_on(dataset: ParquetDestination):
    write_in(3, dataset, make_batch(3))
    data_files(dataset.path)[1].unlink()
    assert [one.files for one in compact(dataset)] == [()]
    assert len(data_files(dataset.path)) == 2


def test_compact_does_not_call_failed_what_another_merged_meanwhile(dataset: ParquetDestination):
    for timeframe in ("1m", "1h", "1d"):
        write_in(2, dataset, make_batch(2, timeframe=timeframe))
    compacting = compact(dataset)
    assert next(compacting).files
    assert len(list(compact(ParquetDestination(dataset.path, durability="process")))) == 2
    assert list(compacting) == []
    assert len(data_files(dataset.path)) == 3


@pytest.mark.parametrize("spoil", ["row", "value"])
def test_merge_leaves_files_alone_if_a_row_would_change(dataset: ParquetDestination, monkeypatch, spoil: str):
    batch = make_batch(10)
    write_in(5, dataset, batch)
    real = compaction._sorted

    def spoilt(table):
        table = real(table)
        if spoil == "row":
            return table.slice(1)
        closes = table["close"].to_pylist()
        return table.set_column(4, table.schema.field("close"), [[closes[0] + 1e-9, *closes[1:]]])

    monkeypatch.setattr(compaction, "_sorted", spoilt)
    (one,) = planned(dataset)
    with pytest.raises(TransientError, match="changed their rows"):
        merge(dataset, one)
    assert sorted(read_dataset(dataset.path)) == sorted(rows_of(batch))


def test_compact_and_writers_at_once_leave_every_row_once(tmp_path: Path):
    def make() -> ParquetDestination:
        return ParquetDestination(tmp_path / "bars", durability="process")

    batches = [make_batch(40, source=f"exchange-{n}") for n in range(4)]

    def write(batch: PointBatch) -> None:
        dataset = make()
        for _ in range(2):
            write_in(20, dataset, batch)
        dataset.close()

    def maintain() -> None:
        dataset = make()
        for _ in range(15):
            assert [one.error for one in compact(dataset) if one.error] == []
        dataset.close()

    with ThreadPoolExecutor(5) as threads:
        for done in [threads.submit(maintain), *(threads.submit(write, batch) for batch in batches)]:
            done.result()
    expected = sorted(row_of(point) for batch in batches for point in batch)
    assert sorted(read_dataset(tmp_path / "bars")) == expected


def test_a_reader_never_sees_a_row_twice_or_misses_one_while_files_are_merged(tmp_path: Path):
    batch = make_batch(200)
    dataset = ParquetDestination(tmp_path / "bars", durability="process", target_file_size=30_000)
    seen = set()

    def read() -> None:
        with contextlib.suppress(FileNotFoundError):  # it was listed, and replaced before it was opened
            seen.add(pq.read_table(tmp_path / "bars").num_rows)

    with ThreadPoolExecutor(1) as threads:
        for _ in range(3):
            write_in(50, dataset, batch.accepted_as(str(ULID())))
            merging = threads.submit(lambda: list(compact(dataset)))
            while not merging.done():
                read()
            read()
    dataset.close()
    assert seen == {200, 400, 600}


def test_merged_files_have_statistics_that_tell_symbols_apart(tmp_path: Path):
    dataset = ParquetDestination(tmp_path / "bars", durability="process", row_group_size=50)
    write_in(10, dataset, make_batch(100, ["AAPL", "MSFT"]))
    list(compact(dataset))
    dataset.close()
    (file,) = data_files(tmp_path / "bars")
    groups = [pq.read_metadata(file).row_group(n) for n in range(2)]
    column = groups[0].to_dict()["columns"]
    (at,) = [n for n, found in enumerate(column) if found["path_in_schema"] == "symbol"]
    assert [group.column(at).statistics.max for group in groups] == ["AAPL", "MSFT"]
