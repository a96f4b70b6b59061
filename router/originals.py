"""Write what was refused as JSON text, as faithfully as JSON can."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from router.check_numbers import NumberText, shown

_MAX_DEPTH: Final = 32
_DIGITS_OF_PYTHON: Final = 4300  # longer integers refuse to become text


def original_text(value: Any, depth: int = 0) -> str:
    """Return a value as one JSON text without line breaks.

    Numbers keep their digits. NaN and the infinities become text, as do objects that JSON has no form
    for, and whatever lies deeper than 32 levels.
    """
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        pairs = (f"{json.dumps(_key(key))}: {original_text(item, depth + 1)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple) and depth < _MAX_DEPTH:
        return f"[{', '.join(original_text(item, depth + 1) for item in value)}]"
    return _scalar_text(value)


def _scalar_text(value: Any) -> str:
    if _is_json_number(value):
        return str(value)
    if value is None or isinstance(value, bool | str):
        return json.dumps(value)
    return json.dumps(value.isoformat() if isinstance(value, date) else _key(value))


def _is_json_number(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
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
