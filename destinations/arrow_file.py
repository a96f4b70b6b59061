"""Write points as files of Arrow's IPC format, which is also that of Feather."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from destinations.compression import Content
from destinations.dataset import PARTITION_BY, TARGET_FILE_SIZE, DatasetDestination
from destinations.records import Durability


class ArrowFileDestination(DatasetDestination):
    """Arrow IPC files in folders such as ``timeframe=1d/year=2024``; without compression they can be mapped.

    The arguments are those of `DatasetDestination`, and:

    Args:
        compression: "zstd", "lz4", or None or "none".
    """

    format = "arrow"
    suffix = ".arrow"
    compressions: ClassVar = {"zstd": "zstd", "lz4": "lz4", "none": None, None: None}

    def __init__(
        self,
        path: str | Path,
        partition_by: str | Sequence[str] = PARTITION_BY,
        compression: str | None = "zstd",
        *,
        target_file_size: int = TARGET_FILE_SIZE,
        name: str | None = None,
        durability: Durability = "power",
        shared: bool = False,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(
            path, partition_by, compression, target_file_size, name=name, durability=durability, shared=shared
        )

    def encode(self, table: pa.Table) -> Content:
        """Return the rows as one file."""
        return encode_arrow(table, self.codec)

    def decode(self, content: Content) -> pa.Table:
        """Return the rows of a file."""
        return pa.ipc.open_file(pa.BufferReader(content)).read_all()


class FeatherDestination(ArrowFileDestination):
    """Feather files (version 2) in folders such as ``timeframe=1d/year=2024``, for pandas and R.

    The arguments are those of `ArrowFileDestination`.
    """

    format = "feather"
    suffix = ".feather"

    def __init__(
        self,
        path: str | Path,
        partition_by: str | Sequence[str] = PARTITION_BY,
        compression: str | None = "lz4",
        *,
        target_file_size: int = TARGET_FILE_SIZE,
        name: str | None = None,
        durability: Durability = "power",
        shared: bool = False,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(
            path,
            partition_by,
            compression,
            target_file_size=target_file_size,
            name=name,
            durability=durability,
            shared=shared,
        )


def encode_arrow(table: pa.Table, compression: str | None = "zstd") -> bytes:
    """Return one file of Arrow's IPC format with the rows of a table, in order.

    Args:
        table: Columns as `HivePartitions.schema` has them.
        compression: "zstd", "lz4" or None.
    """
    out = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with pa.ipc.new_file(out, table.schema, options=options) as writer:
        writer.write_table(table)
    content: bytes = out.getvalue().to_pybytes()
    return content
