"""Say of a file of a Delta table what its log wants to know: values of its folder, and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc


def partition_values(folder: str) -> dict[str, str]:
    """Return the values that a folder such as ``symbol=BTC%2FUSD/year=2024`` was named after."""
    levels = (level.partition("=") for level in folder.split("/") if level)
    return {name: unquote(value) for name, _, value in levels}


def statistics(table: pa.Table) -> dict[str, Any]:
    """Return number of rows, and of every column least, greatest and absent values, as JSON has them.

    Source: Delta Transaction Log Protocol, Per-file Statistics.
    """
    columns = {name: table[name] for name in table.column_names if not pa.types.is_nested(table[name].type)}
    ends = {name: pc.min_max(column).as_py() for name, column in columns.items()}
    return {
        "numRecords": len(table),
        "minValues": _known(ends, "min"),
        "maxValues": _known(ends, "max"),
        "nullCount": {name: column.null_count for name, column in columns.items()},
    }


def _known(ends: Mapping[str, Mapping[str, Any]], end: str) -> dict[str, Any]:
    return {name: _json(both[end]) for name, both in ends.items() if both[end] is not None}


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    return value
