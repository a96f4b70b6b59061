"""Read files of bars in chunks that are the same every time, each row with its line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from os import fstat
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, Final

import polars as pl

from router.csv_rows import CsvRows
from router.decode import decode_json
from router.errors import ConfigError, DecodeError
from router.lines import Lines, fault_of, unreadable
from router.names import nearest
from router.schema import COLUMNS

_FORMATS: Final = ("csv", "ndjson")
_SUFFIXES: Final = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}

#: Turns lines, the first of which has this number, into rows and the line on which each starts.
Reader = Callable[[list[bytes], int], tuple[pl.DataFrame | list[Any], Sequence[int]]]


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
    format: str | None = None,
    chunk: int = 10_000,
    defaults: Mapping[str, str] | None = None,
) -> Iterator[Chunk]:
    """Yield the bars of a file, or of standard input, a chunk at a time.

    A line that cannot be read is an `Unreadable` row, refused alone; blank lines and unknown columns
    are skipped, and empty cells are absent.

    Args:
        source: A path, `-` for standard input, or a binary stream.
        format: `csv` or `ndjson`; None: by the file's suffix, or a stream's first character.
        chunk: Lines a chunk holds, save those of a record that began on the last of them.
        defaults: Values of columns that the file does not have.

    Raises:
        ConfigError: `path`, `enum` for the format, `csv.header` for columns, `unknown_field` for defaults.
        DecodeError: `envelope.encoding`, if a header is not UTF-8.
    """
    constants = _known(defaults or {})
    with _opened(source) as (stream, name, total):
        lines = Lines(stream)
        read = _reader(lines, format or _format_of(name, lines), name, constants)
        for index, block in enumerate(iter(partial(lines.block, chunk), [])):
            rows, numbers = read(block, lines.count - len(block) + 1)
            if len(rows):
                yield Chunk(index, rows, numbers, name, lines.bytes_read, total)


def content_key(path: str | Path) -> str:
    """Return a name for the content of a file: 32 hexadecimal digits of its SHA-256."""
    with Path(path).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:32]


def _known(defaults: Mapping[str, str]) -> Mapping[str, str]:
    for name in defaults:
        if name not in COLUMNS:
            raise ConfigError(
                "unknown_field", f"defaults.{name}", f"is no column of a point{nearest(name, COLUMNS)}"
            )
    return defaults


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[tuple[BinaryIO, str, int | None]]:
    if not isinstance(source, str | Path):
        name = getattr(source, "name", None)
        yield source, Path(name).name if isinstance(name, str) else "stream", None
    elif str(source) == "-":
        yield sys.stdin.buffer, "stdin", None
    else:
        try:
            file = Path(source).open("rb")  # noqa: SIM115 - closed below, its errors are not
        except OSError as error:
            raise ConfigError("path", str(source), f"cannot be read: {error.strerror}") from error
        with file:
            status = fstat(file.fileno())
            yield file, Path(source).name, status.st_size if S_ISREG(status.st_mode) else None


def _format_of(name: str, lines: Lines) -> str:
    suffix = Path(name).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix:
        raise ConfigError("enum", name, f"has none of the suffixes {', '.join(_SUFFIXES)}: name its format")
    return "ndjson" if lines.first().lstrip()[:1] == b"{" else "csv"


def _reader(lines: Lines, form: str, name: str, constants: Mapping[str, str]) -> Reader:
    if form == "csv":
        return CsvRows(lines, name, constants).read
    if form == "ndjson":
        return partial(_json_rows, constants)
    raise ConfigError(
        "enum", "format", f"{form!r} is not one of csv, ndjson{nearest(form, ('csv', 'ndjson'))}"
    )


def _json_rows(constants: Mapping[str, str], block: list[bytes], first: int) -> tuple[list[Any], list[int]]:
    numbered = [(first + at, line) for at, line in enumerate(block) if not line.isspace()]
    return [_json_row(line, constants) for _, line in numbered], [number for number, _ in numbered]


def _json_row(line: bytes, constants: Mapping[str, str]) -> Any:
    fault = fault_of(line)
    if fault is not None:
        return fault
    try:
        rows = decode_json(line)
    except DecodeError as error:
        return unreadable(line, error.code, error.message)
    if len(rows) != 1 or not line.lstrip().startswith(b"{"):
        return unreadable(line, "envelope.shape", "is not one point: write one object per line")
    return {**constants, **rows[0]} if constants else rows[0]
