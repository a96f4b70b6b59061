"""Timeframes: the words others have for them, and when a bar ends."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta
from typing import Final

from router.bar_starts import DAYS, MONTHS
from router.schema import TIMEFRAMES

#: Timeframes of a day or longer: their bars carry the date of a session, not a moment.
LONG: Final = frozenset({*DAYS, *MONTHS})

_WORD: Final = re.compile(
    r"([0-9]{1,3}) ?(minute|min|t|hour|h|day|d|week|wk|w|month|mo|year|y)s?", re.IGNORECASE
)
_UNITS: Final = {
    **dict.fromkeys(("minute", "min", "t"), "m"),
    **dict.fromkeys(("hour", "h"), "h"),
    **dict.fromkeys(("day", "d"), "d"),
    **dict.fromkeys(("week", "wk", "w"), "w"),
    **dict.fromkeys(("month", "mo"), "M"),
    **dict.fromkeys(("year", "y"), "y"),
}
_SAME: Final = {"60m": "1h", "12M": "1y", "24h": "1d", "7d": "1w"}


def timeframe_of(word: object) -> str:
    """Return the timeframe that others write as `60m`, `1wk`, `1mo`, `15Min`, `1Hour` or `12Month`.

    What is none of these is returned as text, for admission to judge; `1m` is a minute, `1M` a month.
    """
    text = str(word)
    if text in TIMEFRAMES:
        return text
    match = _WORD.fullmatch(text)
    name = f"{int(match[1])}{_UNITS[match[2].lower()]}" if match else text
    return _SAME.get(name, name)


def end_of(start: datetime, timeframe: str) -> datetime | None:
    """Return the moment a bar ends, in the zone of its start; None: its timeframe has no length."""
    length = TIMEFRAMES.get(timeframe)
    try:
        if length is not None:
            return start + timedelta(microseconds=length)
        if timeframe in DAYS:
            return start + timedelta(days=DAYS[timeframe])
        return _months_later(start, MONTHS[timeframe]) if timeframe in MONTHS else None
    except (OverflowError, ValueError):
        return None


def _months_later(start: datetime, count: int) -> datetime:
    years, month = divmod(start.month - 1 + count, 12)
    year = start.year + years
    return start.replace(year=year, month=month + 1, day=min(start.day, monthrange(year, month + 1)[1]))
