"""Make large files of a dataset's small ones, and check that not a row was changed by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from destinations.dataset import DatasetDestination
from destinations.maintenance import Maintenance, Merge, Merged, fingerprints, plan
from destinations.records import FileTally
from router.errors import DestinationError, TransientError, UnavailableError

#: What the rows of a merged file are sorted by, so that its statistics rule out most of it for most queries.
_ORDER: Final = ("symbol", "timestamp")


class DatasetMaintenance(Maintenance):
    """What `candlefleet maintain` does for a dataset."""

    def __init__(self, dataset: DatasetDestination) -> None:
        """Remember it; nothing is opened."""
        self._dataset = dataset

    def begun(self) -> bool:
        """Return whether anything was ever written."""
        return self._dataset.ledger.exists()

    def missing(self, *, forget: bool) -> list[str]:
        """Return the files that somebody removed, and drop them from the ledger if told to."""
        return self._dataset.parts.missing(forget=forget)

    def planned(self) -> list[Merge]:
        """Return what there is to merge now."""
        return planned(self._dataset)

    def merges(self) -> Iterator[Merged]:
        """Merge until nothing is left to merge."""
        return compact(self._dataset)

    def remove_unlisted(self, *, dry_run: bool) -> list[str]:
        """Remove what was replaced, which no reader finds any more; there is nothing else to tell."""
        if not dry_run:
            self._dataset.parts.remove_replaced()
        return []


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
            if not merged.files:
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
    if not np.array_equal(fingerprints([before]), fingerprints([destination.decode(write.content)])):
        raise TransientError(f"merging {len(one.files)} files changed their rows: they stay as they are")
    return destination.parts.replace([file.name for file in one.files], write)


def _tried(destination: DatasetDestination, one: Merge) -> Merged:
    try:
        file = merge(destination, one)
    except DestinationError as error:
        return Merged(one, error=str(error))
    return Merged(one, (file,)) if file else Merged(one, error="changed by somebody else meanwhile")


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
