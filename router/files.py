"""Read files of bars in chunks that are the same every time, each row with its line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl

from router.admission import Unreadable
from router.csv_rows import CsvReader
from router.decode import LIMITS, decode_json
from router.errors import ConfigError, DecodeError, Reason
from router.lines import Lines, text_of
from router.names import nearest
from router.schema import COLUMNS

_SUFFIXES: Final = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_FORMATS: Final = ("csv", "ndjson")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, ready for `router.admission.admit(chunk.rows, where=chunk.where)`.

    Attributes:
        index: Counts the chunks from 0; the same content has the same chunks every time.
        rows: A frame of text columns, or mappings and what could not be read as one.
        lines: The line of the file, from 1, on which each row starts.
        name: What to call the file.
        bytes_read: Bytes of the file up to the end of this chunk.
        bytes_total: Bytes of the file; None for a stream.
    """

    index: int
    rows: pl.DataFrame | list[Any]
    lines: Sequence[int]
    name: str
    bytes_read: int
    bytes_total: int | None

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """Return where a row of this chunk stands, such as `equity.csv:17`."""
        return f"{self.name}:{self.lines[row]}"


def read_bars(
    source: str | Path | BinaryIO,
    format: str | None = None,  # noqa: A002
    chunk: int = 10_000,
    defaults: Mapping[str, str] | None = None,
) -> Iterator[Chunk]:
    """Yield the bars of a file, or of standard input, a chunk at a time.

    Lines that cannot be read are among the rows as `Unreadable`, to be refused alone; blank lines are
    skipped, unknown columns ignored, and empty cells are absent.

    Args:
        source: A path, `-` for standard input, or a binary stream.
        format: `csv` or `ndjson`; None: by the file's suffix, or a stream's first character.
        chunk: Lines a chunk holds, save those of a record that began on the last of them.
        defaults: Values of columns that the file does not have.

    Raises:
        ConfigError: `path`, `enum` for the format, `csv.header` for missing or doubled columns,
            `unknown_field` for a default that is no column.
        DecodeError: `envelope.encoding`, if a header is not UTF-8.
    """
    constants = _checked_defaults(defaults or {})
    with _opened(source) as (stream, name, total):
        kind = _format(source, format, stream, name)
        lines = Lines(stream)
        reader: Callable[[], tuple[pl.DataFrame | list[Any], Sequence[int]]]
        ...


def content_key(path: str | Path) -> str:
    """Return a name for the content of a file: 32 hexadecimal digits of its SHA-256."""
    with Path(path).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:32]
