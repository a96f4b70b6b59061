"""From the first send to all rows written and settled, through two routes into files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import polars as pl

from benchmarks import celery_peer, fleet, script_peer
from benchmarks.bars import batches, json_points, make_bars
from benchmarks.load import our_cpu_seconds
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.server import temporary_folder
from benchmarks.timing import Run, in_fresh_process
from destinations.records import Durability

BATCH: Final = 10_000
CELERY_POINTS: Final = 2_000
SCRIPT_POINTS: Final = 250_000
BUDGET: Final = 30.0  #: seconds after which no further round of one kind begins
DURABILITIES: Final[tuple[Durability, ...]] = ("process", "power")


class Round(NamedTuple):
    """One run of each, right after one another."""

    celery: Run
    script: Run
    fleet: Run


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure both durabilities with both mixes of timeframes; in every round both peers run too."""
    rows, rounds = (200_000, 1) if quick else (1_000_000, 3)
    warm = json_points(make_bars(40))
    for durability in DURABILITIES:
        say(f"end_to_end: starting a fleet, durability {durability}, and a Celery worker")
        with fleet.running(durability) as bench, celery_peer.running(warm) as celery:
            for mixed in (False, True):
                bars, taken = make_bars(rows, mixed=mixed), []
                ends = time.monotonic() + BUDGET
                for number in range(1, rounds + 1):
                    if taken and time.monotonic() > ends:
                        break
                    say(f"end_to_end: {_name(mixed)}, durability {durability}, round {number} of {rounds}")
                    taken.append(_round(bench, celery, bars, mixed=mixed))
                    say(
                        "  points/s: "
                        + ", ".join(f"{k} {v.rate:,.0f}" for k, v in taken[-1]._asdict().items())
                    )
                yield from _figures(mixed, durability, taken)


def _name(mixed: bool) -> str:
    return "bars of 1m, 1h, 4h, 1d" if mixed else "1m bars"


def _round(bench: fleet.Bench, celery: celery_peer.CeleryPeer, bars: pl.DataFrame, *, mixed: bool) -> Round:
    return Round(_celery(celery, bars), _script(mixed=mixed), _fleet(bench, bars))


def _fleet(bench: fleet.Bench, bars: pl.DataFrame) -> Run:
    sent = list(batches(bench.unseen(bars), BATCH))
    before = our_cpu_seconds()
    seconds = bench.send(sent)
    spent = our_cpu_seconds() - before
    bench.check(len(bars), _longer(bars))
    return Run(len(bars) / seconds, 1e6 * spent / len(bars))


def _script(*, mixed: bool) -> Run:
    with temporary_folder() as folder:
        return in_fresh_process(script_peer.measure, SCRIPT_POINTS, folder, mixed=mixed)


def _celery(peer: celery_peer.CeleryPeer, bars: pl.DataFrame) -> Run:
    some = bars.head(CELERY_POINTS)
    points, before = json_points(some), our_cpu_seconds()
    rate = peer.points_per_second(points, len(some) + _longer(some))
    return Run(rate, 1e6 * (our_cpu_seconds() - before) / len(some))


def _longer(bars: pl.DataFrame) -> int:
    return len(bars.filter(pl.col("timeframe") != "1m"))


def _figures(mixed: bool, durability: Durability, rounds: Sequence[Round]) -> Iterator[Figure]:
    what, headline = f"{_name(mixed)} to files, durability {durability}", durability == "power"
    peers = (
        ("one Celery task per point and delivery", [one.celery for one in rounds], Goal(500, "ratio")),
        ("script: one process, nothing kept safe", [one.script for one in rounds], Goal(1.5, "ratio")),
    )
    ours = [one.fleet for one in rounds]
    for name, runs, goal in peers:
        yield Figure(
            case="end_to_end", what=what, unit="points/s", runs=[run.rate for run in ours], peer=name,
            peer_runs=[run.rate for run in runs], goal=goal, headline=headline,
        )  # fmt: skip
        yield Figure(
            case="end_to_end", what=f"{what}: CPU of all processes", unit="µs/point",
            runs=[run.cpu for run in ours], peer=name, peer_runs=[run.cpu for run in runs],
            less_is_better=True,
        )  # fmt: skip
