"""Read what deliveries left in a training set's folder: its part files, and which of their rows count.

`TrainingParts.of(path)` takes the list of files once; a fleet may go on writing, and what it writes later is
not in it. Then

- `options` are those of `dataset.json`;
- `parts` are the files, in the order in which they were written, over all splits;
- `batches()` gives the rows that count, as `(split, table)`, in that order, few enough at a time to be held
  in memory, with exactly the columns of `options.schema()` whichever the format is; `batches(columns=…)`
  gives some columns, which is much faster, and `batches(splits=…)` the rows of some splits;
- `counts()` says how many rows count in each split, `purged` being one; `digest()` names the files.

Of an `example_id` the row written last counts, wherever it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from destinations.training.options import PARTS, PURGED, SETTINGS, TrainingOptions
from destinations.training.read_parts import read_part
from router.errors import ConfigError

_ID: Final = "example_id"
_FOLDER: Final = "split="
_NAME: Final = re.compile(r"part-(\d{16})-[0-9a-f]+\.(jsonl|parquet)")

Mask = npt.NDArray[np.bool_]


class Part(NamedTuple):
    """One file of examples: its place in the order of writing, its split, and where it is."""

    number: int
    split: str
    path: Path


class Batch(NamedTuple):
    """Some examples of one split, in the order in which they were written."""

    split: str
    table: pa.Table


@dataclass(frozen=True)
class TrainingParts:
    """The part files of one training set, as they were listed.

    Attributes:
        path: The training set's folder.
        options: What its examples are.
        parts: Its files, in the order in which they were written.
    """

    path: Path
    options: TrainingOptions
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """List the files of a training set.

        Raises:
            ConfigError: `dataset.missing`, `dataset.settings`, or `dataset.part` for a file that is none.
        """
        folder = Path(path)
        options = read_options(folder)
        found = [part for split in _folders(folder) for part in _listed(split, options)]
        return cls(folder, options, tuple(sorted(found)))

    def batches(
        self, columns: Sequence[str] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[Batch]:
        """Return the rows that count, in the order in which they were written.

        Args:
            columns: Which columns, in the order of the schema; None: all.
            splits: Those of which splits; None: of all, the purged ones too.

        Raises:
            ConfigError: `dataset.part`, if a file cannot be read or holds something else.
        """
        for part, keep in zip(self.parts, self._kept, strict=True):
            if keep.any() and (splits is None or part.split in splits):
                yield from _some(part, keep, read_part(part.path, self.options, columns))

    def counts(self) -> dict[str, int]:
        """Return how many rows count, by split in the order of time, the purged ones last; all are named."""
        found = {split.name: 0 for split in self.options.splits} | {PURGED: 0}
        for part, keep in zip(self.parts, self._kept, strict=True):
            found[part.split] += int(keep.sum())
        return found

    def digest(self) -> str:
        """Return what stands for these files, in hexadecimal: none of them is ever changed."""
        names = "\n".join(part.path.relative_to(self.path).as_posix() for part in self.parts)
        return hashlib.sha256(names.encode()).hexdigest()

    # For each part, which of its rows no later one replaces: one look at the ids alone.
    @cached_property
    def _kept(self) -> list[Mask]:
        ids = [list(read_part(part.path, self.options, [_ID])) for part in self.parts]
        ends = np.cumsum([0, *(sum(map(len, tables)) for tables in ids)])
        tables = [table for of_part in ids for table in of_part]
        if not tables:
            return [np.zeros(0, dtype=np.bool_) for _ in self.parts]
        written = pl.Series(pa.concat_tables(tables)[_ID])
        last = written.is_last_distinct().to_numpy()
        return [last[start:end] for start, end in pairwise(ends)]


def read_options(folder: Path) -> TrainingOptions:
    """Return what the examples of a training set are.

    Raises:
        ConfigError: `dataset.missing`, if there is none in that folder, or `dataset.settings`.
    """
    file = folder / SETTINGS
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        message = f"is no training set: {SETTINGS}, which llm_dataset writes first, is not there"
        raise ConfigError("dataset.missing", str(folder), message) from None
    try:
        return TrainingOptions.from_json(text)
    except ConfigError as error:
        raise error.at(str(file)) from error


def _folders(folder: Path) -> list[Path]:
    parts = folder / PARTS
    return _entries(parts) if parts.is_dir() else []


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]


def _listed(folder: Path, options: TrainingOptions) -> Iterator[Part]:
    split = folder.name.removeprefix(_FOLDER)
    known = {PURGED, *(one.name for one in options.splits)}
    if not folder.is_dir() or split == folder.name or split not in known:
        raise _foreign(folder, f"is no folder of a split: those are {', '.join(sorted(known))}")
    for file in _entries(folder):
        named = _NAME.fullmatch(file.name)
        if named is None or named[2] != options.format:
            raise _foreign(file, f"is not named as part files of {options.format} are")
        yield Part(int(named[1]), split, file)


def _foreign(path: Path, message: str) -> ConfigError:
    return ConfigError("dataset.part", str(path), f"{message}; move it out of this folder")


def _some(part: Part, keep: Mask, tables: Iterator[pa.Table]) -> Iterator[Batch]:
    start = 0
    for table in tables:
        here = keep[start : start + len(table)]
        start += len(table)
        if here.all():
            yield Batch(part.split, table)
        elif here.any():
            yield Batch(part.split, table.filter(pa.array(here)))
