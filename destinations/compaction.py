"""Make large files of a dataset's small ones, and check that not a row was changed by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from destinations.dataset import DatasetDestination
from destinations.records import FileTally
from router.errors import DestinationError, TransientError, UnavailableError

#: What the rows of a merged file are sorted by, so that its statistics rule out most of it for most queries.
_ORDER: Final = ("symbol", "timestamp")


class Merge(NamedTuple):
    """Neighbours in one folder whose rows fit into one file."""

    folder: str
    files: tuple[FileTally, ...]

    @property
    def rows(self) -> int:
        """How many rows they hold together."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """How long they are together."""
        return sum(file.bytes for file in self.files)


class Merged(NamedTuple):
    """What became of a merge: the new file, or why there is none."""

    merge: Merge
    file: FileTally | None = None
    error: str = ""


def plan(files: Iterable[FileTally], target: int) -> list[Merge]:
    """Return what to merge: neighbours in one folder, each shorter than half of a target, in bytes.

    Names tell the order in which files were written, and neighbours keep it: what was written between two
    others stays between them.
    """
    by_name = sorted(files, key=lambda file: (_folder(file), file.name))
    return [
        Merge(folder, tuple(run))
        for folder, found in groupby(by_name, key=_folder)
        for run in _runs(found, target)
        if len(run) > 1
    ]


def planned(destination: DatasetDestination) -> list[Merge]:
    """Return what there is to merge now."""
    return plan(destination.ledger.files(), destination.target_file_size)


def compact(destination: DatasetDestination) -> Iterator[Merged]:
    """Merge until nothing is left to merge; one that fails is told, left as it was, and not tried again.

    What somebody else merged meanwhile is planned anew: it has not failed.
    """
    failed: set[Merge] = set()
    while todo := [one for one in planned(destination) if one not in failed]:
        for one in todo:
            merged = _tried(destination, one)
            if merged.file is None:
                if not set(one.files) <= set(destination.ledger.files()):
                    continue
                failed.add(one)
            yield merged


def merge(destination: DatasetDestination, one: Merge) -> FileTally | None:
    """Let one file with the same rows take the place of some; return it.

    The rows are sorted by symbol and time, those of one symbol and time as they came. They are read back
    from the new file and compared before it is put in place, and the old ones go only then.

    Returns:
        None: somebody replaced or removed one of the files meanwhile.

    Raises:
        UnavailableError: A file cannot be read, or the file system cannot exchange folders.
        TransientError: What was read back is not what was written.
    """
    before = _read(destination, one)
    write = destination.file(one.folder, _sorted(before))
    if not np.array_equal(_fingerprints(before), _fingerprints(destination.decode(write.content))):
        raise TransientError(f"merging {len(one.files)} files changed their rows: they stay as they are")
    return destination.parts.replace([file.name for file in one.files], write)


def _folder(file: FileTally) -> str:
    return file.name.rpartition("/")[0]


def _runs(files: Iterable[FileTally], target: int) -> list[list[FileTally]]:
    runs: list[list[FileTally]] = [[]]
    length = 0
    for file in files:
        large = 2 * file.bytes >= target
        if large or length + file.bytes > target:
            runs.append([])
            length = 0
        if not large:
            runs[-1].append(file)
            length += file.bytes
    return runs


def _tried(destination: DatasetDestination, one: Merge) -> Merged:
    try:
        file = merge(destination, one)
    except DestinationError as error:
        return Merged(one, error=str(error))
    return Merged(one, file, "" if file else "changed by somebody else meanwhile")


def _read(destination: DatasetDestination, one: Merge) -> pa.Table:
    tables = []
    for file in one.files:
        try:
            tables.append(destination.decode(destination.parts.read(file.name)).cast(destination.schema))
        except (pa.ArrowException, ValueError) as error:
            raise UnavailableError(f"{file.name} cannot be read as {destination.format}: {error}") from error
    return pa.concat_tables(tables)


def _sorted(table: pa.Table) -> pa.Table:
    columns = [name for name in _ORDER if name in table.column_names]
    rows = pl.DataFrame(pl.from_arrow(table.select(columns))).with_row_index("row")
    return table.take(rows.sort(columns, maintain_order=True)["row"].to_arrow())


# One number for each row, in no order: two tables of the same rows have the same.
def _fingerprints(table: pa.Table) -> npt.NDArray[np.uint64]:
    return np.sort(pl.DataFrame(pl.from_arrow(table)).hash_rows().to_numpy())
