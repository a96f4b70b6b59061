"""Tell by the size of numbers whether they are seconds, milli-, micro- or nanoseconds since 1970."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from router.rules import TIMESTAMP_UNITS

#: How such a number is written as text.
NUMBER: Final = re.compile(r"(-?[0-9]{1,25})(?:\.0+)?")
#: Seconds since 1970 from 1980 to 2100: of any number, at most one unit lies in it. Days and minutes
#: written as 20240131 and 202401310930 do not.
_EVIDENT: Final = range(315_532_800, 4_102_444_800)


def unit_of(number: Any) -> str | None:
    """Return the unit that the size of a whole number makes evident; None: none."""
    return next((unit for unit, count in TIMESTAMP_UNITS.items() if int(number) // count in _EVIDENT), None)


def evident_unit(timestamps: Iterable[Any]) -> str | None:
    """Return the unit that most of the numbers among some timestamps make evident; None: there is none."""
    found = Counter(unit_of(number) for number in map(_number, timestamps) if number is not None)
    unit, count = found.most_common(1)[0] if found else (None, 0)
    return unit if 2 * count > found.total() else None


def _number(value: Any) -> int | None:
    if isinstance(value, str):
        match = NUMBER.fullmatch(value)
        return int(match[1]) if match else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
