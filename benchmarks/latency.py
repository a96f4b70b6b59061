"""Seconds from `send` to written while small batches keep coming."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from ulid import ULID

from benchmarks import celery_peer, fleet
from benchmarks.bars import batches, json_points, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from destinations.records import Durability
from workers.producer import Producer

BATCH: Final = 5
BATCHES_PER_SECOND: Final = 200
WINDOW: Final = 10.0  #: seconds for which one p99 is taken, to see whether it grows
CELERY_POINTS: Final = 5_000
_PEER: Final = "one Celery task per point and delivery"


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure both durabilities, and the peer at the same points/s until its 5,000 points are through."""
    seconds = 10 if quick else 60
    say(f"latency: {_PEER}, {BATCH * BATCHES_PER_SECOND} points/s")
    celery = _celery()
    for durability in ("process", "power"):
        say(f"latency: {BATCHES_PER_SECOND} batches/s for {seconds} s, durability {durability}")
        yield from _figures(durability, _paced(durability, seconds), celery)


class Paced(NamedTuple):
    """By batch, in seconds since the start: when it was due, accepted, and written."""

    due: list[float]
    accepted: list[float]
    written: list[float]


def _paced(durability: Durability, seconds: int) -> Paced:
    bars = make_bars(BATCH * BATCHES_PER_SECOND * seconds)
    lists = [list(batch) for batch in batches(bars, BATCH)]  # points, as a feed hands them over
    with fleet.running(durability, timed=True) as bench, Producer(bench.fleet.url) as producer:
        due: dict[str, float] = {}
        accepted: list[float] = []
        began = time.monotonic()
        for number, points in enumerate(lists):
            at = began + number / BATCHES_PER_SECOND
            time.sleep(max(0.0, at - time.monotonic()))
            batch_id = str(ULID())
            due[batch_id] = at  # not when it was sent: a sender that falls behind must not hide it
            producer.send_batch(points, batch_id=batch_id)
            accepted.append(time.monotonic() - began)
        bench.rest()
        bench.check(len(bars), 0)
        written = last_written(bench.written.read_text().splitlines())
    return Paced([at - began for at in due.values()], accepted, [written[name] - began for name in due])


def last_written(lines: Iterable[str]) -> dict[str, float]:
    """Return when the last row of each batch was written, from the notes of the timed destination."""
    written: dict[str, float] = {}
    for at, batch_ids in map(json.loads, lines):
        written.update(dict.fromkeys(batch_ids, at))
    return written


def windows(sent: Sequence[float], waits: Sequence[float], width: float = WINDOW) -> list[float]:
    """Return the 99th percentile of the waits of each window in which their batches were due, in order."""
    window = (np.asarray(sent) // width).astype(int)
    return [float(np.percentile(np.asarray(waits)[window == number], 99)) for number in np.unique(window)]


def _celery() -> list[float]:
    points = json_points(make_bars(CELERY_POINTS))
    with celery_peer.running(points[:40]) as peer:
        return peer.seconds(points, BATCH * BATCHES_PER_SECOND)


def _figures(durability: Durability, paced: Paced, celery: Sequence[float]) -> Iterator[Figure]:
    due, accepted, written = map(np.asarray, paced)
    p50, p99 = np.percentile(written - due, [50, 99])
    celery_p50, celery_p99 = np.percentile(celery, [50, 99])
    load, kind = "1,000 points/s in batches of 5", f"durability {durability}"
    yield _figure(f"{load}: p50 from send to written, {kind}", p50, celery_p50)
    yield _figure(f"{load}: p99 from send to written, {kind}", p99, celery_p99, Goal(150, "figure"))
    for part, waits in (("due to accepted", accepted - due), ("accepted to written", written - accepted)):
        yield _figure(f"of it, p99 from {part}, {kind}", np.percentile(waits, 99))
    for number, window in enumerate(windows(paced.due, written - due), 1):
        yield _figure(f"p99 of 10 s, number {number}, {kind}", window)
    yield Figure(
        case="latency", what=f"batches accepted, {BATCHES_PER_SECOND}/s asked, {kind}", unit="batches/s",
        runs=[len(accepted) / float(accepted[-1])], goal=Goal(0.98 * BATCHES_PER_SECOND, "figure"),
    )  # fmt: skip


def _figure(what: str, seconds: float, peer: float | None = None, goal: Goal | None = None) -> Figure:
    return Figure(
        case="latency", what=what, unit="ms", runs=[1000 * float(seconds)],
        peer="" if peer is None else f"{_PEER}, 5 s of it",
        peer_runs=[] if peer is None else [1000 * float(peer)],
        goal=goal, less_is_better=True, headline=goal is not None,
    )  # fmt: skip
