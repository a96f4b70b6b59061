"""Points a second from one Python loop around `send`, until all are acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from benchmarks import celery_peer, fleet
from benchmarks.bars import json_points, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.server import empty_redis
from benchmarks.timing import in_fresh_process
from router.batch import PointBatch
from router.points import NormalizedDataPoint
from workers.producer import Producer

CELERY_POINTS: Final = 3_000
WARM_ROWS: Final = 10  #: sent before the clock runs


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure ready points, points made in the loop, and ready points while a fleet is at work."""
    rows, rounds = (50_000, 1) if quick else (200_000, 2)
    ready, made, celery = [], [], []
    for number in range(1, rounds + 1):
        say(f"producer: round {number} of {rounds}")
        with empty_redis() as server:
            celery.append(in_fresh_process(celery_rate, server.url))
            ready.append(in_fresh_process(send_rate, server.url, rows, construct=False))
            made.append(in_fresh_process(send_rate, server.url, rows // 2, construct=True))
    yield _figure("send(point) in a loop, acknowledged", ready, celery, Goal(50_000, "figure"), headline=True)
    yield _figure("send(NormalizedDataPoint(...)) in a loop, acknowledged", made, celery)
    say("producer: with a fleet that delivers at the same time")
    with fleet.running("power") as bench:
        busy = [in_fresh_process(send_rate, bench.fleet.url, rows, construct=False)]
        bench.rest()
        bench.check(rows + WARM_ROWS, 0)
    yield _figure("send(point) while the fleet delivers on the same cores", busy, celery)


def send_rate(url: str, rows: int, *, construct: bool) -> float:
    """Return the points/s of a loop around `send`, from the first call until the last point is safe."""
    batch = PointBatch(make_bars(rows))
    values = batch.to_dicts() if construct else []
    made: Iterable[NormalizedDataPoint] = (
        (NormalizedDataPoint(**fields) for fields in values) if construct else list(batch)
    )
    with Producer(url) as producer:
        producer.send_batch(batch.slice(0, WARM_ROWS))
        before, began = producer.acknowledged, time.perf_counter()
        for point in made:
            producer.send(point)
        acknowledged = producer.flush() - before
        seconds = time.perf_counter() - began
    if acknowledged != rows:
        raise RuntimeError(f"{acknowledged} points of {rows} were acknowledged")
    return rows / seconds


def celery_rate(url: str) -> float:
    """Return the messages/s of a loop around `send_task`, one for each point."""
    points: list[dict[str, Any]] = json_points(make_bars(CELERY_POINTS))
    with celery_peer.sender(url) as app:
        app.send_task("route_point", (points[0],))
        began = time.perf_counter()
        for point in points:
            app.send_task("route_point", (point,))
        return len(points) / (time.perf_counter() - began)


def _figure(
    what: str, ours: list[float], celery: list[float], goal: Goal | None = None, *, headline: bool = False
) -> Figure:
    return Figure(
        case="producer", what=what, unit="points/s", runs=ours, peer="one Celery task per point, sent",
        peer_runs=celery, goal=goal, headline=headline,
    )  # fmt: skip
