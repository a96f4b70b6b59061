"""Read lines of CSV as rows of text: whole blocks at once, line by line where something is odd."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from operator import methodcaller
from typing import Any, Final

import polars as pl

from router.admission import Unreadable
from router.errors import ConfigError, DecodeError
from router.lines import Lines, fault_of, is_cut, unreadable
from router.names import nearest
from router.schema import COLUMNS

#: Columns that a file may lack.
OPTIONAL: Final = frozenset({"volume", "data_quality_score", "is_realtime", "technical_indicators"})
_commas: Final = methodcaller("count", b",")
_MAX_SPAN: Final = 64  # lines that one quoted record may take


class CsvRows:
    """The rows of a CSV file after its header.

    Raises:
        ConfigError: `csv.header`, if a column is missing or doubled.
        DecodeError: `envelope.encoding`, if the header is not UTF-8.
    """

    def __init__(self, lines: Lines, name: str, constants: Mapping[str, str]) -> None:
        """Read the header.

        Args:
            lines: The lines of the file.
            name: What to call it in errors.
            constants: Values of columns that the file lacks.
        """
        self._lines = lines
        self._names = _header(lines.take(), name)
        self._constants = {key: value for key, value in constants.items() if key not in self._names}
        _check_columns(self._names, self._constants, name)

    def read(self, block: list[bytes], first: int) -> tuple[pl.DataFrame | list[Any], Sequence[int]]:
        """Return the rows of a block and the line on which each starts.

        Args:
            block: Lines; those that the last record needs beyond it are taken and added.
            first: The number of the first of them.
        """
        data = b"".join(block)
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if self._is_plain(block, data):
            return self._frame(data), range(first, first + len(block))
        rows, numbers, at = [], [], 0
        while at < len(block):
            if not block[at].strip(b"\r\n"):
                at += 1
                continue
            row, span = self._row(block, at)
            rows.append(row)
            numbers.append(first + at)
            at += span
        return rows, numbers

    def _is_plain(self, block: list[bytes], data: bytes) -> bool:
        commas = len(self._names) - 1
        if commas == 0 or b'"' in data or b"\0" in data or b"\r" in data:
            return False
        if set(map(_commas, block)) != {commas} or any(map(is_cut, block)):
            return False
        return data.isascii() or fault_of(data) is None

    def _frame(self, data: bytes) -> pl.DataFrame:
        schema = dict.fromkeys(self._names, pl.String)
        frame = pl.read_csv(data, has_header=False, schema=schema, quote_char=None, infer_schema=False)
        constants = [pl.lit(value).alias(key) for key, value in self._constants.items()]
        return frame.select(name for name in self._names if name in COLUMNS).with_columns(constants)

    def _row(self, block: list[bytes], at: int) -> tuple[dict[str, Any] | Unreadable, int]:
        """Return the record that starts on a line, and how many lines it takes."""
        fault = fault_of(block[at])
        if fault is not None:
            return fault, 1
        cells, span = self._cells(block, at)
        if cells is None:
            message = "its quotes do not close before a comma, or it holds a lone carriage return"
            return unreadable(block[at], "csv.quotes", message), 1
        if len(cells) != len(self._names):
            message = f"has {len(cells)} cells where the header has {len(self._names)}"
            return unreadable(block[at], "csv.columns", message), 1
        pairs = zip(self._names, cells, strict=True)
        return {**self._constants, **{key: value or None for key, value in pairs if key in COLUMNS}}, span

    def _cells(self, block: list[bytes], at: int) -> tuple[list[str] | None, int]:
        text = block[at].decode()
        cells, span = _cells_of(text), 1
        while cells is None and text.count('"') % 2 and span < _MAX_SPAN:
            if at + span == len(block) and not self._lengthen(block):
                break
            if fault_of(block[at + span]) is not None:
                break
            text += block[at + span].decode()
            span += 1
            cells = _cells_of(text) if text.count('"') % 2 == 0 else None
        return cells, span

    def _lengthen(self, block: list[bytes]) -> bool:
        line = self._lines.take()
        if line:
            block.append(line)
        return bool(line)


def _cells_of(text: str) -> list[str] | None:
    try:
        records = list(csv.reader([text], strict=True))
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None


def _header(line: bytes, name: str) -> list[str]:
    try:
        names = _cells_of(line.decode()) or []
    except UnicodeDecodeError as error:
        raise DecodeError("envelope.encoding", f"{name}:1: the header is not UTF-8 text") from error
    if len(set(names)) != len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise ConfigError("csv.header", f"{name}:1", f"names the column {twice!r} twice")
    return names


def _check_columns(names: list[str], constants: Mapping[str, str], name: str) -> None:
    missing = [column for column in COLUMNS if column not in {*names, *constants} and column not in OPTIONAL]
    if missing:
        wanted = ", ".join(column + nearest(column, names) for column in missing)
        message = f"has no column {wanted}: rename columns, or give what holds for the whole file as defaults"
        raise ConfigError("csv.header", f"{name}:1", message)
