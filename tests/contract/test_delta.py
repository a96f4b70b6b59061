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
from router.errors import ConfigError
from tests.contract.reading import read_delta
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
