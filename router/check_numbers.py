"""Read a number, however it was given, as a finite float64."""

from __future__ import annotations

import re
from decimal import Decimal
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, Final

from router.errors import PointError, Reason
from router.rules import DEFAULT, Rules

#: How many characters a number may be written with; the largest float64 needs 309.
MAX_NUMBER_LENGTH: Final = 400
#: Significant digits that always tell one float64 from the next; more are counted as rounded.
FLOAT_DIGITS: Final = 17
#: How a number is written as text: ASCII digits, a point, an exponent, nothing else.
NUMBER_PATTERN: Final = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"

_NUMBER: Final = re.compile(NUMBER_PATTERN)
_NOT_FINITE: Final = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_MAX_BITS: Final = int(MAX_NUMBER_LENGTH * 3.33)
_SHOWN: Final = 60


class NumberText(str):
    """A number of a JSON text kept as its digits, because no Python number would hold them all."""

    __slots__ = ()


def shown(value: object) -> str:
    """Return a value as one short printable line, for messages."""
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return f"a number of some {int(value.bit_length() * 0.30103)} digits"
    try:
        text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    except Exception:  # a stranger's object may do anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def refused(code: str, field: str, message: str) -> PointError:
    """Return the error that refuses a point for one reason."""
    return PointError((Reason(code, field, message),))


def check_number(value: Any, field: str, rules: Rules = DEFAULT) -> float:
    """Return a number as the nearest float64.

    Raises:
        PointError: `required`, `type`, `number.format`, `number.too_long` or `number.not_finite`.
    """
    number = value if type(value) is float else _converted(value, field)
    if not isfinite(number):
        raise refused("number.not_finite", field, f"{shown(value)} is not finite: leave out what is unknown")
    return number


def check_volume(value: Any, field: str, rules: Rules = DEFAULT) -> float | None:
    """Return a volume, or None for one that is absent, which is not zero.

    Raises:
        PointError: As `check_number`, and `number.negative`.
    """
    if value is None or (type(value) is float and 0 <= value < inf):
        return value
    number = check_number(value, field)
    if number < 0:
        raise refused("number.negative", field, f"{shown(value)} is below zero: a {field} is zero or more")
    return number


def check_score(value: Any, field: str, rules: Rules = DEFAULT) -> float:
    """Return a score from 0 to 1; 1 where none is given.

    Raises:
        PointError: As `check_number`, and `range`.
    """
    if type(value) is float and 0 <= value <= 1:
        return value
    number = 1.0 if value is None else check_number(value, field)
    if not 0 <= number <= 1:
        raise refused("range", field, f"{shown(value)} is outside 0 to 1")
    return number


def significant_digits(value: object) -> int:
    """Return how many digits a number was written with, zeros at both ends left out; 0 for a float."""
    if isinstance(value, float) or not isinstance(value, str | Integral | Decimal):
        return 0
    mantissa = str(value).lower().partition("e")[0]
    return len(mantissa.lstrip("+-").replace(".", "").strip("0"))


def _converted(value: Any, field: str) -> float:
    if value is None:
        raise refused("required", field, "is missing: every point has one")
    if isinstance(value, str):
        return _of_text(value, field)
    if isinstance(value, Decimal):
        return _of_decimal(value, field)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return _of_int(int(value), field)
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise refused("type", field, f"{shown(value)} is not a number: give a number, or one written as text")


def _of_text(text: str, field: str) -> float:
    if len(text) > MAX_NUMBER_LENGTH:
        raise _too_long(field, len(text))
    if _NUMBER.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return inf
    raise refused("number.format", field, f"{shown(text)} is not a number: write it like 42050.5")


def _of_decimal(number: Decimal, field: str) -> float:
    if not number.is_finite():
        return inf
    if len(number.as_tuple().digits) > MAX_NUMBER_LENGTH:
        raise _too_long(field, len(number.as_tuple().digits))
    return float(number)


def _of_int(number: int, field: str) -> float:
    if number.bit_length() > _MAX_BITS:
        raise _too_long(field, int(number.bit_length() * 0.30103))
    try:
        return float(number)
    except OverflowError:
        return inf


def _too_long(field: str, length: int) -> PointError:
    message = f"is written with some {length} characters: give at most {MAX_NUMBER_LENGTH}"
    return refused("number.too_long", field, message)
