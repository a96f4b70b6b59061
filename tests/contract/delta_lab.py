"""Write into a Delta table in child processes that are killed, and say which left wrong rows.

A script of its own. It makes points and files before it forks and reads them itself, and its children only
ever use ledger and table: Polars does not survive a fork, nor does the Delta library, which it never uses.
It prints one JSON object.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import polars as pl

from destinations import AnalyticsEngineDestination
from destinations.delta_table import DeltaTable
from tests.contract.killed import die_at, in_child
from tests.make import make_batch

#: Kills at a random moment of a commit, by the library's threads as well as by ours.
MOMENTS = 25
KEY = ["source", "symbol", "timestamp"]


BATCHES = {
    name: make_batch(9, ["BTC/USDT", "ETH/USDT"], batch_id=name, source=name) for name in ("old", "new")
}
WRITES = {name: AnalyticsEngineDestination("nowhere")._writes(batch) for name, batch in BATCHES.items()}


def write(root: Path, name: str) -> None:
    """Write a batch as one process does: open, write, close."""
    ledger = AnalyticsEngineDestination(root).ledger
    ledger.open()
    ledger.commit(BATCHES[name], lambda _: WRITES[name])
    ledger.close()


def list_files(root: Path, listed: Path) -> None:
    """Write down which files the table lists, and how many rows are recorded."""
    recorded = AnalyticsEngineDestination(root).on_record("everything")
    listed.write_text(json.dumps([recorded, deltalake.DeltaTable(root).file_uris()]))


def is_exact(listed: Path) -> bool:
    """Return whether the files listed hold each row of both batches once, and as many are recorded."""
    recorded, files = json.loads(listed.read_text())
    rows = [row for file in files for row in pl.read_parquet(file, columns=KEY).iter_rows()]
    expected = [row for batch in BATCHES.values() for row in batch.frame.select(KEY).iter_rows()]
    return sorted(rows) == sorted(expected) and recorded == len(rows)


def tell_of_commits(pipe: int) -> None:
    """Let this process write a byte as it begins to commit, and another once it did."""
    real = DeltaTable.commit

    def commit(self: DeltaTable, *arguments: Any) -> None:
        os.write(pipe, b"b")
        real(self, *arguments)
        os.write(pipe, b"e")

    DeltaTable.commit = commit  # type: ignore[method-assign]


def ends_early(root: Path, after: float) -> bool:
    """Kill a writer so many seconds after it began to commit; return whether it was still at it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        tell_of_commits(writer)
        write(root, "new")
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    told = os.read(reader, 1)
    os.close(reader)
    return told == b""


def kills(root: Path) -> dict[str, Any]:
    """Kill a writer at each of its steps, and at moments of its commit; each time another finishes."""
    old, stage, listed = root / "old", root / "stage", root / "listed.json"
    assert in_child(functools.partial(write, old, "old")) == 0
    finish = [functools.partial(write, stage, "new"), functools.partial(list_files, stage, listed)]
    wrong: list[object] = []

    def survives(kill: Callable[[], Any], what: object) -> Any:
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(old, stage)
        found = kill()
        if in_child(*finish) != 0 or not is_exact(listed):
            wrong.append(what)
        return found

    def killed(step: int) -> bool:
        work = (functools.partial(die_at, step), functools.partial(write, stage, "new"))
        end: int = survives(functools.partial(in_child, *work), step)
        return end == -signal.SIGKILL

    steps = next(step for step in itertools.count(1) if not killed(step))
    chance = random.Random(19)
    moments = [chance.uniform(0, 0.02) for _ in range(MOMENTS)]
    early = sum(survives(functools.partial(ends_early, stage, after), after) for after in moments)
    return {"steps": steps, "wrong": wrong, "early": early}


if __name__ == "__main__":
    print(json.dumps(kills(Path(sys.argv[1]))))
