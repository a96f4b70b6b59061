"""Write in child processes that are killed at one of their system calls, and say which left wrong bytes.

A script of its own: its process starts no threads before it forks, so that every child costs
milliseconds. It prints one JSON object.
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

from destinations import CSVDestination
from tests.contract.reading import snapshot
from tests.make import as_batch, make_batch, make_frame

CALLS = ("open", "pwrite", "ftruncate", "fsync", "mkdir", "close")
PATTERN = "{source}/{symbol}_{date}.csv"

OPTIONS: dict[str, dict[str, Any]] = {
    "power": {},
    "process": {"durability": "process"},
    "gzip": {"durability": "process", "compression": "gzip"},
}

_killed_at = functools.partial(os.kill, os.getpid)


def write_old(root: Path, options: dict[str, Any]) -> None:
    """Write what was there before the crash."""
    write(root, options, "old", 6, "exchange-a")


def write_new(root: Path, options: dict[str, Any]) -> None:
    """Write, for the second time or the first, what the crash may have torn: an old file grows, two are new."""
    destination = CSVDestination(root, PATTERN, **options)
    destination.open()
    frame = make_frame(9, ["BTC/USDT", "ETH/USDT", "A_B"])
    destination.write_batch(as_batch(frame, batch_id="new"))
    destination.close()


def write(root: Path, options: dict[str, Any], batch_id: str, rows: int, source: str) -> None:
    destination = CSVDestination(root, PATTERN, **options)
    destination.open()
    destination.write_batch(make_batch(rows, batch_id=batch_id, source=source))
    destination.close()


def in_child(work: Callable[[], None]) -> int:
    """Return the exit status of a child that did some work, negative if a signal ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(fatal: int, *, torn: bool) -> None:
    """Make this process kill itself before its fatal-th call, or in the middle of it if it is a write."""
    count = itertools.count(1)

    def step(in_the_middle: Callable[[], object]) -> None:
        if next(count) == fatal:
            if torn:
                in_the_middle()
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            step(lambda: real(args[0], args[1][: len(args[1]) // 2], args[2]) if name == "pwrite" else None)
            return real(*args, **kwargs)

        return call

    class Watched(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            step(lambda: None)
            return super().execute(*args)

        def executemany(self, *args: Any) -> sqlite3.Cursor:
            step(lambda: None)
            return super().executemany(*args)

    for name in CALLS:
        setattr(os, name, watched(name))
    sqlite3.connect = functools.partial(sqlite3.connect, factory=Watched)  # type: ignore[assignment]


def kills(root: Path, kind: str) -> dict[str, Any]:
    """Kill a writer once at each of its calls, then twice at random ones, and let a last one finish."""
    options = OPTIONS[kind]
    in_child(lambda: write_old(root / "old", options))
    shutil.copytree(root / "old", root / "expected")
    in_child(lambda: write_new(root / "expected", options))
    expected = snapshot(root / "expected")
    wrong: list[Any] = []

    def survives(plan: list[tuple[int, bool]]) -> bool:
        scene = root / "scene"
        shutil.rmtree(scene, ignore_errors=True)
        shutil.copytree(root / "old", scene)
        killed = [in_child(lambda step=step: (die_at(step[0], torn=step[1]), write_new(scene, options))) for step in plan]  # type: ignore[misc]
        if in_child(lambda: write_new(scene, options)) or snapshot(scene) != expected:
            wrong.append(plan)
        return any(killed)

    points = 0
    for torn in (False, True):
        for point in itertools.count(1):
            if not survives([(point, torn)]):
                break
            points = max(points, point)
    chance = random.Random(kind)
    for _ in range(20):
        survives([(chance.randint(1, points), chance.random() < 0.5) for _ in range(2)])
    return {"points": points, "wrong": wrong, "files": len(expected)}
