"""From the first send to all rows written and settled, through two routes into files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import polars as pl

from benchmarks import celery_peer, fleet, script_peer
from benchmarks.bars import batches, json_points, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.server import temporary_folder
from benchmarks.timing import in_fresh_process
from destinations.records import Durability

BATCH: Final = 10_000
CELERY_POINTS: Final = 5_000
SCRIPT_POINTS: Final = 250_000
DURABILITIES: Final[tuple[Durability, ...]] = ("process", "power")


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure both mixes of timeframes with both durabilities, each run beside a run of the script."""
    rows, rounds = (200_000, 1) if quick else (1_000_000, 3)
    for mixed in (False, True):
        bars = make_bars(rows, mixed=mixed)
        celery = _celery(bars, mixed=mixed)
        for durability in DURABILITIES:
            ours, script = [], []
            for number in range(1, rounds + 1):
                say(f"end_to_end: {_name(mixed)}, durability {durability}, round {number} of {rounds}")
                script.append(_script(mixed=mixed))
                ours.append(_fleet(bars, durability))
                say(f"  {ours[-1]:,.0f} points/s beside {script[-1]:,.0f} of the script")
            yield from _figures(mixed, durability, ours, celery, script)


def _name(mixed: bool) -> str:
    return "bars of 1m, 1h, 4h, 1d" if mixed else "1m bars"


def _fleet(bars: pl.DataFrame, durability: Durability) -> float:
    sent = list(batches(bars, BATCH))
    with fleet.running(durability) as bench:
        seconds = bench.send(sent)
        bench.check(len(bars), _longer(bars))
    return len(bars) / seconds


def _script(*, mixed: bool) -> float:
    with temporary_folder() as folder:
        return in_fresh_process(script_peer.measure, SCRIPT_POINTS, folder, mixed=mixed)


def _celery(bars: pl.DataFrame, *, mixed: bool) -> float:
    say(f"end_to_end: {_name(mixed)}, one Celery task per point")
    some = bars.head(CELERY_POINTS)
    points: list[dict[str, Any]] = json_points(some)
    with celery_peer.running(points[:40]) as peer:
        return peer.points_per_second(points, len(some) + _longer(some))


def _longer(bars: pl.DataFrame) -> int:
    return len(bars.filter(pl.col("timeframe") != "1m"))


def _figures(
    mixed: bool, durability: Durability, ours: Sequence[float], celery: float, script: Sequence[float]
) -> list[Figure]:
    what = f"{_name(mixed)} to files, durability {durability}"
    return [
        Figure(
            case="end_to_end", what=what, unit="points/s", runs=ours,
            peer="one Celery task per point and delivery", peer_runs=[celery],
            goal=Goal(500, "ratio"), headline=durability == "power",
        ),
        Figure(
            case="end_to_end", what=what, unit="points/s", runs=ours,
            peer="script: one process, nothing kept safe", peer_runs=script,
            goal=Goal(1.5, "ratio"), headline=durability == "power",
        ),
    ]  # fmt: skip
