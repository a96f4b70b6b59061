"""What a reader of files gives: some rows, with their numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import polars as pl


class Block(NamedTuple):
    """Some rows of a file.

    Attributes:
        rows: A frame, or mappings and what could not be read as one.
        numbers: The number of each, from 1: of its first line, or of itself where there are no lines.
        done: Bytes of the file read so far.
    """

    rows: pl.DataFrame | list[Any]
    numbers: Sequence[int]
    done: int


class Reader(Protocol):
    """Reads the rows of one file, in one format, in its own columns.

    Attributes:
        counts: What stands between the file's name and the number of a row: `:` or ` row `.
        names: Its columns; None: every row names its own.
        nameless: Whether those are the positions of values, for lack of names.
    """

    counts: str
    names: list[str] | None
    nameless: bool

    def blocks(self, chunk: int, columns: Collection[str]) -> Iterator[Block]:
        """Yield so many rows at a time, the same ones every time; blocks may be empty.

        Args:
            chunk: How many.
            columns: Those that are needed; others may be left out.
        """
