"""Read JSON: a point on each line, or one document with rows or columns in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from router.admission import Unreadable
from router.blocks import Block
from router.column_names import ALIASES
from router.decode import Limits, decode_json, parse_json
from router.errors import ConfigError, DecodeError, Reason
from router.lines import Lines, fault_of, unreadable
from router.nameless import LEAST, fits, positions
from router.originals import original_text
from router.schema import PRICES
from router.sources import Source

#: Bytes that a document may have, which is read into memory as a whole.
MAX_DOCUMENT: Final = 64 * 1024 * 1024
_LIMITS: Final = Limits(bytes=MAX_DOCUMENT, points=MAX_DOCUMENT)
_ONE_EACH: Final = (
    "is not one point: write one object per line, or all of it as one JSON list (--format json)"
)
_DEEP: Final = 4  # objects in objects that an answer has around its rows


class JsonLines:
    """The points of a file that has one on each line; blank lines are skipped."""

    counts = ":"
    names: list[str] | None = None
    nameless = False

    def __init__(self, source: Source) -> None:
        """Take a source that stands at its beginning."""
        self._lines = Lines(source)

    def blocks(self, chunk: int, columns: Collection[str]) -> Iterator[Block]:
        """Yield the points of so many lines at a time."""
        for block, first in self._lines.blocks(chunk):
            numbered = [(first + at, line) for at, line in enumerate(block) if not line.isspace()]
            rows = [row_of_line(line) for _, line in numbered]
            yield Block(rows, [number for number, _ in numbered], self._lines.done())


class JsonDocument:
    """The rows of one JSON document.

    Attributes:
        names: The positions of values, if its rows are lists.

    Raises:
        ConfigError: `json.shape`, if there are no rows in it, or several lists of them.
        DecodeError: What `parse_json` raises, or what damaged the file.
    """

    counts = " row "

    def __init__(self, source: Source) -> None:
        """Read the whole document."""
        self._source = source
        data = source.stream.read(MAX_DOCUMENT + 1)
        if source.fault is not None:
            raise source.fault
        if len(data) > MAX_DOCUMENT:
            message = (
                f"is over {MAX_DOCUMENT >> 20} MiB, the most that one JSON document may have: "
                "write a point on each line (NDJSON), or Parquet"
            )
            raise DecodeError("envelope.size", message)
        self._rows = _rows_in(parse_json(data, _LIMITS), source.name)
        widths = Counter(len(row) for row in self._rows if isinstance(row, list))
        width = widths.most_common(1)[0][0] if widths else 0
        self.nameless = bool(widths)
        self.names = positions(width + (width == LEAST)) if widths else None

    def blocks(self, chunk: int, columns: Collection[str]) -> Iterator[Block]:
        """Yield so many rows at a time."""
        total = len(self._rows)
        for start in range(0, total, chunk):
            rows = [self._row(row) for row in self._rows[start : start + chunk]]
            numbers = range(start + 1, start + len(rows) + 1)
            yield Block(rows, numbers, self._source.taken() * numbers[-1] // total)

    def _row(self, row: Any) -> Any:
        if self.names is None or not isinstance(row, list):
            return row
        if not fits(row, self.names):
            message = f"has {len(row)} values where most rows of this file have {len(self.names)}"
            return Unreadable(original_text(row), (Reason("json.row", "", message),))
        return dict(zip(self.names, row, strict=False))


def is_lines(head: bytes) -> bool:
    """Return whether JSON that begins like this has one point on each line, and is no document."""
    line = head.lstrip().partition(b"\n")[0].strip()
    if not line.startswith(b"{") or not line.endswith(b"}"):
        return False
    try:
        (row,) = decode_json(line)
    except DecodeError:
        return b"\n" in head  # a line longer than what was seen of it is a document
    lists = any(isinstance(value, list) for value in row.values()) or any(_lists_in(row).values())
    return _is_point(row) or not lists


def row_of_line(line: bytes) -> Any:
    """Return the object of one line, as `router.admission.admit` takes it; `Unreadable` if it is none."""
    fault = fault_of(line)
    if fault is not None:
        return fault
    try:
        rows = decode_json(line)
    except DecodeError as error:
        message = _ONE_EACH if error.code == "envelope.shape" else error.message
        return unreadable(line, error.code, message)
    if len(rows) != 1 or not line.lstrip().startswith(b"{"):
        return unreadable(line, "envelope.shape", _ONE_EACH)
    return rows[0]


def _rows_in(document: Any, where: str) -> Sequence[Any]:
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise ConfigError("json.shape", where, "holds no bars: write a list of points")
    if _is_point(document):
        return [document]
    columns = {key: value for key, value in document.items() if key.lower() in ALIASES}
    if columns and all(isinstance(value, list) for value in columns.values()):
        return _of_columns({key: v for key, v in document.items() if isinstance(v, list)}, where)
    lists = _lists_in(document)
    lists = {path: rows for path, rows in lists.items() if rows} or lists
    if lists and (len(lists) == 1 or not any(lists.values())):
        return next(iter(lists.values()))
    if columns and not lists:
        return [document]
    if lists:
        message = f"holds several lists of rows ({', '.join(lists)}): send each alone, with its --symbol"
    else:
        message = f"holds no list of rows (it has {', '.join(document) or 'nothing'}): write a list of points"
    raise ConfigError("json.shape", where, message)


def _lists_in(document: Mapping[str, Any], path: str = "", depth: int = 1) -> dict[str, list[Any]]:
    """Return the lists of rows in an object and in the objects in it, by their paths."""
    found: dict[str, list[Any]] = {}
    for key, value in document.items():
        if _is_rows(value):
            found[f"{path}{key}"] = value
        elif isinstance(value, dict) and key.lower() not in ALIASES and depth < _DEEP:
            found |= _lists_in(value, f"{path}{key}.", depth + 1)
    return found


def _is_point(value: Mapping[str, Any]) -> bool:
    found = {ALIASES.get(key.lower()) for key, one in value.items() if not isinstance(one, list | dict)}
    return found >= set(PRICES)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict | list) for row in value)


def _of_columns(columns: Mapping[str, list[Any]], where: str) -> list[dict[str, Any]]:
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise ConfigError("json.shape", where, f"its columns are not of one length: {told}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
