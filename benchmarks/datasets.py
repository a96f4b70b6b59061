"""Points/s into a Parquet dataset, ledger and all, beside what writes the same rows and remembers nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.dataset as ds

from benchmarks.bars import batches, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure
from benchmarks.timing import alternate, in_fresh_process, rate
from destinations import ParquetDestination
from destinations.compaction import compact
from destinations.hive import HivePartitions
from destinations.records import Durability
from router.batch import PointBatch

#: What a part holds at most.
PART: Final = 50_000
ROUNDS: Final = 3
PEERS: Final = ("pyarrow.dataset.write_dataset", "polars.write_parquet")
BY: Final = ("timeframe", "year")


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure both durabilities beside both peers, then the merging of what was written."""
    rows, seconds = (200_000, 2.0) if quick else (1_000_000, 20.0)
    durabilities: tuple[Durability, ...] = ("power", "process")
    for durability in durabilities:
        for peer in PEERS:
            say(f"datasets: {rows:,} bars, durability {durability}, beside {peer}")
            ours, theirs = in_fresh_process(measure, durability, peer, rows, seconds)
            yield Figure(
                case="datasets", what=f'{rows:,} bars as Parquet, durability="{durability}"', unit="points/s",
                runs=ours, peer=peer, peer_runs=theirs,
            )  # fmt: skip
    say("datasets: merging")
    ours, theirs = in_fresh_process(measure_merging, rows // 10)
    yield Figure(
        case="datasets", what="maintain, 100 files into one", unit="points/s", runs=ours,
        peer="pyarrow.dataset, read and write", peer_runs=theirs,
    )  # fmt: skip


def measure(durability: Durability, peer: str, rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination, in parts, and of a peer that writes all at once."""
    frame = make_bars(rows)
    parts = list(batches(frame, PART))
    ((_, table),) = HivePartitions(("year",)).split(frame)

    def ours(folder: Path) -> None:
        destination = ParquetDestination(folder / "bars", BY, durability=durability)
        for part in parts:
            destination.write_batch(part)
        destination.close()

    def arrow(folder: Path) -> None:
        write_dataset(table, folder)

    def polars(folder: Path) -> None:
        frame.write_parquet(folder / "bars.parquet")

    return alternate(
        partial(in_new_folder, ours, rows),
        partial(in_new_folder, polars if peer == PEERS[1] else arrow, rows),
        seconds=seconds,
    )


def measure_merging(rows: int) -> tuple[list[float], list[float]]:
    """Return the points/s of merging a hundred files, checked, and of reading and writing them, unchecked."""
    parts = list(batches(make_bars(rows), rows // 100))
    rounds = [merging_rates(parts, rows) for _ in range(ROUNDS)]
    return [ours for ours, _ in rounds], [peer for _, peer in rounds]


def merging_rates(parts: Sequence[PointBatch], rows: int) -> tuple[float, float]:
    """Return the points/s of both on a dataset of their own."""
    with tempfile.TemporaryDirectory() as name:
        written = ParquetDestination(Path(name) / "bars", BY)
        for part in parts:
            written.write_batch(part)

        def ours() -> int:
            return sum(file.rows for one in compact(written) for file in one.files)

        def peer() -> int:
            write_dataset(ds.dataset(written.path, partitioning="hive").to_table(), Path(name) / "copy")
            return rows

        theirs, ours_ = rate(peer), rate(ours)
        written.close()
        return ours_, theirs


def write_dataset(table: pa.Table, folder: Path) -> None:
    """Write rows as most scripts do."""
    options = ds.ParquetFileFormat().make_write_options(compression="zstd")
    ds.write_dataset(
        table, folder / "bars", format="parquet", partitioning=["timeframe"], partitioning_flavor="hive",
        file_options=options, existing_data_behavior="overwrite_or_ignore",
    )  # fmt: skip


def in_new_folder(work: Callable[[Path], None], rows: int) -> int:
    """Let something be written into a folder that was not there before; return how many rows."""
    with tempfile.TemporaryDirectory() as name:
        work(Path(name))
    return rows
