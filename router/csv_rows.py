"""Read lines of CSV as rows of text: whole blocks at once, line by line where something is odd."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from operator import methodcaller
from typing import Any, Final

import polars as pl

from router.admission import Unreadable
from router.blocks import Block
from router.errors import ConfigError, DecodeError
from router.lines import MAX_LINE, Lines, fault_of, unreadable
from router.nameless import positions
from router.schema import PRICES
from router.sources import Source

_OTHER_MARKS: Final = (";", "\t", "|")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]*)?")
_OPEN_QUOTE: Final = "its quotes do not close before a comma"
_LONE_RETURN: Final = "holds a lone carriage return"
_commas: Final = methodcaller("count", b",")
_MAX_SPAN: Final = 64  # lines that one quoted record may take


class CsvRows:
    """The rows of a CSV file after its header, as text.

    Attributes:
        names: Its columns.

    Raises:
        ConfigError: `csv.header`, if a column is doubled, or its cells are not parted by commas.
        DecodeError: `envelope.encoding`, if the header is not UTF-8.
    """

    counts = ":"

    def __init__(self, source: Source) -> None:
        """Read the header."""
        self._lines = Lines(source)
        first = self._lines.take()
        if source.fault is not None and not first.strip():
            raise source.fault
        names = _names(first, source.name)
        self.nameless = sum(_NUMBER.fullmatch(name) is not None for name in names) >= len(PRICES)
        if self.nameless:
            self._lines.give_back(first)
        self._header = positions(len(names)) if self.nameless else _checked(names, source.name)
        self.names: list[str] | None = self._header

    def blocks(self, chunk: int, columns: Collection[str]) -> Iterator[Block]:
        """Yield the rows of so many lines at a time."""
        for block, first in self._lines.blocks(chunk):
            yield Block(*self._read(block, first), self._lines.done())

    def _read(self, block: list[bytes], first: int) -> tuple[pl.DataFrame | list[Any], Sequence[int]]:
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
        commas = len(self._header) - 1
        if commas == 0 or b'"' in data or b"\0" in data or b"\r" in data:
            return False
        if set(map(_commas, block)) != {commas} or max(map(len, block)) >= MAX_LINE:
            return False
        return data.isascii() or fault_of(data) is None

    def _frame(self, data: bytes) -> pl.DataFrame:
        schema = dict.fromkeys(self._header, pl.String)
        return pl.read_csv(data, has_header=False, schema=schema, quote_char=None, infer_schema=False)

    def _row(self, block: list[bytes], at: int) -> tuple[dict[str, Any] | Unreadable, int]:
        """Return the record that starts on a line, and how many lines it takes."""
        fault = fault_of(block[at])
        if fault is not None:
            return fault, 1
        cells, span = self._cells(block, at)
        if cells is None:
            return unreadable(block[at], "csv.quotes", f"{_OPEN_QUOTE}, or it {_LONE_RETURN}"), 1
        if len(cells) != len(self._header):
            message = f"has {len(cells)} cells where the first line has {len(self._header)}"
            return unreadable(block[at], "csv.columns", message), 1
        return {key: value or None for key, value in zip(self._header, cells, strict=True)}, span

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


def _names(line: bytes, name: str) -> list[str]:
    if not line.strip():
        raise _unnamed(name, "is empty: the first line of CSV names the columns")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(
            "envelope.encoding", "the header is not UTF-8 text: save the file as UTF-8"
        ) from error
    names = _cells_of(text)
    if names is not None and len(names) > 1:
        return names
    other = next((mark for mark in _OTHER_MARKS if mark in text), None)
    if other is not None:
        raise _unnamed(name, f"its cells are parted by {other!r}: write commas between them")
    if names is None:
        raise _unnamed(
            name,
            f"{_LONE_RETURN}: end lines with a line feed" if "\r" in text.rstrip("\r\n") else _OPEN_QUOTE,
        )
    return names


def _checked(names: list[str], name: str) -> list[str]:
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise _unnamed(name, f"names the column {twice!r} twice")
    return names


def _unnamed(name: str, message: str) -> ConfigError:
    return ConfigError("csv.header", f"{name}:1", message)
