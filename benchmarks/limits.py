"""How near a route comes to its rate_limit while there is work, and what its fullest second holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from benchmarks.bars import make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.server import temporary_folder
from benchmarks.timing import environment
from router.batch import PointBatch
from workers.producer import Producer
from workers.settings import Settings
from workers.supervisor import Fleet

ROUTES: Final = Path(__file__).with_name("limit_routes.py")
LIMITS: Final = (50, 500, 5_000, 50_000)  #: points a second
PATIENCE: Final = 60.0  #: seconds beyond the planned ones until points count as lost


class Write(NamedTuple):
    """A write: when, and how many rows."""

    at: float  #: seconds
    rows: int


def run(*, quick: bool) -> Iterator[Figure]:
    """Give every route work for so many seconds, all at once."""
    seconds = 10 if quick else 30
    with temporary_folder() as folder:
        settings = Settings(dir=folder / "fleet", routes=ROUTES, broker_url=None, door=False)
        say("limits: starting a fleet")
        with (
            environment(BENCH_OUT=folder, BENCH_LIMITS=json.dumps(LIMITS)),
            Fleet(settings, flower=False) as fleet,
        ):
            fleet.start()
            with Producer(fleet.url) as producer:
                for limit in LIMITS:
                    bars = make_bars(limit * seconds).with_columns(symbol=pl.lit(f"L{limit}"))
                    producer.send_batch(PointBatch(bars))
            say(f"limits: {seconds} s of work for each of {len(LIMITS)} routes")
            written = {limit: _written(folder, limit, limit * seconds, seconds) for limit in LIMITS}
    for limit, writes in written.items():
        yield Figure(
            case="limits", what="rate while there is work", unit="points/s", runs=[rate(writes)],
            peer="its rate_limit", peer_runs=[limit], goal=Goal(0.9, "ratio"),
        )  # fmt: skip
    for limit, writes in written.items():
        yield Figure(
            case="limits", what=f"fullest second at {limit:,} a second", unit="points",
            runs=[fullest_second(writes)], peer="1.1 x the limit and a second's part",
            peer_runs=[2.1 * limit], goal=Goal(1.0, "ratio"), less_is_better=True,
        )  # fmt: skip


def _written(folder: Path, limit: int, points: int, seconds: int) -> list[Write]:
    path, ends = folder / f"limited_{limit}.jsonl", time.monotonic() + seconds + PATIENCE
    while True:
        text = path.read_text() if path.exists() else ""
        writes = [Write(*json.loads(line)) for line in text.splitlines()]
        found = sum(write.rows for write in writes)
        if found == points and text.endswith("\n"):
            return writes
        if found > points or time.monotonic() > ends:
            raise RuntimeError(f"limited_{limit}: {found:,} points of {points:,} were written")
        time.sleep(0.2)


def rate(writes: Sequence[Write]) -> float:
    """Return the points a second from the first write to the last, which is not counted."""
    return sum(write.rows for write in writes[:-1]) / (writes[-1].at - writes[0].at)


def fullest_second(writes: Sequence[Write]) -> int:
    """Return the most points that any second holds, wherever it begins."""
    most, held, first = 0, 0, 0
    for write in writes:
        held += write.rows
        while writes[first].at <= write.at - 1:
            held -= writes[first].rows
            first += 1
        most = max(most, held)
    return most
