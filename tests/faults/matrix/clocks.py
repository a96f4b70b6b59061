"""Clocks that jump by an hour, and back again, under the workers or under Redis."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.fault import Fault
from tests.faults.matrix.brokers import redis_pid
from tests.faults.scene import Scene, send_signal

#: Debian's and Ubuntu's package `faketime`, on any processor.
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("libfaketimeMT.so.1"))
JUMPS = ("+3600", "+0", "-3600", "+0")  #: seconds; each lasts a moment


def _environment(clock: Path) -> dict[str, str]:
    clock.write_text("+0\n")
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def _worker_clock(scene: Scene) -> Path:
    return scene.folder / "clock-of-workers"


def _redis_clock(scene: Scene) -> Path:
    return scene.folder / "clock-of-redis"


@contextlib.contextmanager
def staff_by_a_clock(scene: Scene) -> Iterator[None]:
    """Let every worker, Beat and the producer read the time from a clock that can be set."""
    scene.restaff(**_environment(_worker_clock(scene)))
    yield
    _worker_clock(scene).write_text("+0\n")


@contextlib.contextmanager
def redis_by_a_clock(scene: Scene) -> Iterator[None]:
    """Let Redis read the time from a clock that can be set."""
    scene.redis_environment = _environment(_redis_clock(scene))
    send_signal(redis_pid(scene), signal.SIGKILL)
    scene.rest(0.2)
    scene.redis_is_back()
    yield
    _redis_clock(scene).write_text("+0\n")


def _jump(scene: Scene, clock: Path, turn: int) -> str:
    jump = JUMPS[turn % len(JUMPS)]
    clock.write_text(f"{jump}\n")
    scene.rest(1.5)
    return f"{jump} s"


def of_workers(scene: Scene, turn: int) -> str:
    """Set the clock of the workers."""
    return _jump(scene, _worker_clock(scene), turn)


def of_redis(scene: Scene, turn: int) -> str:
    """Set the clock of Redis."""
    return _jump(scene, _redis_clock(scene), turn)


FAULTS = (
    Fault("clock of the workers: one hour on, back", of_workers, around=staff_by_a_clock, needs="faketime"),
    Fault("clock of Redis: one hour on, back", of_redis, around=redis_by_a_clock, needs="faketime"),
)
