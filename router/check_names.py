"""Read the texts of a point: names, the words of fixed lists, yes or no, indicators."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from router.check_numbers import NumberText, check_number, refused, shown
from router.errors import PointError, Reason
from router.rules import DEFAULT, Rules
from router.schema import TIMEFRAMES, AssetClass

#: Characters of a symbol, a source or an indicator's key, in normal form C.
MAX_NAME_LENGTH: Final = 128
MAX_INDICATORS: Final = 256

_CATEGORIES: Final = {
    "Cc": "symbol.control",
    "Zl": "symbol.control",
    "Zp": "symbol.control",
    "Cs": "symbol.surrogate",
    "Cf": "symbol.format_char",
}
_FAULTS: Final = {
    "symbol.control": "contains a control character: leave it out",
    "symbol.surrogate": "contains half a surrogate pair, which is not text: send whole characters",
    "symbol.format_char": "contains an invisible format character: leave it out",
    "symbol.charset": "contains a backslash, a path's '..' or blanks at an end, or is '.': use another name",
    "symbol.length": f"is longer than {MAX_NAME_LENGTH} characters",
}
_ASSET_CLASSES: Final = {member.value: member for member in AssetClass}
#: How yes and no are written as text.
FLAGS: Final = {text: text.lower() == "true" for text in ("true", "false", "True", "False", "TRUE", "FALSE")}


def check_name(value: Any, field: str, rules: Rules = DEFAULT) -> str:
    """Return a name in Unicode normal form C.

    Raises:
        PointError: `required`, `type`, or every one of the `symbol.*` codes that applies.
    """
    text = value if type(value) is str and value else _text(value, field)
    name, faults = _known(text) if len(text) <= MAX_NAME_LENGTH else _read(text)
    if faults:
        raise PointError([Reason(code, field, f"{shown(text)} {_FAULTS[code]}") for code in faults])
    return name


def check_asset_class(value: Any, field: str, rules: Rules = DEFAULT) -> AssetClass:
    """Return the asset class of exactly this name.

    Raises:
        PointError: `required`, `type` or `enum`.
    """
    text = value if type(value) is str else _text(value, field)
    if text in _ASSET_CLASSES:
        return _ASSET_CLASSES[text]
    raise refused("enum", field, f"{shown(_text(text, field))} is not one of {', '.join(_ASSET_CLASSES)}")


def check_timeframe(value: Any, field: str, rules: Rules = DEFAULT) -> str:
    """Return a known timeframe.

    Raises:
        PointError: `required`, `type` or `timeframe`.
    """
    text = value if type(value) is str else _text(value, field)
    if text in TIMEFRAMES:
        return text
    raise refused("timeframe", field, f"{shown(_text(text, field))} is not one of {', '.join(TIMEFRAMES)}")


def check_flag(value: Any, field: str, rules: Rules = DEFAULT) -> bool:
    """Return yes or no, given as a bool or as the text true or false; no where nothing is given.

    Raises:
        PointError: `type`.
    """
    if value is None:
        return False
    if isinstance(value, str) and value in FLAGS:
        return FLAGS[value]
    if not isinstance(value, bool) and type(value).__name__ != "bool":
        raise refused("type", field, f"{shown(value)} is neither true nor false")
    return bool(value)


def check_indicators(value: Any, field: str, rules: Rules = DEFAULT) -> dict[str, float] | None:
    """Return indicators by name, those without a value left out; None where none are given.

    Raises:
        PointError: `type`, `range` for too many, or every reason of their names and numbers, said
            of `technical_indicators.<name>`.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise refused("type", field, f"{shown(value)} is not a mapping of names to numbers")
    if len(value) > MAX_INDICATORS:
        raise refused("range", field, f"holds {len(value)} indicators: give at most {MAX_INDICATORS}")
    found: dict[str, float] = {}
    reasons: list[Reason] = []
    for key, number in value.items():
        try:
            _add_indicator(found, key, number, field)
        except PointError as error:
            reasons += error.reasons
    if reasons:
        raise PointError(reasons)
    return found


def _add_indicator(found: dict[str, float], key: Any, number: Any, field: str) -> None:
    path = f"{field}.{key if isinstance(key, str) and key.isidentifier() else shown(key)}"
    name = check_name(key, path)
    if name in found:
        raise refused("envelope.duplicate_key", path, "is given twice")
    if number is not None:
        found[name] = check_number(number, path)


@lru_cache(maxsize=8192)
def _known(text: str) -> tuple[str, tuple[str, ...]]:
    return _read(text)


def _read(text: str) -> tuple[str, tuple[str, ...]]:
    faults = {_CATEGORIES.get(unicodedata.category(character)) for character in set(text)}
    blank_end = "Zs" in (unicodedata.category(text[0]), unicodedata.category(text[-1]))
    if "\\" in text or text == "." or ".." in text.split("/") or blank_end:
        faults.add("symbol.charset")
    name = unicodedata.normalize("NFC", text)
    if len(name) > MAX_NAME_LENGTH:
        faults.add("symbol.length")
    return name, tuple(code for code in _FAULTS if code in faults)


def _text(value: Any, field: str) -> str:
    if value is None:
        raise refused("required", field, "is missing: every point has one")
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise refused("type", field, f"{shown(value)} is not text")
    if not value:
        raise refused("required", field, "is empty: every point has one")
    return str.__str__(value)
