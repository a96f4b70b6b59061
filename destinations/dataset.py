"""Write points into a dataset: part files in folders named after their rows."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa

from destinations.compression import Content
from destinations.filenames import AnyName, FilePlace
from destinations.files import FileWrite
from destinations.hive import HivePartitions
from destinations.ledgered import LedgeredDestination
from destinations.maintenance import Maintenance
from destinations.part_ledger import PartLedger
from destinations.records import Durability
from router.batch import PointBatch
from router.errors import ConfigError, TerminalError
from router.points import NormalizedDataPoint

#: What a dataset is partitioned by if nothing is said: few folders, and no value that a reader could misread.
PARTITION_BY: Final = ("timeframe", "year")
#: Bytes: what most engines like to read at once.
TARGET_FILE_SIZE: Final = 128 << 20


class DatasetDestination(LedgeredDestination):
    """The base of datasets: files written once, in folders such as ``timeframe=1d/year=2024``.

    A subclass says what a file is (`encode`, `decode`). Under the path there is nothing but complete
    files in their folders; the ledger lies beside it. `candlefleet maintain` makes large files of many
    small ones. See docs/destinations/datasets.md for the columns.

    Args:
        path: The dataset's folder.
        partition_by: The columns that name the folders, of `destinations.hive.PARTITIONS`, the outermost
            first; none: all files lie in one folder.
        compression: One of those the format knows; None: none.
        target_file_size: Bytes that a file should have: larger writes are split, smaller files merged.
        name: The destination's name, and its queue.
        durability: "power" survives a power cut, "process" survives kill -9 and is faster.
        shared: Several hosts write here over a file system that has locks.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    #: The name of the format, and what the names of its files end with.
    format: ClassVar[str]
    suffix: ClassVar[str]
    #: What a user may ask for, and what the library calls it.
    compressions: ClassVar[dict[str | None, str | None]]

    def __init__(
        self,
        path: str | Path,
        partition_by: str | Sequence[str],
        compression: str | None,
        target_file_size: int,
        *,
        name: str | None,
        durability: Durability,
        shared: bool,
    ) -> None:
        """Check the arguments; nothing is opened."""
        if compression not in self.compressions:
            allowed = ", ".join(map(str, self.compressions))
            raise ConfigError("enum", "compression", f"{compression!r} is not one of {allowed}")
        self.codec = self.compressions[compression]
        self.partitions = HivePartitions(partition_by)
        self.target_file_size = whole_number("target_file_size", target_file_size)
        self.schema = self.partitions.schema
        self._layout = json.dumps({"format": self.format, "partition_by": self.partitions.by})
        ledger = PartLedger(Path(path), self._layout, durability=durability, shared=shared)
        super().__init__(path, name=name, ledger=ledger)
        self.parts = ledger

    @abstractmethod
    def encode(self, table: pa.Table) -> Content:
        """Return a file that holds these rows, in their order; columns are those of `schema`."""

    @abstractmethod
    def decode(self, content: Content) -> pa.Table:
        """Return the rows of a file, in their order."""

    def write_batch(self, batch: PointBatch) -> None:
        """Write the rows that are not in the dataset yet.

        Raises:
            TransientError: The outcome is unknown; write again.
            UnavailableError: The disk is full, or the folder needs a hand.
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
        """Return the folder that a point goes to: every write makes files of its own there."""
        ((folder, _),) = self.partitions.split(PointBatch.of([point]).frame)
        return str(self.path / folder)

    def owns(self) -> list[FilePlace]:
        """Return the whole folder: a reader takes whatever lies in it for a part of the dataset."""
        return [FilePlace(self.path, AnyName())]

    def maintenance(self) -> Maintenance:
        """Return what merges the small files."""
        from destinations.compaction import DatasetMaintenance

        return DatasetMaintenance(self)

    def _writes(self, batch: PointBatch) -> list[FileWrite]:
        """Return a file for each folder, or several where one would be larger than `target_file_size`."""
        return [
            write
            for folder, table in self.partitions.split(batch.frame)
            for write in self._files(folder, table)
        ]

    def file(self, folder: str, table: pa.Table) -> FileWrite:
        """Return some rows as one file of a folder."""
        name = f"{folder}/part{self.suffix}" if folder else f"part{self.suffix}"
        return FileWrite(name, self._layout, len(table), self.encode(table))

    def _files(self, folder: str, table: pa.Table) -> list[FileWrite]:
        whole = self.file(folder, table)
        count = ceil(len(whole.content) / self.target_file_size)
        if count <= 1 or len(table) <= 1:
            return [whole]
        rows = ceil(len(table) / count)
        return [self.file(folder, table.slice(start, rows)) for start in range(0, len(table), rows)]


def whole_number(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """Return an option that is a whole number within a range.

    Raises:
        ConfigError: `range`.
    """
    if type(value) is int and least <= value and (most is None or value <= most):
        return value
    allowed = f"from {least} up" if most is None else f"from {least} to {most}"
    raise ConfigError("range", name, f"{value!r} is not a whole number {allowed}")
