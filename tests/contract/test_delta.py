"""A Delta table through kills, through two writers at once, and found in a folder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from destinations import AnalyticsEngineDestination
from destinations.delta_files import DeltaFiles
from router.errors import ConfigError
from tests.contract.reading import read_delta, rows_of
from tests.make import make_batch

REPOSITORY = Path(__file__).parents[2]


def start(root: Path, batches: int, step: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.contract.delta_writer", str(root), str(batches), step]
    return subprocess.Popen(command, cwd=REPOSITORY)


@pytest.mark.parametrize("step", ["adding", "before_commit", "after_commit"])
def test_table_holds_every_row_once_when_its_writer_is_killed(tmp_path: Path, step: str):
    assert start(tmp_path, 1, step).wait() == -signal.SIGKILL
    assert start(tmp_path, 1, "none").wait() == 0
    rows = read_delta(tmp_path)
    assert len(rows) == len(set(rows)) == 10


def test_table_holds_every_row_once_when_two_processes_write_the_same(tmp_path: Path):
    writers = [start(tmp_path, 5, "none") for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = read_delta(tmp_path)
    assert len(rows) == len(set(rows)) == 50


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
    DeltaTable(tmp_path).create_checkpoint()
    (checkpoint,) = (tmp_path / "_delta_log").glob("*.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    destination.open()
    assert len(read_delta(tmp_path)) == 5


def test_table_is_read_by_any_engine(tmp_path: Path):
    AnalyticsEngineDestination(tmp_path).write_batch(make_batch(4))
    protocol = DeltaTable(tmp_path).protocol()
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
