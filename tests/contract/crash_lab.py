"""Act in child processes that are killed at one of their steps, and say which left wrong bytes.

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

import destinations.root
from tests.contract.scenes import SCENES

CALLS = ("open", "pwrite", "ftruncate", "fsync", "mkdir", "rename", "link", "unlink", "rmdir", "close")


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
    destinations.root.swap_names = watched(destinations.root.swap_names)  # type: ignore[misc]
    sqlite3.connect = functools.partial(sqlite3.connect, factory=WatchedConnection)  # type: ignore[assignment]


def kills(root: Path, name: str, durability: str) -> dict[str, Any]:
    """Kill an actor at each of its steps, then two in a row at random ones; each time another finishes."""
    scene = SCENES[name]
    old, expected, stage = root / "old", root / "expected", root / "stage"
    scene.begin(old, durability)
    shutil.copytree(old, expected)
    scene.act(expected, durability)
    before, after = scene.look(old), scene.look(expected)
    wrong: list[list[int]] = []
    seen: list[list[int]] = []

    def killed(plan: list[int]) -> bool:
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(old, stage)
        act = functools.partial(scene.act, stage, durability)
        ends = []
        for step in plan:
            ends.append(in_child(functools.partial(die_at, step), act))
            if not scene.may_be_seen(before, scene.look(stage), after):
                seen.append(plan)
        act()
        if scene.look(stage) != after or scene.recorded(stage) != scene.recorded(expected):
            wrong.append(plan)
        return any(end == -signal.SIGKILL for end in ends)

    steps = next(step for step in itertools.count(1) if not killed([step]))
    chance = random.Random(durability)
    for _ in range(20):
        killed([chance.randint(1, steps), chance.randint(1, steps)])
    return {"steps": steps, "wrong": wrong, "seen": seen, "files": sorted({file for file, _ in after})}


if __name__ == "__main__":
    print(json.dumps(kills(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
