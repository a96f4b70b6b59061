"""Run the peer of one Celery task per point: its worker, its sender, and the count of what it wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from celery import Celery

from benchmarks.fleet import count_rows
from benchmarks.server import empty_redis, temporary_folder
from benchmarks.timing import environment
from workers.embedded import end_with_parent

LONGEST: Final = 20.0  #: seconds for which delays are watched
PATIENCE: Final = 90.0  #: seconds until a run that does not end counts as broken
_COMMAND: Final = (
    *(sys.executable, "-m", "celery", "-A", "benchmarks.celery_tasks", "worker", "-c", "2", "-l", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


@dataclass(frozen=True, slots=True)
class CeleryPeer:
    """A worker of two processes that is warm."""

    app: Celery
    out: Path

    def points_per_second(self, points: Sequence[dict[str, Any]], deliveries: int) -> float:
        """Send points, each a task, and return how many a second were written wherever they belong.

        It runs to its end: where it is cut short, tasks that are half done would count for nothing.

        Args:
            points: JSON types.
            deliveries: How many rows they make in all files.

        Raises:
            RuntimeError: It takes longer than `PATIENCE`.
        """
        before, began = self._rows(), time.perf_counter()
        for point in points:
            self.app.send_task("route_point", (point,))
        while self._rows() - before < deliveries:
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError(f"the Celery peer did not finish within {PATIENCE:g} s")
            time.sleep(0.05)
        return len(points) / (time.perf_counter() - began)

    def seconds(self, points: Sequence[dict[str, Any]], rate: float) -> list[float]:
        """Send points at a rate and return the seconds from when each was due to when it was in its CSV file.

        What is not written after `LONGEST` seconds counts as written then, which flatters this peer.
        """
        began = time.monotonic()
        for number, point in enumerate(points):
            due = began + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            self.app.send_task("route_point", ({**point, "sent": due},))
        while len(noted := self._noted()) < len(points) and time.monotonic() - began < LONGEST:
            time.sleep(0.1)
        missing = len(points) - len(noted)
        return noted + [LONGEST - number / rate for number in range(len(points) - missing, len(points))]

    def _noted(self) -> list[float]:
        path = self.out / "seconds.txt"
        return [float(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _rows(self) -> int:
        return count_rows(self.out / "csv") + count_rows(self.out / "jsonl")

    def warm_up(self, points: Sequence[dict[str, Any]]) -> None:
        """Have both processes write something."""
        ends = time.monotonic() + 60
        for point in points:
            self.app.send_task("route_point", (point,))
        while count_rows(self.out / "csv") < len(points):
            if time.monotonic() > ends:
                raise RuntimeError("the Celery worker wrote nothing within 60 s")
            time.sleep(0.05)
        time.sleep(0.5)  # deliveries of the other kind


@contextmanager
def running(warm: Sequence[dict[str, Any]]) -> Iterator[CeleryPeer]:
    """Start an embedded Redis and the worker; stop them and remove everything afterwards."""
    with temporary_folder() as out, empty_redis() as server, sender(server.url) as app:
        worker = _start(server.url, out)
        try:
            peer = CeleryPeer(app, out)
            peer.warm_up(warm)
            yield peer
        finally:
            _stop(worker)


@contextmanager
def sender(url: str) -> Iterator[Celery]:
    """Return an application that sends to a broker, and close it."""
    app = Celery("bench-sender", broker=url, set_as_current=False)
    app.conf.task_ignore_result = True
    try:
        yield app
    finally:
        app.close()


def _start(url: str, out: Path) -> subprocess.Popen[bytes]:
    with environment(BENCH_BROKER_URL=url, BENCH_OUT=out):
        return subprocess.Popen(
            _COMMAND,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )


# Quick, not warm: what is left in the queue is thrown away with it.
def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
