"""Act in a child process that kills itself at one of its steps."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sqlite3
import traceback
from collections.abc import Callable
from typing import Any

import destinations.root

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
