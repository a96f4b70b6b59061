"""A Delta table through kills, through two writers at once, and found in a folder."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable as Reader
from deltalake import Field, QueryBuilder, Schema, write_deltalake

from destinations import AnalyticsEngineDestination
from destinations.delta_files import DeltaFiles
from destinations.delta_table import DeltaTable
from router.batch import PointBatch
from router.errors import ConfigError, TerminalError, UnavailableError
from tests.contract.delta_writer import BATCHES, make_writers_batch
from tests.contract.reading import Row, read_delta, rows_of
from tests.make import START, make_batch, make_point

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def start(root: Path, route: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.contract.delta_writer", str(root), route]
    return subprocess.Popen(command, cwd=REPOSITORY)


def expected(*routes: str) -> list[Row]:
    return sorted(
        row for route in routes for n in range(BATCHES) for row in rows_of(make_writers_batch(n, route))
    )


def foreign_rows(folder: Path) -> pa.Table:
    """Return two rows as somebody else brings them, with the columns of a table."""
    AnalyticsEngineDestination(folder).write_batch(make_batch(2, source="foreign"))
    return pa.table(Reader(folder).to_pyarrow_table())


def test_table_holds_every_row_once_when_processes_write_the_same_and_others(tmp_path: Path):
    writers = [start(tmp_path, route) for route in ("one", "one", "two")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert sorted(read_delta(tmp_path)) == expected("one", "two")
    assert AnalyticsEngineDestination(tmp_path).on_record("one") == 10 * BATCHES


def test_table_holds_every_row_once_while_others_append_and_rewrite(tmp_path: Path):
    foreign, table, rows = foreign_rows(tmp_path / "other"), tmp_path / "table", 0
    AnalyticsEngineDestination(table).open()
    with start(table, "one") as writer:
        while writer.poll() is None:
            write_deltalake(table, foreign, mode="append")
            rows += len(foreign)
            Reader(table).optimize.compact()
    found = read_delta(table)
    assert writer.returncode == 0
    assert sorted(row for row in found if row.source != "foreign") == expected("one")
    assert len(found) == rows + 10 * BATCHES


def test_forked_child_says_how_to_start_it_and_loses_nothing(tmp_path: Path):
    destination, batch = AnalyticsEngineDestination(tmp_path), make_batch(4)
    destination.write_batch(batch.slice(0, 1))
    pid = os.fork()
    if pid == 0:
        try:
            destination.table.last("anyone")
        except UnavailableError as error:
            os._exit(7 if "spawn" in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    destination.write_batch(batch)
    assert sorted(read_delta(tmp_path)) == sorted(rows_of(batch))


def test_rows_that_no_folder_takes_are_named_and_the_others_written(tmp_path: Path):
    destination = AnalyticsEngineDestination(tmp_path, ["symbol"])
    with pytest.raises(TerminalError, match="too long to name a folder") as refusal:
        destination.write_batch(make_batch(4, ["€" * 128, "NULL"]))
    assert refusal.value.rows == (0, 2)
    assert [row.symbol for row in read_delta(tmp_path)] == ["NULL", "NULL"]


def set_back(table: Path) -> None:
    newest_entry(table).unlink()


def remove_log(table: Path) -> None:
    shutil.rmtree(table / "_delta_log")


def ask_for_more(table: Path) -> None:
    entry = min((table / "_delta_log").glob("*.json"))
    more = '"minWriterVersion":7,"writerFeatures":["unheardOf"]'
    entry.write_text(entry.read_text().replace('"minWriterVersion":2', more))


def make_a_rule(table: Path) -> None:
    Reader(table).alter.add_constraint({"cheap": "close < 99000"})


@pytest.mark.parametrize(
    ("spoil", "answer"),
    [
        (set_back, "Put its _delta_log back, or remove"),
        (remove_log, "is gone: put its _delta_log back"),
        (ask_for_more, "table features required.*mend the table"),
        (make_a_rule, r"delta\.constraints\.cheap.*mend the table"),
    ],
)
def test_table_that_is_not_what_it_was_waits_for_a_hand(tmp_path: Path, spoil, answer: str):
    table, kept = tmp_path / "table", tmp_path / "kept"
    destination, batch = AnalyticsEngineDestination(table), make_batch(4)
    destination.write_batch(batch.slice(0, 1))
    destination.write_batch(batch.slice(1, 2))
    shutil.copytree(table / "_delta_log", kept)
    spoil(table)
    for _ in range(2):
        with pytest.raises(UnavailableError, match=answer):
            destination.write_batch(batch)
    destination.close()

    shutil.rmtree(table / "_delta_log", ignore_errors=True)
    shutil.copytree(kept, table / "_delta_log")
    destination.write_batch(batch)

    assert sorted(read_delta(table)) == sorted(rows_of(batch))


@pytest.mark.parametrize(("owner", "step"), [(DeltaFiles, "add"), (DeltaTable, "commit")])
def test_full_disk_is_waited_for_and_costs_no_row(tmp_path: Path, monkeypatch, owner: type, step: str):
    destination, batch = AnalyticsEngineDestination(tmp_path), make_batch(200)
    destination.open()
    real = getattr(owner, step)

    def on_a_full_disk(*arguments: object) -> None:
        with limited_files(100):
            real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, on_a_full_disk)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="File too large"):
                destination.write_batch(batch)
    destination.write_batch(batch)
    assert sorted(read_delta(tmp_path)) == sorted(rows_of(batch))


def test_column_that_somebody_added_is_left_empty(tmp_path: Path):
    destination = AnalyticsEngineDestination(tmp_path)
    destination.write_batch(make_batch(1))
    Reader(tmp_path).alter.add_columns([Field("mine", "string")])
    destination.write_batch(make_batch(1))
    assert pl.read_delta(str(tmp_path))["mine"].to_list() == [None, None]


def test_statistics_let_a_reader_skip_no_row(tmp_path: Path):
    moments = [START + timedelta(microseconds=n) for n in (1, 999_999)]
    AnalyticsEngineDestination(tmp_path).write_batch(
        PointBatch.of([make_point(timestamp=m) for m in moments])
    )
    reader = QueryBuilder().register("bars", Reader(tmp_path))
    for moment in moments:
        wanted = f"timestamp = '{moment:%Y-%m-%dT%H:%M:%S.%f}Z' AND close = 42000.5"
        assert len(reader.execute(f"SELECT symbol FROM bars WHERE {wanted}").read_all()) == 1


def test_column_that_must_be_given_and_may_be_absent_is_refused(tmp_path: Path):
    AnalyticsEngineDestination(tmp_path / "like").open()
    schema = Reader(tmp_path / "like").schema()
    fields = [Field(f.name, f.type, nullable=f.name != "volume") for f in schema.fields]
    Reader.create(tmp_path / "strict", Schema(fields), partition_by=["timeframe", "year"])
    with pytest.raises(ConfigError, match=r"a rule that is not kept here, NOT NULL of volume"):
        AnalyticsEngineDestination(tmp_path / "strict").open()


def newest_entry(root: Path) -> Path:
    return max((root / "_delta_log").glob("*.json"))


class Cut(BaseException):
    """The machine is off."""


def cut_power(*_: object) -> None:
    raise Cut


@pytest.mark.parametrize("lines", [0, 1, 2, 2.5])
def test_commit_that_a_power_cut_tore_is_made_again(tmp_path: Path, monkeypatch, lines: float):
    batch = make_batch(10)
    destination = AnalyticsEngineDestination(tmp_path)
    destination.write_batch(batch.slice(0, 4))
    with monkeypatch.context() as patch:
        patch.setattr(DeltaFiles, "_sync_log", cut_power)
        with pytest.raises(Cut):
            destination.write_batch(batch)
    entry = newest_entry(tmp_path)
    whole = entry.read_bytes().splitlines(keepends=True)
    half = whole[int(lines)][:20] if lines % 1 else b""
    entry.write_bytes(b"".join(whole[: int(lines)]) + half)

    destination.open()
    destination.write_batch(batch)

    assert sorted(read_delta(tmp_path)) == sorted(rows_of(batch))
    assert newest_entry(tmp_path) == entry


def test_table_whose_making_a_power_cut_tore_is_made_again(tmp_path: Path):
    AnalyticsEngineDestination(tmp_path).open()
    newest_entry(tmp_path).write_bytes(b"")
    AnalyticsEngineDestination(tmp_path).write_batch(make_batch(3))
    assert len(read_delta(tmp_path)) == 3


def test_checkpoint_that_a_power_cut_tore_is_done_without(tmp_path: Path, monkeypatch):
    destination = AnalyticsEngineDestination(tmp_path)
    destination.write_batch(make_batch(3))
    with monkeypatch.context() as patch:
        patch.setattr(DeltaFiles, "_sync_log", cut_power)
        with pytest.raises(Cut):
            destination.write_batch(make_batch(2))
    Reader(tmp_path).create_checkpoint()
    (checkpoint,) = (tmp_path / "_delta_log").glob("*.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    destination.open()
    assert len(read_delta(tmp_path)) == 5


def test_table_is_read_by_any_engine(tmp_path: Path):
    AnalyticsEngineDestination(tmp_path).write_batch(make_batch(4))
    protocol = Reader(tmp_path).protocol()
    assert (protocol.min_reader_version, protocol.writer_features) == (1, None)
    assert len(pl.read_delta(str(tmp_path))) == 4


def test_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        AnalyticsEngineDestination(tmp_path).open()


def test_table_of_other_columns_is_refused_by_the_column(tmp_path: Path):
    write_deltalake(tmp_path, pl.DataFrame({"timestamp": ["noon"]}))
    with pytest.raises(ConfigError, match=r"column timestamp is .*string"):
        AnalyticsEngineDestination(tmp_path).open()


def test_table_of_other_partitions_is_refused(tmp_path: Path):
    AnalyticsEngineDestination(tmp_path, ["symbol"]).open()
    with pytest.raises(ConfigError, match="partitioned by"):
        AnalyticsEngineDestination(tmp_path, ["source"]).open()
