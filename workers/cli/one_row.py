"""Find the one row somebody asked for: in a file, on standard input, or on the command line itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from router.decode import decode_json
from router.errors import ConfigError, DecodeError
from router.files import Chunk, read_bars

_WITH_LINE: Final = re.compile(r"(?P<file>.+):(?P<line>[0-9]{1,15})", re.DOTALL)


class OneRow(NamedTuple):
    """A row as `router.admission.admit` takes it, and where it stands."""

    rows: Any
    where: str


def of_text(point: str, row: int | None) -> OneRow:
    """Return the point that a JSON text is.

    Raises:
        DecodeError: It is not JSON, or no point.
        ConfigError: ``row``, if it holds several and none is named, or fewer than that.
    """
    return _of_list(decode_json(point.encode(errors="surrogateescape")), "--point", row)


def of_input(row: int | None, format_: str | None) -> OneRow:
    """Return a row of standard input: JSON over any number of lines, or whatever a file of bars holds.

    Raises:
        ConfigError: ``row``, or as `router.files.read_bars`.
    """
    data = sys.stdin.buffer.read()
    if format_ is None:
        try:
            return _of_list(decode_json(data), "standard input", row)
        except DecodeError as error:
            if error.code != "envelope.not_json":
                raise
    return _at_row(BytesIO(data), "standard input", row, format_)


def of_file(name: str, row: int | None, format_: str | None) -> OneRow:
    """Return a row of a file, named by its number or as ``FILE:LINE``.

    Raises:
        ConfigError: ``row``, if there is no such row or none is named, or as `router.files.read_bars`.
    """
    named = None if Path(name).exists() else _WITH_LINE.fullmatch(name)
    if named is None:
        return _at_row(Path(name), name, row, format_)
    if row is not None:
        raise ConfigError("row", name, "names a line already: leave out --row")
    return _at_line(named["file"], int(named["line"]), format_)


def _of_list(rows: Sequence[Any], name: str, row: int | None) -> OneRow:
    if row is None and len(rows) != 1:
        raise _which(name)
    if row is not None and row > len(rows):
        raise ConfigError("row", name, f"has no row {row:,}: it holds {len(rows):,}")
    at = 0 if row is None else row - 1
    return OneRow([rows[at]], f"{name}, row {at + 1}")


def _at_line(name: str, line: int, format_: str | None) -> OneRow:
    last = 0
    for chunk in read_bars(Path(name), format=format_):
        if line in chunk.lines:
            return _row_of(chunk, chunk.lines.index(line))
        last = chunk.lines[-1]
    raise ConfigError("row", f"{name}:{line}", f"no row starts on this line: the last starts on {last:,}")


# Without a row there must be one only, which is known when all were seen.
def _at_row(source: Path | BinaryIO, name: str, row: int | None, format_: str | None) -> OneRow:
    count, found = 0, None
    for chunk in read_bars(source, format=format_):
        at = (row or 1) - 1 - count
        count += len(chunk)
        if row is None and count > 1:
            raise _which(name)
        if 0 <= at < len(chunk):
            found = _row_of(chunk, at)
            if row is not None:
                break
    if found is None:
        raise ConfigError("row", name, f"has no row {row or 1:,}: it holds {count:,}")
    return found


# Of a frame a slice is taken, so that it is judged as `send` has it judged.
def _row_of(chunk: Chunk, at: int) -> OneRow:
    return OneRow(chunk.rows[at : at + 1], chunk.where(at))


def _which(name: str) -> ConfigError:
    return ConfigError("row", name, "holds several rows: say which with --row N, or as FILE:LINE")
