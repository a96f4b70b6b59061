"""A Delta table is kept up: small files merged and old ones removed, beside writers, through kills."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.table import TableOptimizer

from destinations import AnalyticsEngineDestination, delta_maintenance
from destinations.maintenance import Maintenance, Merged
from router.batch import PointBatch
from router.errors import UnavailableError
from tests.acceptance.fleet_fixture import until
from tests.contract.reading import Row, data_files, read_delta, rows_of
from tests.make import make_batch

SYMBOLS = ["BTC/USD", 'it\'s "q"', "贵州=茅台", "a b%2F&", "nil.", "000700", "*?[x]"]


@pytest.fixture
def table(tmp_path: Path) -> Iterator[AnalyticsEngineDestination]:
    made = AnalyticsEngineDestination(tmp_path / "bars")
    yield made
    made.close()


def write_in(parts: int, destination: AnalyticsEngineDestination, batch: PointBatch) -> None:
    for chunk in batch.chunks(len(batch) // parts):
        destination.write_batch(chunk)


def upkeep(destination: AnalyticsEngineDestination) -> Maintenance:
    work = destination.maintenance()
    assert work.begun()
    return work


def merge(destination: AnalyticsEngineDestination) -> list[Merged]:
    return list(upkeep(destination).merges())


def rows_in(destination: AnalyticsEngineDestination) -> list[Row]:
    return sorted(read_delta(destination.path))


def keep_replaced_files_for(interval: str, destination: AnalyticsEngineDestination) -> None:
    properties = {"delta.deletedFileRetentionDuration": f"interval {interval}"}
    DeltaTable(destination.path).alter.set_table_properties(properties)


def test_merging_leaves_the_same_rows_in_one_file(table: AnalyticsEngineDestination):
    batch = make_batch(60, ["BTC/USDT", "ETH/USDT"])
    write_in(6, table, batch)
    (planned,) = upkeep(table).planned()
    (merged,) = merge(table)
    assert (merged.error, merged.merge) == ("", planned)
    assert (planned.folder, len(planned.files), planned.rows) == ("timeframe=1m/year=2024", 6, 60)
    assert [file.rows for file in merged.files] == [60]
    assert len(DeltaTable(table.path).file_uris()) == 1
    assert rows_in(table) == sorted(rows_of(batch))


@pytest.mark.parametrize("by", [["symbol", "date"], ["month", "source"], []])
def test_merging_finds_every_folder_whatever_it_is_called(tmp_path: Path, by: list[str]):
    table = AnalyticsEngineDestination(tmp_path, by)
    batch = make_batch(42, SYMBOLS, source='it\'s = 50% & "更"')
    write_in(3, table, batch)
    merged = merge(table)
    table.close()
    assert [one.error for one in merged] == [""] * (len(SYMBOLS) if "symbol" in by else 1)
    assert len(DeltaTable(tmp_path).file_uris()) == len(merged)
    assert rows_in(table) == sorted(rows_of(batch))


def test_merging_twice_does_nothing_the_second_time(table: AnalyticsEngineDestination):
    write_in(10, table, make_batch(100))
    merge(table)
    version = DeltaTable(table.path).version()
    assert merge(table) == []
    assert upkeep(table).remove_unlisted(dry_run=False) == []
    assert DeltaTable(table.path).version() == version


def test_merging_stops_at_the_size_that_files_should_have(tmp_path: Path):
    table = AnalyticsEngineDestination(tmp_path, target_file_size=60_000)
    batch = make_batch(6000)
    write_in(20, table, batch)
    merge(table)
    table.close()
    assert 1 < len(DeltaTable(tmp_path).file_uris()) < 10
    assert rows_in(table) == sorted(rows_of(batch))


class Killed(BaseException):
    """The writer is gone."""


def test_rows_whose_writer_was_killed_are_known_after_merge_vacuum_checkpoint_and_cleanup(
    table: AnalyticsEngineDestination, monkeypatch: pytest.MonkeyPatch
):
    batch, commit = make_batch(30), table.table.commit

    def commit_and_die(*arguments: Any) -> None:
        commit(*arguments)
        raise Killed

    write_in(3, table, batch.slice(0, 20))
    monkeypatch.setattr(table.table, "commit", commit_and_die)
    with pytest.raises(Killed):
        table.write_batch(batch)
    table.close()
    lake = DeltaTable(table.path)
    lake.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    lake.optimize.compact()
    lake.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    lake.create_checkpoint()
    lake.cleanup_metadata()
    assert not (table.path / "_delta_log" / f"{0:020}.json").exists()
    again = AnalyticsEngineDestination(table.path)
    again.write_batch(batch)
    again.close()
    assert rows_in(again) == sorted(rows_of(batch))


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def merge_and_die(path: Path, step: str) -> None:
    """Merge in a process that ends when a commit is made, or is ended by somebody else."""
    if step == "after_commit":
        delta_maintenance._exchanges = die  # type: ignore[assignment]
    merge(AnalyticsEngineDestination(path))


@pytest.mark.parametrize("step", ["while_writing", "after_commit"])
def test_a_merge_that_is_killed_leaves_every_row_once(table: AnalyticsEngineDestination, step: str):
    batch = make_batch(20_000)
    write_in(4, table, batch)
    table.close()
    process = get_context("spawn").Process(target=merge_and_die, args=(table.path, step))
    process.start()
    if step == "while_writing":
        until(lambda: len(data_files(table.path / "timeframe=1m")) > 4, "a new file", every=0.001)
        process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert rows_in(table) == sorted(rows_of(batch))
    merge(table)
    write_in(2, table, batch)
    assert rows_in(table) == sorted(rows_of(batch))
    assert len(DeltaTable(table.path).file_uris()) == 1


def test_two_that_merge_at_once_double_nothing(table: AnalyticsEngineDestination):
    batch = make_batch(4000)
    write_in(20, table, batch)
    others = [AnalyticsEngineDestination(table.path) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        merged = list(threads.map(merge, others))
    assert sum(map(len, merged)) == 1
    assert rows_in(table) == sorted(rows_of(batch))


def test_merging_tells_that_another_program_merged_the_same_files(
    table: AnalyticsEngineDestination, monkeypatch: pytest.MonkeyPatch
):
    batch = make_batch(40)
    write_in(4, table, batch)
    real = TableOptimizer.compact

    def too_late(optimizer: TableOptimizer, *arguments: Any, **options: Any) -> dict[str, Any]:
        real(DeltaTable(table.path).optimize)
        return real(optimizer, *arguments, **options)

    monkeypatch.setattr(TableOptimizer, "compact", too_late)
    _, doubled = merge(table)
    assert "changed its rows" in doubled.error
    DeltaTable(table.path).restore(int(doubled.error.rpartition("(")[2].rstrip(")")))
    assert rows_in(table) == sorted(rows_of(batch))


def test_merging_removing_and_writing_at_once_leave_every_row_once(table: AnalyticsEngineDestination):
    table.open()
    keep_replaced_files_for("0 seconds", table)
    merged = Event()

    def write(source: str) -> list[PointBatch]:
        writer, written = AnalyticsEngineDestination(table.path), []
        while not merged.is_set():
            written.append(make_batch(20, source=source, batch_id=f"{source}-{len(written)}"))
            write_in(2, writer, written[-1])
            write_in(4, writer, written[-1])
        writer.close()
        return written

    def maintain() -> list[Merged]:
        found: list[Merged] = []
        try:
            while len(found) < 4:
                found += merge(table)
                upkeep(table).remove_unlisted(dry_run=False)
        finally:
            merged.set()
        return found

    with ThreadPoolExecutor(3) as threads:
        merging = threads.submit(maintain)
        batches = [batch for written in threads.map(write, ["one", "two"]) for batch in written]
    assert [one.error for one in merging.result()] == [""] * 4
    assert rows_in(table) == sorted(row for batch in batches for row in rows_of(batch))


def test_a_reader_of_an_older_version_keeps_its_files(table: AnalyticsEngineDestination):
    write_in(5, table, make_batch(50))
    reader = DeltaTable(table.path)
    merge(table)
    assert upkeep(table).remove_unlisted(dry_run=False) == []
    assert reader.to_pyarrow_table().num_rows == 50


def test_files_are_removed_when_the_tables_own_retention_is_over(table: AnalyticsEngineDestination):
    batch = make_batch(50)
    write_in(5, table, batch)
    merge(table)
    keep_replaced_files_for("30 days", table)
    leftover = table.path / "timeframe=1m" / "year=2024" / "part-of-a-killed-writer.parquet"
    leftover.write_bytes(b"half")
    os.utime(leftover, (time.time() - timedelta(days=8).total_seconds(),) * 2)
    assert upkeep(table).remove_unlisted(dry_run=False) == []
    keep_replaced_files_for("0 seconds", table)
    told = upkeep(table).remove_unlisted(dry_run=True)
    assert len(data_files(table.path / "timeframe=1m")) == 7
    assert upkeep(table).remove_unlisted(dry_run=False) == told
    assert len(told) == 6
    assert len(data_files(table.path / "timeframe=1m")) == 1
    table.write_batch(batch)
    assert rows_in(table) == sorted(rows_of(batch))


@pytest.mark.parametrize("harm", ["removed", "spoilt"])
def test_merging_tells_what_it_cannot_read_and_goes_on(table: AnalyticsEngineDestination, harm: str):
    for timeframe in ("1m", "1h"):
        write_in(2, table, make_batch(4, timeframe=timeframe))
    file = data_files(table.path / "timeframe=1m")[0]
    file.unlink() if harm == "removed" else file.write_bytes(b"x" * file.stat().st_size)
    found = {one.merge.folder.partition("/")[0]: one for one in merge(table)}
    assert file.name in found["timeframe=1m"].error
    assert len(found["timeframe=1h"].files) == 1


def test_table_of_another_host_is_left_alone(table: AnalyticsEngineDestination, monkeypatch):
    write_in(2, table, make_batch(4))
    table.close()
    monkeypatch.setattr("destinations.records.this_host", lambda: "elsewhere 0123")
    with pytest.raises(UnavailableError, match="belongs to the host"):
        upkeep(AnalyticsEngineDestination(table.path))


def test_what_was_never_written_is_not_begun(tmp_path: Path):
    assert not AnalyticsEngineDestination(tmp_path / "bars").maintenance().begun()
    assert not (tmp_path / "bars").exists()
