"""Commit in child processes that are killed at one of their steps, and say which left wrong bytes.

A script of its own. Points are columns in its own memory before it forks, and its children only ever
use the ledger: Polars and its threads do not survive a fork. It prints one JSON object.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from destinations.files import FileWrite
from destinations.ledger import Ledger
from tests.contract.reading import snapshot
from tests.make import make_batch

CALLS = ("open", "pwrite", "ftruncate", "fsync", "mkdir", "close")

#: The new batch makes one old file grow and begins two.
BATCHES = {"old": make_batch(4, batch_id="old"), "new": make_batch(9, batch_id="new")}
WRITES = {
    "old": [FileWrite("btc.csv", "btc", 4, b"old line\n" * 4)],
    "new": [
        FileWrite("btc.csv", "btc", 3, b"new line of btc\n" * 3),
        FileWrite("eth.csv", "eth", 4, b"new line of eth\n" * 4),
        FileWrite("folder/inner/sol.csv", "sol", 2, b"new line of sol\n" * 2),
    ],
}


def commit(root: Path, durability: Any, batch: str) -> dict[str, int]:
    """Commit a batch as one process does: open, commit, close; return the recorded length of every file."""
    ledger = Ledger(root, header=b"header\n", durability=durability)
    ledger.open()
    ledger.commit(BATCHES[batch], lambda _: WRITES[batch])
    lengths = {file.name: file.bytes for file in ledger.files()}
    ledger.close()
    return lengths


def in_child(*work: Callable[[], object]) -> int:
    """Return the exit status of a child that did some work; negative: the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            for step in work:
                step()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(fatal: int) -> None:
    """Make this process kill itself at the fatal-th of its steps: before a call, or in mid-write."""
    steps = itertools.count(1)

    def step(unfinished: Callable[[], object] | None = None) -> None:
        if next(steps) == fatal:
            if unfinished is not None:
                unfinished()
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            step()
            if real is pwrite:
                fd, data, offset = args
                step(lambda: pwrite(fd, data[: len(data) // 2], offset))
            return real(*args, **kwargs)

        return call

    class WatchedConnection(sqlite3.Connection):
        execute = watched(sqlite3.Connection.execute)
        executemany = watched(sqlite3.Connection.executemany)

    pwrite = os.pwrite
    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))
    sqlite3.connect = functools.partial(sqlite3.connect, factory=WatchedConnection)  # type: ignore[assignment]


def kills(root: Path, durability: str) -> dict[str, Any]:
    """Kill a writer at each of its steps, then two in a row at random ones; each time another finishes."""
    old, expected, scene = root / "old", root / "expected", root / "scene"
    commit(old, durability, "old")
    shutil.copytree(old, expected)
    commit(expected, durability, "new")
    files = snapshot(expected)
    wrong: list[list[int]] = []

    def killed(plan: list[int]) -> bool:
        shutil.rmtree(scene, ignore_errors=True)
        shutil.copytree(old, scene)
        write = functools.partial(commit, scene, durability, "new")
        ends = [in_child(functools.partial(die_at, step), write) for step in plan]
        recorded = write()
        if snapshot(scene) != files or recorded != {name: len(data) for name, data in files.items()}:
            wrong.append(plan)
        return any(end == -signal.SIGKILL for end in ends)

    steps = next(step for step in itertools.count(1) if not killed([step]))
    chance = random.Random(durability)
    for _ in range(20):
        killed([chance.randint(1, steps), chance.randint(1, steps)])
    return {"steps": steps, "wrong": wrong, "files": sorted(files)}


if __name__ == "__main__":
    print(json.dumps(kills(Path(sys.argv[1]), sys.argv[2])))
