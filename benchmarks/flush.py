"""Seconds from the last write of a flush of many parts until the flush is closed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.bars import make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.server import temporary_folder
from benchmarks.timing import environment
from router.batch import PointBatch
from workers.producer import Producer
from workers.settings import Settings
from workers.store import PREFIX, Store
from workers.supervisor import Fleet

ROUTES: Final = Path(__file__).with_name("flush_routes.py")
PARTS: Final = 32
PART_ROWS: Final = 10_000
PATIENCE: Final = 60.0  #: seconds until a flush that is not closed counts as lost


def run(*, quick: bool) -> Iterator[Figure]:
    """Send as many points as a flush may hold, a few times."""
    rounds = 2 if quick else 5
    with temporary_folder() as folder:
        written = folder / "written.jsonl"
        settings = Settings(dir=folder / "fleet", routes=ROUTES, broker_url=None)
        say("flush: starting a fleet")
        with environment(BENCH_WRITTEN=written), Fleet(settings, flower=False) as fleet:
            store, batch = fleet.start(), PointBatch(make_bars(PARTS * PART_ROWS))
            waits = [_wait(fleet.url, store, written, batch) for _ in range(rounds)]
    what = f"a flush of {PARTS} parts of {PART_ROWS:,} points: last write to closed"
    yield _figure(f"{what}, in the middle", median(waits))
    yield _figure(f"{what}, the longest of {rounds}", max(waits), Goal(1.0, "figure"))


def _wait(url: str, store: Store, written: Path, batch: PointBatch) -> float:
    written.write_text("")
    with Producer(url) as producer:
        producer.send_batch(batch)
    ends, lines = time.monotonic() + PATIENCE, 0
    while lines < PARTS or store.redis.exists(f"{PREFIX}flushes:notes"):
        lines = written.read_text().count("\n")
        if time.monotonic() > ends:
            raise RuntimeError(f"not closed after {PATIENCE:g} s, {lines} writes")
        time.sleep(0.005)
    closed = time.monotonic()
    notes = [json.loads(line) for line in written.read_text().splitlines()]
    if [rows for _, rows in notes] != [PART_ROWS] * PARTS:
        raise RuntimeError(f"these are not {PARTS} parts of {PART_ROWS}: {notes}")
    return closed - max(at for at, _ in notes)


def _figure(what: str, seconds: float, goal: Goal | None = None) -> Figure:
    return Figure(case="flush", what=what, unit="s", runs=[seconds], goal=goal, less_is_better=True)
