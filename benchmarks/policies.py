"""What batch_size, batch_timeout and rate_limit cost from end to end, beside the same fleet without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks import fleet
from benchmarks.bars import batches, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal

ROUTES: Final = Path(__file__).with_name("policy_routes.py")
SOURCES: Final = ("bench", "bench5000", "bench100")
BATCH: Final = 10_000


def run(*, quick: bool) -> Iterator[Figure]:
    """Send the same bars in turn to routes without limits, and with writes of 5,000 and of 100 points."""
    rows, rounds = (200_000, 3) if quick else (1_000_000, 4)
    bars, rates = make_bars(rows), {source: list[float]() for source in SOURCES}
    say("policies: starting a fleet")
    with fleet.running("power", routes=ROUTES) as bench:
        for number in range(1, rounds + 1):
            for source in SOURCES:
                rates[source].append(_rate(bench, bars, source))
            say(f"policies: round {number}: {[round(rates[source][-1]) for source in SOURCES]} points/s")
    yield _figure("5,000", rates["bench5000"], rates["bench"], Goal(0.85, "ratio"))
    yield _figure("100", rates["bench100"], rates["bench"])


def _rate(bench: fleet.Bench, bars: pl.DataFrame, source: str) -> float:
    unseen = bench.unseen(bars).with_columns(source=pl.lit(source))
    seconds = bench.send(list(batches(unseen, BATCH)))
    bench.check(len(bars), 0)
    return len(bars) / seconds


def _figure(size: str, ours: list[float], plain: list[float], goal: Goal | None = None) -> Figure:
    return Figure(
        case="policies", what=f"1m bars to files, durability power, writes of {size}, limits on",
        unit="points/s", runs=ours, peer="the same without batch_size and limits", peer_runs=plain, goal=goal,
    )  # fmt: skip
