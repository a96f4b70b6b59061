"""Make large files of a Delta table's small ones, and remove those that it lists no more."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from destinations.delta import AnalyticsEngineDestination
from destinations.maintenance import Maintenance, Merge, Merged, fingerprints, plan
from destinations.records import FileTally
from destinations.root import disk_errors
from router.errors import DestinationError, TransientError

#: Hidden, so that no reader and no vacuum comes across it.
_LOCK: Final = ".candlefleet-maintain.lock"
_PARTITION: Final = "partition."


class Listed(NamedTuple):
    """What a version of a table lists: its files, and by folder the values that name it."""

    files: list[FileTally]
    values: dict[str, list[tuple[str, str, str]]]


class Exchange(NamedTuple):
    """One commit that put files in the place of others: both by name, the new ones with their tallies."""

    version: int
    gone: set[str]
    new: tuple[FileTally, ...]


class DeltaMaintenance(Maintenance):
    """What `candlefleet maintain` does for a Delta table, through commits that no append conflicts with.

    The library lets two compactions at once both succeed, which doubles rows (delta-rs, pull request 3982):
    one runs at a time, and every commit is held against the version before it.
    """

    def __init__(self, destination: AnalyticsEngineDestination) -> None:
        """Remember it; nothing is opened."""
        self._destination = destination
        self._path = destination.path
        self._target = destination.target_file_size

    def begun(self) -> bool:
        """Return whether anything was ever written; the table is opened and checked if so."""
        begun = self._destination.ledger.exists()
        if begun:
            self._destination.open()
        return begun

    def missing(self, *, forget: bool) -> list[str]:
        """Return nothing: a table whose files are gone fails its readers, and is mended by a person."""
        return []

    def planned(self) -> list[Merge]:
        """Return what there is to merge now."""
        with _errors(self._path):
            listed = _listed(DeltaTable(self._path))
        return plan([file for file in listed.files if self._may_merge(file, listed)], self._target)

    def merges(self) -> Iterator[Merged]:
        """Merge folder by folder, a commit each, until nothing is left to merge."""
        with self._alone():
            done: set[str] = set()
            for one in self.planned():
                if one.folder not in done:
                    done.add(one.folder)
                    yield from self._tried(one)

    def remove_unlisted(self, *, dry_run: bool) -> list[str]:
        """Remove files that no version within the table's retention lists, and leftovers as old as that.

        Source: Delta Lake, table property `delta.deletedFileRetentionDuration`; 7 days if it is not set.
        """
        with _errors(self._path), nullcontext() if dry_run else self._at_rest():
            return sorted(DeltaTable(self._path).vacuum(dry_run=dry_run, full=True))

    # The library would call a folder null, which DuckDB takes for no value, and finds none with a tilde.
    def _may_merge(self, file: FileTally, listed: Listed) -> bool:
        values = [value for _, _, value in listed.values[_folder(file.name)]]
        misnamed = any(value.upper() == "NULL" or "~" in value for value in values)
        return 2 * file.bytes < self._target and not misnamed

    def _tried(self, one: Merge) -> Iterator[Merged]:
        try:
            yield from self._merge(one.folder)
        except (DeltaError, DestinationError, OSError, pa.ArrowException) as error:
            yield Merged(one, error=_first_line(error))

    def _merge(self, folder: str) -> Iterator[Merged]:
        table = DeltaTable(self._path)
        before, listed = table.version(), _listed(table)
        table.optimize.compact(listed.values[folder] or None, target_size=self._target)
        for exchange in _exchanges(self._path, before, table.version()):
            old = tuple(sorted(file for file in listed.files if file.name in exchange.gone))
            self._compare(table, exchange)
            yield Merged(Merge(folder, old), exchange.new)

    def _compare(self, table: DeltaTable, exchange: Exchange) -> None:
        before = DeltaTable(self._path, version=exchange.version - 1)
        known = {file.name for file in _listed(before).files}
        old, new = sorted(exchange.gone), [file.name for file in exchange.new]
        if exchange.gone <= known and np.array_equal(
            self._fingerprints(table, old), self._fingerprints(table, new)
        ):
            return
        raise TransientError(
            f"version {exchange.version} of {self._path} changed its rows: stop whatever else merges files, "
            f"and bring the table back by DeltaTable.restore({exchange.version - 1})"
        )

    def _fingerprints(self, table: DeltaTable, names: Sequence[str]) -> np.ndarray[Any, Any]:
        by = table.metadata().partition_columns
        schema = pa.schema(field for field in pa.schema(table.schema()) if field.name not in by)
        files = [str(self._path / name) for name in names]
        found = ds.dataset(files, schema=schema, format="parquet").to_batches()
        return fingerprints(pa.Table.from_batches([one]) for one in found)

    # However short the table's retention is, what a writer or a merge has just written stays.
    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        with self._alone(), self._destination.ledger.at_rest():
            yield

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fd = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    with disk_errors(path):
        try:
            yield
        except DeltaError as error:
            raise TransientError(f"the table in {path}: {_first_line(error)}") from error


# Backtraces of the library come with its messages.
def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _listed(table: DeltaTable) -> Listed:
    rows = pl.DataFrame(pa.table(table.get_add_actions(flatten=True)))
    by = table.metadata().partition_columns
    files, values = [], {}
    for row in rows.iter_rows(named=True):
        file = FileTally(unquote(row["path"]), row["num_records"] or 0, row["size_bytes"])
        files.append(file)
        values[_folder(file.name)] = [(name, "=", str(row[_PARTITION + name])) for name in by]
    return Listed(files, values)


def _exchanges(path: Path, after: int, last: int) -> Iterator[Exchange]:
    for version in range(after + 1, last + 1):
        lines = (path / "_delta_log" / f"{version:020}.json").read_text(encoding="utf-8").splitlines()
        actions = [json.loads(line) for line in lines]
        removes = [one["remove"] for one in actions if "remove" in one]
        gone = {unquote(one["path"]) for one in removes if not one["dataChange"]}
        if gone:
            yield Exchange(version, gone, tuple(_tally(one["add"]) for one in actions if "add" in one))


def _tally(add: dict[str, Any]) -> FileTally:
    rows = json.loads(add.get("stats") or "{}").get("numRecords", 0)
    return FileTally(unquote(add["path"]), rows, add["size"])
