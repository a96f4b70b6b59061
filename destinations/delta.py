"""Write points into a Delta table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from destinations.dataset import PARTITION_BY, TARGET_FILE_SIZE, whole_number
from destinations.delta_files import DeltaLedger
from destinations.delta_stats import partition_values, statistics
from destinations.delta_table import DeltaTable
from destinations.filenames import AnyName, FilePlace
from destinations.files import FileWrite
from destinations.hive import HivePartitions
from destinations.ledgered import LedgeredDestination
from destinations.maintenance import Maintenance
from destinations.parquet import encode_parquet
from destinations.records import Durability
from destinations.revisions import ACCEPTANCE_FIELDS, with_acceptance
from router.batch import PointBatch
from router.errors import ConfigError, TerminalError
from router.points import NormalizedDataPoint

#: Points: with fewer, what a commit and its files cost is most of the write, and of reading it.
ADVISED_BATCH_SIZE: Final = 10_000


class AnalyticsEngineDestination(LedgeredDestination):
    """A Delta table on this host, for Spark, Flink, DuckDB, Polars or pandas; every row of a batch once.

    Args:
        path: The table's folder.
        partition_by: The columns that part it, of `destinations.hive.PARTITIONS`, the outermost first.
        target_file_size: Bytes that `candlefleet maintain` makes files of.
        batch_size: Points of a write where the route names no batch_size; None: whatever waits.
        flush_interval: Seconds that the oldest point waits for a full write where the route names no
            batch_timeout.
        name: The destination's name, and its queue.
        durability: "power" survives a power cut, "process" survives kill -9 and is faster.

    Raises:
        ConfigError: An argument is not one of those allowed, or `deltalake` is not installed.
    """

    advised_batch_size = ADVISED_BATCH_SIZE

    def __init__(
        self,
        path: str | Path,
        partition_by: str | Sequence[str] = PARTITION_BY,
        target_file_size: int = TARGET_FILE_SIZE,
        *,
        batch_size: int | None = ADVISED_BATCH_SIZE,
        flush_interval: float | None = 60.0,
        name: str | None = None,
        durability: Durability = "power",
    ) -> None:
        """Check the arguments; nothing is opened."""
        if "://" in str(path):
            message = f"{str(path)!r} is no folder of this host: a table in an object store cannot be written"
            raise ConfigError("path.remote", "path", message)
        self.batch_size = batch_size if batch_size is None else whole_number("batch_size", batch_size)
        self.flush_interval = flush_interval if batch_size is not None else None
        self.partitions = HivePartitions(partition_by, ACCEPTANCE_FIELDS)
        self.target_file_size = whole_number("target_file_size", target_file_size)
        self.table = DeltaTable(Path(path), self.partitions.by)
        self.ledger: DeltaLedger
        ledger = DeltaLedger(Path(path), self.table, durability=durability)
        super().__init__(path, name=name, ledger=ledger)

    def write_batch(self, batch: PointBatch) -> None:
        """Commit the rows that are not in the table yet.

        Raises:
            TransientError: The outcome is unknown; write again.
            UnavailableError: The disk is full, or the table needs a hand.
            TerminalError: Names the rows whose folder no file system takes, all others being written; or a
                batch of this id with other points was written before.
        """
        refused = self.partitions.unnameable(batch.frame)
        accepted = np.ones(len(batch), dtype=np.bool_)
        accepted[refused] = False
        super().write_batch(batch.filter(accepted))
        if refused:
            by = " and ".join(self.partitions.by)
            raise TerminalError(f"{by}: too long to name a folder, or reserved there", refused)

    def target(self, point: NormalizedDataPoint) -> str:
        """Return the folder of the table that a point goes to."""
        ((folder, _),) = self.partitions.split(with_acceptance(PointBatch.of([point])))
        return str(self.path / folder)

    def owns(self) -> list[FilePlace]:
        """Return the whole folder."""
        return [FilePlace(self.path, AnyName())]

    def maintenance(self) -> Maintenance:
        """Return what merges the small files and removes the old ones."""
        from destinations.delta_maintenance import DeltaMaintenance

        return DeltaMaintenance(self)

    def _writes(self, batch: PointBatch) -> list[FileWrite]:
        """Return a file for each folder; it says what the table's log is told of it."""
        writes = []
        for folder, table in self.partitions.split(with_acceptance(batch)):
            name = f"{folder}/part.parquet" if folder else "part.parquet"
            holds = json.dumps([partition_values(folder), statistics(table)])
            writes.append(FileWrite(name, holds, len(table), encode_parquet(table)))
        return writes
