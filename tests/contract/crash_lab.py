"""Write in child processes that are killed at one of their system calls, and say which left wrong bytes.

A script of its own: its process starts no threads before it forks, so that a child costs milliseconds.
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
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from destinations import CSVDestination
from tests.contract.reading import read_csv, snapshot
from tests.make import make_batch

CALLS = ("open", "pwrite", "ftruncate", "fsync", "mkdir", "close")
PATTERN = "{source}/{symbol}_{date}.csv"
OPTIONS: dict[str, dict[str, Any]] = {
    "power": {},
    "process": {"durability": "process"},
    "gzip": {"durability": "process", "compression": "gzip"},
}


def write(root: Path, kind: str, batch_id: str, symbols: Sequence[str]) -> None:
    """Write nine bars as one process does: open, write, close."""
    destination = CSVDestination(root, PATTERN, **OPTIONS[kind])
    destination.open()
    destination.write_batch(make_batch(9, symbols, batch_id=batch_id))
    destination.close()


def write_old(root: Path, kind: str) -> None:
    """Write what is there before the crash."""
    write(root, kind, "old", ["BTC/USDT"])


def write_new(root: Path, kind: str) -> None:
    """Write what the crash tears: one file grows and two are new."""
    write(root, kind, "new", ["BTC/USDT", "ETH/USDT", "A_B"])


def in_child(*work: Callable[[], None]) -> int:
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
    """Make this process kill itself at the fatal-th of its steps: before a call, or in the middle of a write."""
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


def kills(root: Path, kind: str) -> dict[str, Any]:
    """Kill a writer at each of its steps, then two in a row at random ones; each time another finishes."""
    old, expected, scene = root / "old", root / "expected", root / "scene"
    in_child(lambda: write_old(old, kind))
    shutil.copytree(old, expected)
    in_child(lambda: write_new(expected, kind))
    wrong: list[list[int]] = []

    def killed(plan: list[int]) -> bool:
        shutil.rmtree(scene, ignore_errors=True)
        shutil.copytree(old, scene)
        ends = [in_child(functools.partial(die_at, at), lambda: write_new(scene, kind)) for at in plan]
        finished = in_child(lambda: write_new(scene, kind))
        if finished != 0 or snapshot(scene) != snapshot(expected):
            wrong.append(plan)
        return any(end == -signal.SIGKILL for end in ends)

    steps = next(at for at in itertools.count(1) if not killed([at]))
    chance = random.Random(kind)
    for _ in range(20):
        killed([chance.randint(1, steps), chance.randint(1, steps)])
    return {"steps": steps, "wrong": wrong, "files": sorted(snapshot(expected))}


def race(root: Path, kind: str) -> dict[str, Any]:
    """Let three processes write the same batches, each in another order, and compare what is there."""
    orders = [list(range(12)), list(range(12))[::-1], [*range(6, 12), *range(6)]]

    def write_all(order: list[int]) -> None:
        destination = CSVDestination(root, PATTERN, **OPTIONS[kind])
        for number in order:
            destination.write_batch(make_race_batch(number))
        destination.close()

    writers = [os.fork() or os._exit(in_child(functools.partial(write_all, order))) for order in orders]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in writers]
    found = Counter(read_csv(root))
    return {"statuses": statuses, "rows": found.total(), "doubled": found.total() - len(found)}


def make_race_batch(number: int) -> Any:
    """Return one of the batches that are written in a race."""
    return make_batch(20, ["BTC/USDT", f"S{number}"], batch_id=f"batch-{number}", source=f"exchange-{number}")


if __name__ == "__main__":
    experiment = {"kills": kills, "race": race}[sys.argv[1]]
    print(json.dumps(experiment(Path(sys.argv[2]), sys.argv[3])))
