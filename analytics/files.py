"""List the files that a Delta table consists of now, for an engine that does not read its log."""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable


def active_files(table: Path) -> list[str]:
    """Return the paths of the Parquet files that hold the rows of a table's newest version, sorted.

    Files beside them belong to older versions, or to a write that was given up: their rows count no more.
    """
    return sorted(DeltaTable(table).file_uris())
