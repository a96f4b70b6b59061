"""Write points into a Delta table."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from destinations.dataset import PARTITION_BY
from destinations.delta_files import DeltaLedger
from destinations.delta_stats import partition_values, statistics
from destinations.delta_table import DeltaTable
from destinations.filenames import AnyName, FilePlace
from destinations.files import FileWrite
from destinations.hive import HivePartitions
from destinations.ledgered import LedgeredDestination
from destinations.parquet import encode_parquet
from destinations.records import Durability
from router.batch import PointBatch
from router.errors import ConfigError, TerminalError
from router.points import NormalizedDataPoint


class AnalyticsEngineDestination(LedgeredDestination):
    """A Delta table on this host, for Spark, Flink, DuckDB, Polars or pandas; every row of a batch once.

    Args:
        path: The table's folder.
        partition_by: The columns that part it, of `destinations.hive.PARTITIONS`, the outermost first.
        name: The destination's name, and its queue.
        durability: "power" survives a power cut, "process" survives kill -9 and is faster.

    Raises:
        ConfigError: An argument is not one of those allowed, or `deltalake` is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        partition_by: str | Sequence[str] = PARTITION_BY,
        *,
        name: str | None = None,
        durability: Durability = "power",
    ) -> None:
        """Check the arguments; nothing is opened."""
        if "://" in str(path):
            message = f"{str(path)!r} is no folder of this host: a table in an object store cannot be written"
            raise ConfigError("path.remote", "path", message)
        self.partitions = HivePartitions(partition_by)
        self.table = DeltaTable(Path(path), self.partitions.by)
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
        ((folder, _),) = self.partitions.split(PointBatch.of([point]).frame)
        return str(self.path / folder)

    def owns(self) -> list[FilePlace]:
        """Return the whole folder."""
        return [FilePlace(self.path, AnyName())]

    def prune(self, older_than: timedelta, still_owed: Callable[[str], bool] | Collection[str]) -> int:
        """Forget which rows of old, settled batches were written; return how many batches."""
        return self.ledger.prune(older_than, still_owed)

    def _writes(self, batch: PointBatch) -> list[FileWrite]:
        """Return a file for each folder; it says what the table's log is told of it."""
        writes = []
        for folder, table in self.partitions.split(batch.frame):
            name = f"{folder}/part.parquet" if folder else "part.parquet"
            holds = json.dumps([partition_values(folder), statistics(table)])
            writes.append(FileWrite(name, holds, len(table), encode_parquet(table)))
        return writes
