"""Write what was refused as JSON text, as faithfully as JSON can."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from json.encoder import encode_basestring_ascii as quoted
from math import isfinite
from typing import Any, Final

import numpy as np

from router.check_numbers import NumberText, shown

_MAX_DEPTH: Final = 32
_WORDS: Final = {None: "null", True: "true", False: "false"}
_DIGITS_OF_PYTHON: Final = 4300  # longer integers refuse to become text


def original_text(value: Any, depth: int = 0) -> str:
    """Return a value as one JSON text without line breaks.

    Numbers keep their digits. NaN and the infinities become text, as do objects that JSON has no form
    for, and whatever lies deeper than 32 levels.
    """
    if type(value) is str:
        return quoted(value)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        pairs = (f"{quoted(_key(key))}: {original_text(item, depth + 1)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple) and depth < _MAX_DEPTH:
        return f"[{', '.join(original_text(item, depth + 1) for item in value)}]"
    return _scalar_text(value)


def _scalar_text(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if _is_json_number(value):
        return str(value)
    return quoted(value.isoformat() if isinstance(value, date) else _key(value))


def _is_json_number(value: Any) -> bool:
    if isinstance(value, int):
        return value.bit_length() < _DIGITS_OF_PYTHON * 3
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, NumberText) or (isinstance(value, Decimal) and value.is_finite())


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return hex(value)  # longer than Python writes with decimal digits
    return str(value) if isinstance(value, float | Decimal) else shown(value)
