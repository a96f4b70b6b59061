"""Name files after the points they hold, so that two different names never become one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from hashlib import blake2b
from itertools import pairwise, product
from pathlib import Path
from string import ascii_letters, digits
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

import polars as pl

from router.errors import ConfigError
from router.names import nearest

#: What a pattern may name, and the column that gives it; `date` is the UTC day a bar starts in.
FIELDS: Final = {
    "symbol": pl.col("symbol"),
    "timeframe": pl.col("timeframe"),
    "date": pl.col("timestamp").dt.date().alias("date"),
    "asset_class": pl.col("asset_class"),
    "source": pl.col("source"),
}
_DATE_LENGTH: Final = 8

#: Fields whose text anybody may choose; the others come from short lists.
FREE_TEXT: Final = frozenset({"symbol", "source"})
_CLOSED_WIDTH: Final = 12

#: No value takes more bytes of a name than this; a longer one ends in '~' and a hash.
LONGEST_VALUE: Final = 120
_SHORTEST_LIMIT: Final = 48
#: What file systems allow for one component, less room for a compression's suffix and a number.
_LONGEST_COMPONENT: Final = 255 - 10
_HASH_BYTES: Final = 16

_PIECE: Final = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<literal>[^{}]+)|(?P<stray>[{}])")
_KEPT_FOR_VALUES: Final = frozenset("%~")
_DIGITS: Final = frozenset(digits)
#: The characters that encoded values are made of.
_IN_VALUES: Final = frozenset(ascii_letters + digits + "._-%~")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def encode_value(text: str, escaped: frozenset[str] = frozenset(), longest: int = LONGEST_VALUE) -> str:
    """Return the part of a file name that stands for a value, different for different values.

    Bytes of UTF-8 other than [A-Za-z0-9._-] become %XX, and so do a leading dot and the characters in
    `escaped`; an empty value is a bare '%'. What would be longer than `longest` bytes is cut and ends
    in '~' and a hash of the whole.
    """
    encoded = quote(text, safe="").replace("~", "%7E") or "%"
    for character in escaped:
        encoded = encoded.replace(character, f"%{ord(character):02X}")
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if len(encoded) <= longest:
        return encoded
    fingerprint = blake2b(text.encode(), digest_size=_HASH_BYTES).hexdigest()
    return f"{encoded[: longest - 1 - len(fingerprint)]}~{fingerprint}"


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
        self._pieces = _parse(text)
        _check_separators(text, self._pieces)
        self.fields = tuple(dict.fromkeys(piece.text for piece in self._pieces if piece.is_field))
        self._escaped = _escaped(self._pieces)
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
            for values, count in ((_texts(values), count) for values, count in groups)
        ]
        return frame, files


def grouped(
    frame: pl.DataFrame, keys: Sequence[pl.Expr]
) -> tuple[pl.DataFrame, list[tuple[dict[str, Any], int]]]:
    """Return the frame with the rows of equal keys together, in their order, and how many have which keys."""
    if not keys:
        return frame, [({}, len(frame))]
    rows = frame.select(keys).with_row_index("row number")
    groups = rows.group_by(pl.exclude("row number"), maintain_order=True).agg("row number")
    order = groups["row number"].explode()
    counts = groups["row number"].list.len().to_list()
    values = groups.drop("row number").iter_rows(named=True)
    return (frame if order.is_sorted() else frame[order]), list(zip(values, counts, strict=True))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value.isoformat().replace("-", "") if isinstance(value, date) else value
        for name, value in values.items()
    }


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


class _Piece(NamedTuple):
    text: str
    is_field: bool


def _parse(text: str) -> list[_Piece]:
    pieces = []
    for match in _PIECE.finditer(text):
        field, literal = match["field"], match["literal"]
        if match["stray"]:
            raise _refusal("pattern.syntax", f"{text!r} has a {match['stray']!r} without its partner")
        if literal and not _KEPT_FOR_VALUES.isdisjoint(literal):
            raise _refusal("pattern.syntax", f"{text!r} holds a % or ~, which stand for encoded values only")
        if field is None:
            pieces.append(_Piece(literal, is_field=False))
        elif field in FIELDS:
            pieces.append(_Piece(field, is_field=True))
        else:
            raise _refusal(
                "pattern.field", f"{field!r} is not one of {', '.join(FIELDS)}{nearest(field, FIELDS)}"
            )
    return pieces


def _check_path(text: str) -> None:
    if _CONTROL.search(text) or "\\" in text:
        raise _refusal("pattern.path", f"{text!r} holds a backslash or a control character")
    for component in text.split("/"):
        if not component or component.startswith("."):
            raise _refusal("pattern.path", f"{text!r} must be relative, with no empty, hidden or '..' part")


def _check_separators(text: str, pieces: Sequence[_Piece]) -> None:
    fields = [index for index, piece in enumerate(pieces) if piece.is_field]
    for left, right in pairwise(fields):
        if right == left + 1 or pieces[left + 1].text[0].isalnum():
            first, second = pieces[left].text, pieces[right].text
            message = (
                f"in {text!r} a separator such as '_' must follow {{{first}}} to keep it from {{{second}}}"
            )
            raise _refusal("pattern.ambiguous", message)


def _escaped(pieces: Sequence[_Piece]) -> dict[str, frozenset[str]]:
    """Return, per field, the characters its values may not show, so that every name can be read back.

    Fields from short lists hide every separator. One field of free text may then show them all: it is
    what remains between the others. Where there are two, they hide the separators between them.
    """
    fields = [index for index, piece in enumerate(pieces) if piece.is_field]
    separators = {index: pieces[index + 1].text[0] for index in fields[:-1]}
    free = [index for index in fields if pieces[index].text in FREE_TEXT]
    two = len({pieces[index].text for index in free}) > 1
    between = {separator for index, separator in separators.items() if two and free[0] <= index < free[-1]}
    hidden_in = {True: frozenset(between), False: frozenset(separators.values())}
    return {pieces[index].text: hidden_in[pieces[index].text in FREE_TEXT] for index in fields}


def _longest_value(text: str, component: str) -> int:
    """Return how many bytes a value of free text may take for one component to fit a file system."""
    pieces = _parse(component)
    free = sum(piece.text in FREE_TEXT for piece in pieces if piece.is_field)
    closed = sum(piece.is_field for piece in pieces) - free
    literal = sum(len(piece.text.encode()) for piece in pieces if not piece.is_field)
    room = _LONGEST_COMPONENT - literal - closed * _CLOSED_WIDTH
    if room < free * _SHORTEST_LIMIT:
        raise _refusal("pattern.path", f"{text!r} makes names longer than file systems allow")
    return min(LONGEST_VALUE, room // free) if free else LONGEST_VALUE


def _refusal(code: str, message: str) -> ConfigError:
    return ConfigError(code, "filename_pattern", message)
