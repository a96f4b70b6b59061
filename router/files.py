"""Read files of bars in chunks that are the same every time, each row with its place."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl

from router.arrangement import Arrangement, Understood
from router.blocks import Reader
from router.csv_rows import CsvRows
from router.errors import ConfigError, DecodeError
from router.layout import Layout
from router.nameless import by_position
from router.read_json import JsonDocument, JsonLines, is_lines
from router.read_tables import MAGIC, TableRows
from router.rules import check_word
from router.sources import Source, open_file, opened
from router.unpack import PACKINGS

_READERS: Final[Mapping[str, Callable[[Source], Reader]]] = {
    "csv": CsvRows,
    "ndjson": JsonLines,
    "json": JsonDocument,
    "parquet": TableRows,
    "arrow": TableRows,
}
#: The formats that can be named.
FORMATS: Final = tuple(_READERS)
_SUFFIXES: Final = {
    ".csv": "csv",
    **dict.fromkeys((".ndjson", ".jsonl"), "ndjson"),
    ".json": "json",
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".arrows", ".ipc", ".feather"), "arrow"),
}
_PACKED: Final = tuple(packing.suffix for packing in PACKINGS)
_PLAIN: Final = Layout()
#: What files begin with that are not read, and what to do about it.
_FOREIGN: Final = {
    b"PK\x03\x04": "is a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"\x04\x22\x4d\x18": "is packed as lz4: unpack it",
    **dict.fromkeys((packing.magic for packing in PACKINGS), "is packed twice: unpack it once"),
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, ready for `router.admission.admit(chunk.rows, where=chunk.where)`.

    Attributes:
        index: Counts the chunks from 0; the same content has the same chunks every time.
        rows: A frame, or mappings and what could not be read as one.
        lines: The line of the file, from 1, on which each row starts; its own number where there are none.
        name: What to call the file.
        counts: What stands between that and the number of a row.
        bytes_read: Bytes of the file up to the end of this chunk.
        bytes_total: Bytes of the file; None for a stream.
        understood: How the file was read, up to the end of this chunk.
    """

    index: int
    rows: pl.DataFrame | list[Any]
    lines: Sequence[int]
    name: str
    counts: str
    bytes_read: int
    bytes_total: int | None
    understood: Understood

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """Return where a row of this chunk stands, such as `equity.csv:17` or `equity.parquet row 16`."""
        return f"{self.name}{self.counts}{self.lines[row]}"


def read_bars(
    source: str | Path | BinaryIO,
    format: str | None = None,
    chunk: int = 10_000,
    layout: Layout = _PLAIN,
) -> Iterator[Chunk]:
    """Yield the bars of a file, or of standard input, a chunk at a time.

    What cannot be read as a row is an `Unreadable` one, refused alone; blank lines and unknown columns
    are skipped, and empty cells are absent. Where a file is damaged, what stands before that comes first.

    Args:
        source: A path, `-` for standard input, or a binary stream; packed as gzip, zstd, bz2 or xz or not.
        format: One of `FORMATS`; None: by how the content begins, and by the file's suffix.
        chunk: Lines or rows that a chunk holds, save those of a record that began on the last of them.
        layout: What the file does not say itself.

    Raises:
        ConfigError: `path`; `enum` for the format; `csv.header`, `json.shape`, `columns`, or a code of
            timestamps that holds for every row of the first chunk.
        DecodeError: `envelope.*`, if the file cannot be read, or no further.
    """
    with opened(source) as file:
        form = _checked(format) if format is not None else _format_of(file)
        last = file.name
        try:
            for one in _chunks(file, _READERS[form](file), form, chunk, layout):
                last = one.where(len(one) - 1)
                yield one
            if file.fault is not None:
                raise file.fault
        except DecodeError as error:
            read = "" if last == file.name else f"; everything up to {last} was read"
            raise DecodeError(error.code, f"{file.name}: {error.message}{read}") from error
        except OSError as error:
            raise ConfigError("path", file.name, f"cannot be read further: {error.strerror}") from error


def content_key(path: str | Path) -> str:
    """Return a name for the content of a file: 32 hexadecimal digits of its SHA-256.

    Raises:
        ConfigError: `path`, if it cannot be read.
    """
    with open_file(path) as file:
        return file_digest(file, "sha256").hexdigest()[:32]


def _chunks(file: Source, reader: Reader, form: str, size: int, layout: Layout) -> Iterator[Chunk]:
    told = form if file.packing is None else f"{form} in {file.packing.name}"
    if reader.nameless:
        layout = by_position(layout, reader.names or (), file.name)
    arrangement = None if reader.names is None else Arrangement(layout, reader.names, file.name, told)
    for index, block in enumerate(reader.blocks(size, arrangement.wanted() if arrangement else ())):
        if not len(block.rows):
            continue
        if arrangement is None and any(isinstance(row, dict) for row in block.rows):
            arrangement = Arrangement(layout, _keys_of(block.rows), file.name, told, fixed=False)
        rows = arrangement.arranged(block.rows) if arrangement else block.rows
        understood = arrangement.understood() if arrangement else Understood(told)
        place = file.name, reader.counts
        yield Chunk(index, rows, block.numbers, *place, block.done, file.total, understood)


def _keys_of(rows: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))


def _checked(form: str) -> str:
    check_word("format", form, FORMATS)
    return form


def _format_of(file: Source) -> str:
    for magic, form in MAGIC.items():
        if file.head.startswith(magic):
            return form
    for magic, message in _FOREIGN.items():
        if file.head.startswith(magic):
            raise ConfigError("enum", file.name, message)
    path = Path(file.name.lower())
    suffix = path.with_suffix("").suffix if path.suffix in _PACKED else path.suffix
    form = _SUFFIXES.get(suffix, "")
    text = file.head.removeprefix(BOM_UTF8).lstrip()
    if form == "json" or (not form and text[:1] in (b"{", b"[")):
        return "ndjson" if is_lines(text) else "json"
    if not form and b"\0" in text:
        known = ", ".join(_SUFFIXES)
        message = f"has none of the suffixes {known}, and its content is none of these: name its --format"
        raise ConfigError("enum", file.name, message)
    return form or "csv"
