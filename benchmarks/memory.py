"""Bytes a waiting point takes in Redis, and the memory of the worker processes after a million points."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
import redis

from benchmarks import celery_peer, fleet
from benchmarks.bars import batches, json_points, make_bars, real_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.server import empty_redis
from workers.producer import Producer
from workers.report import report
from workers.store import Store

CELERY_POINTS: Final = 2_000
_MEGABYTE: Final = 1e6


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure Redis without workers, then the workers."""
    rows = 20_000 if quick else 100_000
    kinds = {
        "1m bars": make_bars(rows),
        "real daily bars": real_bars(),
        "1m bars of 17 random digits": make_bars(rows, full_mantissa=True),
    }
    say("memory: one Celery message per point")
    celery = celery_bytes(json_points(make_bars(CELERY_POINTS)))
    for name, bars in kinds.items():
        for size in (1_000, 10_000):
            say(f"memory: {name} waiting in batches of {size:,}")
            used, counted = waiting_bytes(bars, size)
            yield from _waiting(f"waiting point in Redis, {name}, batches of {size:,}", used, counted, celery)
    yield from _workers(200_000 if quick else 1_000_000)


def waiting_bytes(bars: pl.DataFrame, size: int) -> tuple[float, float]:
    """Return the bytes a point takes by Redis' own account, and by the counter that closes the door."""
    with empty_redis() as server, Producer(server.url) as producer:
        store = Store.connect(server.url)
        producer.send_batch(make_bars(10))  # the scripts and keys that are there once
        before, counted = _used(store.redis), report(store).bytes
        for batch in batches(bars, size):
            producer.send_batch(batch)
        used = _used(store.redis) - before
        return used / len(bars), (report(store).bytes - counted) / len(bars)


def celery_bytes(points: Sequence[dict[str, Any]]) -> float:
    """Return the bytes a point takes as a Celery message that waits in the same Redis."""
    with (
        empty_redis() as server,
        celery_peer.sender(server.url) as app,
        redis.Redis.from_url(server.url) as client,
    ):
        app.send_task("route_point", (points[0],))
        before = _used(client)
        for point in points:
            app.send_task("route_point", (point,))
        return (_used(client) - before) / len(points)


# Buffers for clients and for the append-only file come and go; the smallest of some looks is the data.
def _used(client: redis.Redis) -> int:
    looks = []
    for _ in range(5):
        time.sleep(0.3)
        looks.append(int(client.info("memory")["used_memory"]))
    return min(looks)


def _waiting(what: str, used: float, counted: float, celery: float) -> list[Figure]:
    return [
        Figure(
            case="memory", what=what, unit="bytes", runs=[used], peer="one Celery message per point",
            peer_runs=[celery], goal=Goal(60, "figure"), less_is_better=True,
            headline="real" in what and "10,000" in what,
        ),
        Figure(
            case="memory", what=f"{what}, by our own count", unit="bytes", runs=[counted],
            less_is_better=True,
        ),
    ]  # fmt: skip


def _workers(rows: int) -> list[Figure]:
    say(f"memory: worker processes after {rows:,} points through both routes")
    with fleet.running("power") as bench:
        bench.send(batches(make_bars(rows, mixed=True), 10_000))
        found = {member.name: member.process.pid for member in bench.fleet.members}
        peaks = {
            f"{name}, {kind}": peak
            for name, pid in found.items()
            for kind, process in (("parent", pid), *(("pool process", child) for child in children(pid)))
            if (peak := peak_bytes(process)) is not None
        }
    return [
        Figure(
            case="memory", what=f"peak resident memory of {name}", unit="MB", runs=[peak / _MEGABYTE],
            goal=Goal(300, "figure"), less_is_better=True,
        )
        for name, peak in peaks.items()
    ]  # fmt: skip


def children(pid: int) -> list[int]:
    """Return the ids of the processes a process started; none where there is no /proc."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def peak_bytes(pid: int) -> int | None:
    """Return the most resident memory a process ever had; None where there is no /proc."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return None
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024
