"""Read patterns such as ``{source}/{symbol}``, and fill them in: different values give different texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final, NamedTuple
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

#: Fields whose text anybody may choose; the others come from short lists.
FREE_TEXT: Final = frozenset({"symbol", "source"})

#: No value takes more bytes of a name than this; a longer one ends in '~' and a hash.
LONGEST_VALUE: Final = 120
_HASH_BYTES: Final = 16
#: So many bytes leave room for a fingerprint.
_SHORTEST: Final = 48
#: No value of the other fields takes more.
_CLOSED_WIDTH: Final = 12
_PIECE: Final = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<literal>[^{}]+)|(?P<stray>[{}])")
_KEPT_FOR_VALUES: Final = frozenset("%~")


def encode_value(text: str, escaped: frozenset[str] = frozenset(), longest: int = LONGEST_VALUE) -> str:
    """Return the part of a name that stands for a value, different for different values.

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


class Piece(NamedTuple):
    """A field's name, or text that stands for itself."""

    text: str
    is_field: bool


def parse(text: str, where: str) -> list[Piece]:
    """Return the pieces of a pattern, in order; nothing in it is ever formatted twice.

    Raises:
        ConfigError: `pattern.field` for a name that is not of `FIELDS`, `pattern.syntax` for a stray brace
            or a character that encoding needs; `where` is the argument it came by.
    """
    pieces = []
    for match in _PIECE.finditer(text):
        field, literal = match["field"], match["literal"]
        if match["stray"]:
            raise ConfigError(
                "pattern.syntax", where, f"{text!r} has a {match['stray']!r} without its partner"
            )
        if literal and not _KEPT_FOR_VALUES.isdisjoint(literal):
            raise ConfigError(
                "pattern.syntax", where, f"{text!r} holds a % or ~, which stand for encoded values only"
            )
        if field is None:
            pieces.append(Piece(literal, is_field=False))
        elif field in FIELDS:
            pieces.append(Piece(field, is_field=True))
        else:
            raise ConfigError(
                "pattern.field", where, f"{field!r} is not one of {', '.join(FIELDS)}{nearest(field, FIELDS)}"
            )
    return pieces


def check_separators(text: str, pieces: Sequence[Piece], where: str) -> None:
    """Refuse two fields that nothing keeps apart: `pattern.ambiguous`."""
    fields = [index for index, piece in enumerate(pieces) if piece.is_field]
    for left, right in pairwise(fields):
        if right == left + 1 or pieces[left + 1].text[0].isalnum():
            first, second = pieces[left].text, pieces[right].text
            message = (
                f"in {text!r} a separator such as '_' must follow {{{first}}} to keep it from {{{second}}}"
            )
            raise ConfigError("pattern.ambiguous", where, message)


def escaped_in(pieces: Sequence[Piece]) -> dict[str, frozenset[str]]:
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


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values of fields as a pattern takes them; a day becomes eight digits."""
    return {
        name: value.isoformat().replace("-", "") if isinstance(value, date) else value
        for name, value in values.items()
    }


class KeyPattern:
    """A pattern of keys that a server knows, such as ``{asset_class}.{symbol}``, read once and filled in.

    Args:
        text: Fields of `FIELDS` between braces; anything else stands for itself.
        where: The argument it came by.
        hidden: Characters that no value may show.
        longest: How many bytes a key may take.

    Raises:
        ConfigError: A code of `parse` or `check_separators`; `pattern.length` for keys that could be longer.
    """

    def __init__(self, text: str, where: str, *, hidden: str = "", longest: int = 255) -> None:
        """Read a pattern."""
        self.text = text
        self._pieces = parse(text, where)
        check_separators(text, self._pieces, where)
        escaped = escaped_in(self._pieces)
        self._escaped = {field: characters | set(hidden) for field, characters in escaped.items()}
        self.fields = tuple(self._escaped)
        self._longest = _room(self._pieces, longest)
        if self._longest < _SHORTEST or not text:
            message = f"{text!r} makes keys of no byte, or of more than {longest}"
            raise ConfigError("pattern.length", where, message)

    def __repr__(self) -> str:
        return f"KeyPattern({self.text!r})"

    def key(self, values: Mapping[str, str]) -> str:
        """Return the key for one value of every field."""
        return "".join(
            encode_value(values[piece.text], self._escaped[piece.text], self._longest)
            if piece.is_field
            else piece.text
            for piece in self._pieces
        )

    def keys(self, frame: pl.DataFrame) -> list[str]:
        """Return the key of each row, in order."""
        if not self.fields:
            return [self.text] * len(frame)
        columns = frame.select(FIELDS[field] for field in self.fields)
        made: dict[tuple[Any, ...], str] = {}
        for values in columns.unique().iter_rows():
            made[values] = self.key(texts(dict(zip(self.fields, values, strict=True))))
        return [made[values] for values in columns.iter_rows()]


# A field may be anything but short: what all its values share must leave room for the fingerprint of each.
def _room(pieces: Sequence[Piece], longest: int) -> int:
    literal = sum(len(piece.text.encode()) for piece in pieces if not piece.is_field)
    free = sum(piece.text in FREE_TEXT for piece in pieces if piece.is_field)
    closed = sum(piece.is_field for piece in pieces) - free
    room = longest - literal - closed * _CLOSED_WIDTH
    if not free:
        return LONGEST_VALUE if room >= 0 else 0
    return min(LONGEST_VALUE, room // free)
