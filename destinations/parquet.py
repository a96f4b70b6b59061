"""Write points as a Parquet dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq

from destinations.compression import Content
from destinations.dataset import PARTITION_BY, TARGET_FILE_SIZE, DatasetDestination, whole_number
from destinations.records import Durability
from destinations.revisions import ACCEPTANCE
from router.errors import ConfigError
from router.schema import TEXTS

#: The levels of those compressions that have some.
_LEVELS: Final = {"zstd": (1, 22), "gzip": (1, 9)}
#: Small enough that a query for some days skips most of a file, large enough to compress well.
ROW_GROUP_SIZE: Final = 131_072

#: Packed as differences they take two thirds of the size, in less time.
_ASCENDING: Final = ("timestamp", *ACCEPTANCE)


class ParquetDestination(DatasetDestination):
    """Parquet files in folders such as ``timeframe=1d/year=2024``, for Polars, DuckDB, pandas or Spark.

    The arguments are those of `DatasetDestination`, and:

    Args:
        compression: "zstd", "snappy", "gzip", "lz4", or None or "none".
        compression_level: For zstd 1 to 22, for gzip 1 to 9; None: what the library takes.
        row_group_size: Rows of a row group: statistics are kept for each.
    """

    format = "parquet"
    suffix = ".parquet"
    compressions: ClassVar = {
        **{name: name for name in ("zstd", "snappy", "gzip", "lz4", "none")},
        None: "none",
    }

    def __init__(
        self,
        path: str | Path,
        partition_by: str | Sequence[str] = PARTITION_BY,
        compression: str | None = "zstd",
        compression_level: int | None = None,
        *,
        target_file_size: int = TARGET_FILE_SIZE,
        row_group_size: int = ROW_GROUP_SIZE,
        name: str | None = None,
        durability: Durability = "power",
        shared: bool = False,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(
            path, partition_by, compression, target_file_size, name=name, durability=durability, shared=shared
        )
        self.compression_level = _level(compression, compression_level)
        self.row_group_size = whole_number("row_group_size", row_group_size)

    def encode(self, table: pa.Table) -> Content:
        """Return the rows as one Parquet file."""
        return encode_parquet(table, str(self.codec), self.compression_level, self.row_group_size)

    def decode(self, content: Content) -> pa.Table:
        """Return the rows of a Parquet file."""
        return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


def encode_parquet(
    table: pa.Table, compression: str = "zstd", level: int | None = None, row_group_size: int = ROW_GROUP_SIZE
) -> bytes:
    """Return one Parquet file with the rows of a table, in order, and statistics of every row group.

    Args:
        table: Columns as `HivePartitions.schema` has them.
        compression: As the library calls it.
        level: Of the compression; None: what the library takes.
        row_group_size: Rows of a row group.
    """
    out = pa.BufferOutputStream()
    pq.write_table(
        table,
        out,
        compression=compression,
        compression_level=level,
        row_group_size=row_group_size,
        use_dictionary=[name for name in TEXTS if name in table.column_names],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in _ASCENDING if name in table.column_names},
    )
    content: bytes = out.getvalue().to_pybytes()
    return content


def _level(compression: str | None, level: int | None) -> int | None:
    if level is None:
        return None
    if compression not in _LEVELS:
        raise ConfigError("range", "compression_level", f"{compression} has no levels: leave it out")
    return whole_number("compression_level", level, *_LEVELS[compression])
