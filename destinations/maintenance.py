"""What `candlefleet maintain` asks of a destination that writes many small files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from destinations.records import FileTally


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
    """What became of a merge: the new files, or why there is none."""

    merge: Merge
    files: tuple[FileTally, ...] = ()
    error: str = ""


class Maintenance(ABC):
    """The upkeep of one destination, beside running workers; killed at any moment, it is begun again."""

    @abstractmethod
    def begun(self) -> bool:
        """Return whether anything was ever written."""

    @abstractmethod
    def missing(self, *, forget: bool) -> list[str]:
        """Return the files that somebody removed, and drop them from the record if told to."""

    @abstractmethod
    def planned(self) -> list[Merge]:
        """Return what there is to merge now."""

    @abstractmethod
    def merges(self) -> Iterator[Merged]:
        """Merge until nothing is left to merge; one that fails is told, and left as it was."""

    @abstractmethod
    def remove_unlisted(self, *, dry_run: bool) -> list[str]:
        """Remove files that no reader needs any more; return the names of those worth telling."""


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


def fingerprints(tables: Iterable[pa.Table]) -> npt.NDArray[np.uint64]:
    """Return one number for each row of some tables, in no order: those of the same rows are the same."""
    hashed = [pl.DataFrame(pl.from_arrow(table)).hash_rows().to_numpy() for table in tables]
    return np.sort(np.concatenate(hashed))


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
