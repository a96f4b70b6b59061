"""Write the examples of one split into shards, cut by their number alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from destinations.training.manifest import DATA, Shard, sha256_of
from destinations.training.styles import encode_lines
from router.errors import ConfigError

#: Bars rendered at once, and in a row group: enough to compress well, few enough to stream.
_BARS: Final = 100_000
#: Bars of a shard, unless somebody says how many examples it has: some 300 MB as JSON lines.
_BARS_PER_SHARD: Final = 2_000_000
#: Their names have room for five digits.
_MOST_SHARDS: Final = 99_999


@dataclass(frozen=True, slots=True)
class Plan:
    """How examples become the rows of shards.

    Attributes:
        format: Of the shards, "jsonl" or "parquet".
        rows: Examples of every shard but the last.
        group: Examples rendered at once: in Parquet, a row group.
        render: Makes finished rows of examples, one of each.
    """

    format: str
    rows: int
    group: int
    render: Callable[[pa.Table], pa.Table]


def rows_per_group(window: int) -> int:
    """Return how many examples of so many bars are rendered at once."""
    return max(1, _BARS // window)


def rows_per_shard(window: int) -> int:
    """Return how many examples of so many bars a shard has unless somebody says it."""
    return max(1, _BARS_PER_SHARD // window)


class SplitWriter:
    """The shards of one split: where they are cut depends on nothing but the number of examples.

    Args:
        folder: Where the finished set is made.
        split: The split's name.
        examples: How many it has.
        plan: How they become rows.

    Attributes:
        shards: Those that are complete.
        bytes: What all rows take as Arrow's columns, which is what the Hub calls the size of a split.
        schema: The columns of the rows; None: there was none yet.

    Raises:
        ConfigError: `range`, if there would be more shards than their names can number.
    """

    def __init__(self, folder: Path, split: str, examples: int, plan: Plan) -> None:
        """Begin no file yet."""
        self._count = ceil(examples / plan.rows)
        if self._count > _MOST_SHARDS:
            least = ceil(examples / _MOST_SHARDS)
            message = (
                f"{examples} examples of {split} are more than {_MOST_SHARDS} shards: take {least} or more"
            )
            raise ConfigError("range", "rows_per_shard", message)
        self.shards: list[Shard] = []
        self.bytes = 0
        self.schema: pa.Schema | None = None
        self._folder, self._split, self._examples, self._plan = folder, split, examples, plan
        self._waiting: list[pa.Table] = []
        self._begun = self._written = 0
        self._file: _File | None = None

    def add(self, examples: pa.Table) -> None:
        """Write examples as soon as a group of them is complete."""
        self._waiting.append(examples)
        while (rows := self._next()) and sum(map(len, self._waiting)) >= rows:
            waiting = pa.concat_tables(self._waiting)
            self._write(waiting.slice(0, rows))
            self._waiting = [waiting.slice(rows)]

    def close(self) -> None:
        """Let go of a file that is not complete."""
        if self._file is not None:
            self._file.close()

    # Of the group that comes next, within its shard.
    def _next(self) -> int:
        return min(self._plan.group, self._end() - self._written)

    def _end(self) -> int:
        return min(self._begun + self._plan.rows, self._examples)

    def _write(self, examples: pa.Table) -> None:
        rows = self._plan.render(examples)
        self.schema = rows.schema
        self.bytes += rows.nbytes
        if self._file is None:
            self._file = _File(self._folder / self._name(), self._plan.format, rows.schema)
        self._file.write(rows, examples["as_of"])
        self._written += len(examples)
        if self._written == self._end():
            self._complete(self._file)

    def _complete(self, file: _File) -> None:
        file.close()
        self._file = None
        digest = sha256_of(file.path)
        rows = self._written - self._begun
        size = file.path.stat().st_size
        self.shards.append(Shard(self._name(), self._split, rows, size, digest, *file.as_of))
        self._begun = self._written

    def _name(self) -> str:
        number = self._begun // self._plan.rows
        return f"{DATA}/{self._split}-{number:05}-of-{self._count:05}.{self._plan.format}"


class _File:
    def __init__(self, path: Path, format: str, schema: pa.Schema) -> None:
        self.path = path
        self._as_of: list[pa.Scalar] = []
        self._file = path.open("wb")
        self._parquet = (
            pq.ParquetWriter(self._file, schema, compression="zstd") if format == "parquet" else None
        )

    @property
    def as_of(self) -> tuple[str, str]:
        return min(self._as_of).isoformat(), max(self._as_of).isoformat()

    def write(self, rows: pa.Table, as_of: pa.ChunkedArray) -> None:
        self._as_of += [bound.as_py() for bound in pc.min_max(as_of).values()]
        if self._parquet is None:
            self._file.write(encode_lines(rows))
        else:
            self._parquet.write_table(rows.combine_chunks(), row_group_size=len(rows))

    def close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
