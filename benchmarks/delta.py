"""Points/s into a Delta table, ledger and all, beside the library as its pages say, and of keeping it up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import DeltaTable, write_deltalake

from benchmarks.bars import batches, make_bars
from benchmarks.datasets import in_new_folder
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.timing import alternate, in_fresh_process, rate
from destinations import AnalyticsEngineDestination
from destinations.hive import PARTITIONS
from destinations.records import Durability

#: What a part holds at most, and what a write should hold at least.
PARTS: Final = (50_000, 10_000)
ROUNDS: Final = 3
BY: Final = ("timeframe", "year")
PEER: Final = "write_deltalake, mode append"


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure both durabilities and both sizes of a write, then the merging of what was written."""
    rows, seconds = (100_000, 2.0) if quick else (500_000, 15.0)
    durabilities: tuple[Durability, ...] = ("power", "process")
    for durability in durabilities:
        for part in PARTS:
            say(f"delta: {rows:,} bars in writes of {part:,}, durability {durability}")
            ours, theirs = in_fresh_process(measure, durability, part, rows, seconds)
            yield Figure(
                case="delta", what=f'{rows:,} bars in writes of {part:,}, durability="{durability}"',
                unit="points/s", runs=ours, peer=PEER, peer_runs=theirs, goal=Goal(1, "ratio"),
            )  # fmt: skip
    say("delta: merging")
    ours, theirs = in_fresh_process(measure_merging, rows // 10)
    yield Figure(
        case="delta", what="maintain, 50 files into one", unit="points/s", runs=ours,
        peer="DeltaTable.optimize.compact, unchecked", peer_runs=theirs,
    )  # fmt: skip


def measure(durability: Durability, part: int, rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination and of the library, in as many commits."""
    parts = list(batches(make_bars(rows), part))

    def ours(folder: Path) -> None:
        table = AnalyticsEngineDestination(folder / "bars", BY, durability=durability)
        for batch in parts:
            table.write_batch(batch)
        table.close()

    def peer(folder: Path) -> None:
        for batch in parts:
            append(batch.frame, folder / "bars")

    return alternate(partial(in_new_folder, ours, rows), partial(in_new_folder, peer, rows), seconds=seconds)


def append(frame: pl.DataFrame, path: Path) -> None:
    """Append rows as a script does. Source: delta-rs documentation, Appending to a Delta Lake table."""
    write_deltalake(path, frame.with_columns(PARTITIONS["year"]), mode="append", partition_by=list(BY))


def measure_merging(rows: int) -> tuple[list[float], list[float]]:
    """Return the points/s of maintaining a table of fifty files, and of the library's own compaction."""
    rounds = [merging_rates(rows) for _ in range(ROUNDS)]
    return [ours for ours, _ in rounds], [peer for _, peer in rounds]


def merging_rates(rows: int) -> tuple[float, float]:
    """Return the points/s of both on a table of their own."""
    with tempfile.TemporaryDirectory() as name:
        tables = [AnalyticsEngineDestination(Path(name) / which, BY) for which in ("ours", "peer")]
        for table in tables:
            for batch in batches(make_bars(rows), rows // 50):
                table.write_batch(batch)

        def ours() -> int:
            work = tables[0].maintenance()
            return sum(file.rows for one in work.merges() for file in one.files) if work.begun() else 0

        def peer() -> int:
            DeltaTable(tables[1].path).optimize.compact()
            return rows

        theirs, ours_ = rate(peer), rate(ours)
        for table in tables:
            table.close()
        return ours_, theirs
