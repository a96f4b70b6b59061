"""From the first send to all rows written and settled, through two routes into files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
CELERY_POINTS: Final = 2_000
SCRIPT_POINTS: Final = 250_000
DURABILITIES: Final[tuple[Durability, ...]] = ("process", "power")


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure both mixes of timeframes with both durabilities; in every round both peers run too."""
    rows, rounds = (200_000, 1) if quick else (1_000_000, 3)
    for mixed in (False, True):
        bars = make_bars(rows, mixed=mixed)
        taken = [_round(bars, mixed, f"round {number} of {rounds}") for number in range(1, rounds + 1)]
        for durability in DURABILITIES:
            yield from _figures(mixed, durability, taken)


@dataclass(frozen=True, slots=True)
class _Round:
    """Points/s of one round; a run of the script goes right before each run of the fleet."""

    celery: float
    fleet: dict[str, float]
    script: dict[str, float]


def _round(bars: pl.DataFrame, mixed: bool, number: str) -> _Round:
    say(f"end_to_end: {_name(mixed)}, {number}: one Celery task per point")
    taken = _Round(_celery(bars), {}, {})
    say(f"  {taken.celery:,.0f} points/s")
    for durability in DURABILITIES:
        say(f"end_to_end: {_name(mixed)}, {number}: the script, then the fleet, durability {durability}")
        taken.script[durability] = _script(mixed=mixed)
        taken.fleet[durability] = _fleet(bars, durability)
        say(f"  {taken.script[durability]:,.0f} and {taken.fleet[durability]:,.0f} points/s")
    return taken


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


def _celery(bars: pl.DataFrame) -> float:
    some = bars.head(CELERY_POINTS)
    points: list[dict[str, Any]] = json_points(some)
    with celery_peer.running(points[:40]) as peer:
        return peer.points_per_second(points, len(some) + _longer(some))


def _longer(bars: pl.DataFrame) -> int:
    return len(bars.filter(pl.col("timeframe") != "1m"))


def _figures(mixed: bool, durability: Durability, rounds: Sequence[_Round]) -> list[Figure]:
    what = f"{_name(mixed)} to files, durability {durability}"
    ours = [one.fleet[durability] for one in rounds]
    return [
        Figure(
            case="end_to_end", what=what, unit="points/s", runs=ours,
            peer="one Celery task per point and delivery", peer_runs=[one.celery for one in rounds],
            goal=Goal(500, "ratio"), headline=durability == "power",
        ),
        Figure(
            case="end_to_end", what=what, unit="points/s", runs=ours,
            peer="script: one process, nothing kept safe",
            peer_runs=[one.script[durability] for one in rounds],
            goal=Goal(1.5, "ratio"), headline=durability == "power",
        ),
    ]  # fmt: skip
