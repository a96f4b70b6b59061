"""Name files after the points they hold, so that two different names never become one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from string import ascii_letters, digits
from typing import Final, NamedTuple, Protocol

import polars as pl

from destinations.patterns import (
    FIELDS,
    FREE_TEXT,
    LONGEST_VALUE,
    check_separators,
    encode_value,
    escaped_in,
    grouped,
    parse,
    texts,
)
from router.errors import ConfigError

_WHERE: Final = "filename_pattern"
_DATE_LENGTH: Final = 8
_CLOSED_WIDTH: Final = 12
_SHORTEST_LIMIT: Final = 48
#: What file systems allow for one component, less room for a compression's suffix and a number.
_LONGEST_COMPONENT: Final = 255 - 10
_DIGITS: Final = frozenset(digits)
#: The characters that encoded values are made of.
_IN_VALUES: Final = frozenset(ascii_letters + digits + "._-%~")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class FileRows(NamedTuple):
    """What one file gets of a frame: its name under the root, the values it is named after, how many rows."""

    name: str
    values: dict[str, str]
    rows: int


class Step(NamedTuple):
    """One character of a name, out of some (None: out of all), or one and any more of them."""

    characters: frozenset[str] | None
    repeats: bool = False

    def meets(self, other: Step) -> bool:
        """Return whether one character may be of both."""
        if self.characters is None or other.characters is None:
            return True
        return not self.characters.isdisjoint(other.characters)


class Names(Protocol):
    """Names under a root, as text for people and spelled."""

    text: str

    def steps(self) -> list[Step]:
        """Return how the names are spelled, character by character; more names than there are may be so."""


class AnyName:
    """Every name there can be: whoever owns a folder whole."""

    text = "**"

    def steps(self) -> list[Step]:
        """Return any characters, one at least."""
        return [Step(None, repeats=True)]


class FilePlace(NamedTuple):
    """The files that may have some names under a root folder: what a destination owns."""

    root: Path
    pattern: Names

    def overlaps(self, other: object) -> bool:
        """Return whether one file may belong to both, were it only in doubt."""
        return isinstance(other, FilePlace) and _may_meet(self._steps(), other._steps())

    # The root goes along: what is a folder to one may be part of the other's pattern.
    def _steps(self) -> list[Step]:
        return [*_spelled(f"{self.root.resolve()}/"), *self.pattern.steps()]

    def __str__(self) -> str:
        return f"{self.root}/{self.pattern.text}"


class FilenamePattern:
    """A pattern such as ``{source}/{symbol}_{date}.csv``, read once and then only filled in.

    Plain names of `FIELDS` stand between braces; '/' makes folders; nothing is ever formatted twice.

    Raises:
        ConfigError: `pattern.field` for another name, `pattern.syntax` for a stray brace or a character
            that encoding needs, `pattern.path` for a name that is hidden, leaves the root or is too long
            for a file system, `pattern.ambiguous` for two fields that nothing keeps apart.
    """

    def __init__(self, text: str) -> None:
        """Read a pattern; its names are relative to a root that it does not know."""
        _check_path(text)
        self.text = text
        self._pieces = parse(text, _WHERE)
        check_separators(text, self._pieces, _WHERE)
        self.fields = tuple(dict.fromkeys(piece.text for piece in self._pieces if piece.is_field))
        self._escaped = escaped_in(self._pieces)
        self._longest = min(_longest_value(text, component) for component in text.split("/"))

    def __repr__(self) -> str:
        return f"FilenamePattern({self.text!r})"

    def name(self, values: Mapping[str, str]) -> str:
        """Return the file's name for one value of every field; '/' only where the pattern has it."""
        encoded = {
            field: encode_value(values[field], self._escaped[field], self._longest) for field in self.fields
        }
        return "".join(encoded[piece.text] if piece.is_field else piece.text for piece in self._pieces)

    def steps(self) -> list[Step]:
        """Return how its names are spelled, character by character; more names than it makes may be so."""
        steps: list[Step] = []
        for piece in self._pieces:
            if not piece.is_field:
                steps += _spelled(piece.text)
            elif piece.text == "date":
                steps += [Step(_DIGITS)] * _DATE_LENGTH
            else:
                steps.append(Step(_IN_VALUES - self._escaped[piece.text], repeats=True))
        return steps

    def split(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[FileRows]]:
        """Return the frame with the rows of each file together, in their order, and what each file gets."""
        frame, groups = grouped(frame, [FIELDS[field] for field in self.fields])
        files = [
            FileRows(self.name(values), values, count)
            for values, count in ((texts(values), count) for values, count in groups)
        ]
        return frame, files


def _spelled(text: str) -> list[Step]:
    return [Step(frozenset(character)) for character in text]


def _may_meet(one: Sequence[Step], other: Sequence[Step]) -> bool:
    """Return whether some text is spelled by both: whether their ends can be reached side by side."""
    ends = (len(one), len(other))
    seen, open_ = {(0, 0)}, [(0, 0)]
    while open_:
        i, j = open_.pop()
        if (i, j) == ends:
            return True
        if i == ends[0] or j == ends[1] or not one[i].meets(other[j]):
            continue
        stays = ([i] if one[i].repeats else [], [j] if other[j].repeats else [])
        reached = set(product([i + 1, *stays[0]], [j + 1, *stays[1]])) - seen
        seen |= reached
        open_ += reached
    return False


def _check_path(text: str) -> None:
    if _CONTROL.search(text) or "\\" in text:
        raise _refusal("pattern.path", f"{text!r} holds a backslash or a control character")
    for component in text.split("/"):
        if not component or component.startswith("."):
            raise _refusal("pattern.path", f"{text!r} must be relative, with no empty, hidden or '..' part")


def _longest_value(text: str, component: str) -> int:
    """Return how many bytes a value of free text may take for one component to fit a file system."""
    pieces = parse(component, _WHERE)
    free = sum(piece.text in FREE_TEXT for piece in pieces if piece.is_field)
    closed = sum(piece.is_field for piece in pieces) - free
    literal = sum(len(piece.text.encode()) for piece in pieces if not piece.is_field)
    room = _LONGEST_COMPONENT - literal - closed * _CLOSED_WIDTH
    if room < free * _SHORTEST_LIMIT:
        raise _refusal("pattern.path", f"{text!r} makes names longer than file systems allow")
    return min(LONGEST_VALUE, room // free) if free else LONGEST_VALUE


def _refusal(code: str, message: str) -> ConfigError:
    return ConfigError(code, _WHERE, message)
