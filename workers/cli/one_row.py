"""Find the one row somebody asked for: in a file, on standard input, or on the command line itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from router.decode import decode_json
from router.errors import ConfigError, DecodeError
from router.files import Chunk, read_bars
from router.layout import Layout

#: A place as other commands print it: `equity.csv:17`, `equity.parquet row 16`.
_PLACE: Final = re.compile(r"(?P<file>.+)(?::| row )(?P<line>[0-9]{1,15})", re.DOTALL)
_PLAIN: Final = Layout()
#: What may be another kind of file, if it is no JSON of points.
_OTHER: Final = ("envelope.not_json", "envelope.shape")


class Asked(NamedTuple):
    """What is said of a row beside where it is: its number, the format, what the file does not say."""

    row: int | None = None
    format: str | None = None
    layout: Layout = _PLAIN


class OneRow(NamedTuple):
    """A row as `router.admission.admit` takes it, and where it stands."""

    rows: Any
    where: str


def of_point(text: str, asked: Asked) -> OneRow:
    """Return the point that a JSON text is.

    Raises:
        DecodeError: It is not JSON, or no point.
        ConfigError: ``row``, if it holds several and none is named, or fewer than that.
    """
    data = text.encode(errors="surrogateescape")
    if asked._replace(row=None) != Asked():
        return _at_row(BytesIO(data), "--point", asked)
    return _of_list(decode_json(data), "--point", asked.row)


def of_input(data: bytes, asked: Asked) -> OneRow:
    """Return a row of what standard input held: JSON over any number of lines, or what a file of bars holds.

    Raises:
        ConfigError: ``row``, or as `router.files.read_bars`.
        DecodeError: As `router.files.read_bars`.
    """
    if asked._replace(row=None) == Asked():
        try:
            return _of_list(decode_json(data), "standard input", asked.row)
        except DecodeError as error:
            if error.code not in _OTHER:
                raise
    return _at_row(BytesIO(data), "standard input", asked)


def of_file(name: str, asked: Asked) -> OneRow:
    """Return a row of a file, named by its number or by its place as other commands print it.

    Raises:
        ConfigError: ``row``, if there is no such row or none is named, or as `router.files.read_bars`.
        DecodeError: As `router.files.read_bars`.
    """
    named = None if Path(name).exists() else _PLACE.fullmatch(name)
    if named is None:
        return _at_row(Path(name), name, asked)
    if asked.row is not None:
        raise ConfigError("row", name, "names a row already: leave out --row")
    return _at_line(Path(named["file"]), int(named["line"]), asked)


def _of_list(rows: Sequence[Any], name: str, row: int | None) -> OneRow:
    if row is None and len(rows) != 1:
        raise _which(name)
    if row is not None and row > len(rows):
        raise ConfigError("row", name, f"has no row {row:,}: it holds {len(rows):,}")
    at = 0 if row is None else row - 1
    return OneRow([rows[at]], f"{name}, row {at + 1}")


def _at_line(path: Path, line: int, asked: Asked) -> OneRow:
    last = "there is none"
    for chunk in read_bars(path, format=asked.format, layout=asked.layout):
        if line in chunk.lines:
            return _row_of(chunk, chunk.lines.index(line))
        last = f"the last is {chunk.where(-1)}"
    raise ConfigError("row", f"{path}:{line}", f"no row starts there: {last}")


# Without a row there must be one only, which is known when all were seen.
def _at_row(source: Path | BinaryIO, name: str, asked: Asked) -> OneRow:
    count, found = 0, None
    for chunk in read_bars(source, format=asked.format, layout=asked.layout):
        at = (asked.row or 1) - 1 - count
        count += len(chunk)
        if asked.row is None and count > 1:
            raise _which(name)
        if 0 <= at < len(chunk):
            found = _row_of(chunk, at)
            if asked.row is not None:
                break
    if found is None:
        raise ConfigError("row", name, f"has no row {asked.row or 1:,}: it holds {count:,}")
    return found


# Of a frame a slice is taken, so that it is judged as `send` has it judged.
def _row_of(chunk: Chunk, at: int) -> OneRow:
    return OneRow(chunk.rows[at : at + 1], chunk.where(at))


def _which(name: str) -> ConfigError:
    return ConfigError("row", name, "holds several rows: say which with --row N, or as FILE:LINE")
