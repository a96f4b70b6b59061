"""Real processes, killed or at odds: the files end up byte for byte as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.race_writer import BATCHES, ORDERS, make_race_batch
from tests.contract.reading import read_csv, rows_of

REPOSITORY = Path(__file__).parents[2]


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.contract.{script}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


FILES = {
    "append": ["btc/a.csv", "eth.csv", "folder/inner/sol.csv"],
    "parts": [".", "btc", "folder/inner"],
    "swap": [".", "btc", "folder/inner"],
}


@pytest.mark.parametrize("scene", FILES)
def test_ledger_killed_at_every_step_leaves_exact_bytes_after_the_retry(folder: Path, scene: str):
    with start("crash_lab", folder, scene, "power") as lab:
        found = json.loads(lab.communicate()[0])
    assert found["files"] == FILES[scene]
    assert found["steps"] > 40
    assert found["wrong"] == []
    assert found["seen"] == []


def test_table_killed_at_every_step_and_in_mid_commit_holds_every_row_once(folder: Path):
    with start("delta_lab", folder) as lab:
        found = json.loads(lab.communicate()[0])
    assert found["steps"] > 60
    assert found["early"] > 0
    assert found["wrong"] == []


def test_files_hold_every_row_once_when_two_processes_write_them(folder: Path):
    writers = [start("race_writer", folder, order) for order in range(len(ORDERS))]
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        writer.communicate()
    expected = [row for number in range(BATCHES) for row in rows_of(make_race_batch(number))]
    assert sorted(read_csv(folder)) == sorted(expected)
