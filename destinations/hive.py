"""Name the folders of a dataset after the rows in them, so that every reader gets the values back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import polars as pl
import pyarrow as pa

from destinations.patterns import FREE_TEXT, grouped
from router.errors import ConfigError
from router.names import nearest
from router.schema import POINT_SCHEMA

#: What a dataset may be partitioned by, and what gives it; days, months and years are UTC.
PARTITIONS: Final = {
    "symbol": pl.col("symbol"),
    "timeframe": pl.col("timeframe"),
    "asset_class": pl.col("asset_class"),
    "source": pl.col("source"),
    "date": pl.col("timestamp").dt.date().alias("date"),
    "month": pl.col("timestamp").dt.strftime("%Y-%m").alias("month"),
    "year": pl.col("timestamp").dt.year().alias("year"),
}

#: What readers take for no value at all. Source: Apache Hive, hive.exec.default.partition.name.
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
#: What file systems allow for one folder.
_LONGEST: Final = 255
_ASCII: Final = re.compile(r"[\x00-\x7f]+")


class HivePartitions:
    """Folders such as ``timeframe=1d/symbol=BTC%2FUSD``, one level for each of some columns.

    Attributes:
        by: Those columns, the outermost first.
        schema: The columns of the files: those of a point, text as plain text, without what the folders say,
            and some more if it is told.

    Raises:
        ConfigError: `partition.field` for a column that is none of `PARTITIONS`, `partition.repeated` for
            one named twice.
    """

    def __init__(self, by: str | Sequence[str], more: Iterable[pa.Field] = ()) -> None:
        """Take the columns, the outermost first, one alone as text if you like, and more of the files."""
        self.by = (by,) if isinstance(by, str) else tuple(by)
        for name in self.by:
            if not isinstance(name, str) or name not in PARTITIONS:
                known = ", ".join(PARTITIONS)
                message = f"{name!r} is not one of {known}{nearest(str(name), PARTITIONS)}"
                raise ConfigError("partition.field", "partition_by", message)
        if len(set(self.by)) < len(self.by):
            raise ConfigError("partition.repeated", "partition_by", f"{list(self.by)} names a column twice")
        self.schema = pa.schema([*_schema(self.by), *more])
        self._free = [name for name in self.by if name in FREE_TEXT]

    def split(self, frame: pl.DataFrame) -> list[tuple[str, pa.Table]]:
        """Return each folder and the rows that go there, in their order, as a table of `schema`."""
        frame, groups = grouped(frame, [PARTITIONS[name] for name in self.by])
        table = frame.select(self.schema.names).to_arrow().cast(self.schema)
        pieces, start = [], 0
        for values, rows in groups:
            pieces.append((self.folder(values), table.slice(start, rows)))
            start += rows
        return pieces

    def folder(self, values: Mapping[str, Any]) -> str:
        """Return the folder for one value of every column, '/' only between the levels."""
        return "/".join(_component(name, str(values[name])) for name in self.by)

    def unnameable(self, frame: pl.DataFrame) -> list[int]:
        """Return the rows whose folder no file system takes, or whose value a reader would not get back."""
        found = np.zeros(len(frame), dtype=np.bool_)
        for name in self._free:
            bad = [value for value in frame[name].unique() if not _is_nameable(name, value)]
            if bad:
                found |= frame[name].is_in(bad).to_numpy()
        rows: list[int] = np.flatnonzero(found).tolist()
        return rows


def _schema(by: Sequence[str]) -> pa.Schema:
    return pa.schema(
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in POINT_SCHEMA
        if field.name not in by
    )


# As Hive itself does, letters of other alphabets stay what they are: Spark decodes byte by byte.
def _component(name: str, value: str) -> str:
    encoded = _ASCII.sub(lambda found: quote(found[0], safe=""), value)
    if encoded.upper() == "NULL":  # DuckDB takes the plain word for no value
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return f"{name}={encoded}"


def _is_nameable(name: str, value: str) -> bool:
    return value != _NO_VALUE and len(_component(name, value).encode()) <= _LONGEST
