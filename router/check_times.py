"""Read the start of a bar, however it was given, as a datetime in UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from router.check_numbers import NumberText, refused, shown
from router.errors import PointError
from router.rules import DEFAULT, TIMESTAMP_UNITS, Rules

#: The first and the last microsecond that nanoseconds since 1970 in 64 bits can say.
EARLIEST: Final = datetime(1677, 9, 21, 0, 12, 43, 145225, tzinfo=UTC)
LATEST: Final = datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC)

#: A day and the time up to the minute; with two digits of seconds `HEAD_LENGTH` characters.
MINUTE_PATTERN: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:"
HEAD_LENGTH: Final = 19

_HEAD: Final = re.compile(MINUTE_PATTERN + "[0-9]{2}")
_TAIL: Final = re.compile(r"(?:\.([0-9]{1,30}))?(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))?")
_INTEGER: Final = re.compile(r"-?[0-9]{1,25}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORM: Final = "write it as 2024-01-01T00:00:00Z or with an offset such as +05:30"


def check_timestamp(value: Any, field: str, rules: Rules = DEFAULT) -> datetime:
    """Return the start of a bar, in UTC, of type datetime and no subclass.

    Args:
        value: An aware datetime, or ISO 8601 text with a zone; with `rules.zone` either may lack the
            zone, with `rules.timestamp_unit` it may be an integer.
        field: What to call it in the reasons.
        rules: Zone, unit, and how far ahead a bar may start.

    Raises:
        PointError: `required`, `type`, or one of the `timestamp.*` codes.
    """
    typed = type(value) is datetime and value.tzinfo is UTC
    moment: datetime = value if typed else _converted(value, field, rules)
    if not EARLIEST <= moment <= LATEST:
        raise _out_of_range(value, field)
    if rules.is_ahead(moment):
        message = f"{shown(value)} is more than {rules.max_skew} ahead of the clock: bars are sent once begun"
        raise refused("timestamp.future", field, message)
    return moment


@lru_cache(maxsize=1024)
def read_tail(tail: str, field: str = "timestamp") -> tuple[timedelta, timedelta | None]:
    """Return the fraction of a second and the zone's offset that follow the seconds; None: no zone.

    Raises:
        PointError: `timestamp.format`, `timestamp.precision` or `timestamp.invalid`.
    """
    match = _TAIL.fullmatch(tail)
    if match is None:
        raise refused(
            "timestamp.format", field, f"{shown(tail)} is no fraction of a second and zone: {_FORM}"
        )
    digits, zulu, sign, hours, minutes = match.groups(default="")
    if digits[6:].strip("0"):
        raise _too_precise(tail, field)
    fraction = timedelta(microseconds=int(digits[:6].ljust(6, "0")))
    if not sign:
        return fraction, timedelta() if zulu else None
    if int(hours) > 23 or int(minutes) > 59:
        raise refused("timestamp.invalid", field, f"{shown(tail)} is no offset: the largest is 23:59")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return fraction, -offset if sign == "-" else offset


def _converted(value: Any, field: str, rules: Rules) -> datetime:
    if value is None or (isinstance(value, datetime) and value != value):  # pandas' NaT is a datetime
        raise refused("required", field, "is missing: every point has one")
    if isinstance(value, datetime):
        return _of_datetime(value, field, rules)
    if isinstance(value, NumberText) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return _of_number(value, field, rules)
    if isinstance(value, str):
        return _of_text(value, field, rules)
    if isinstance(value, date):
        raise refused("timestamp.format", field, f"{value} is a day, not a moment: {_FORM}")
    raise refused("type", field, f"{shown(value)} is not a timestamp: {_FORM}")


def _of_datetime(value: datetime, field: str, rules: Rules) -> datetime:
    if getattr(value, "nanosecond", 0):
        raise _too_precise(str(value), field)
    if value.utcoffset() is None:
        return _localized(value, field, rules)
    try:
        return _plain(value.astimezone(UTC))
    except OverflowError:
        raise _out_of_range(str(value), field) from None


def _of_text(text: str, field: str, rules: Rules) -> datetime:
    if rules.timestamp_unit is not None and _INTEGER.fullmatch(text):
        return _of_number(NumberText(text), field, rules)
    if not _HEAD.match(text):
        raise refused("timestamp.format", field, f"{shown(text)} is not a timestamp: {_FORM}")
    fraction, offset = read_tail(text[HEAD_LENGTH:], field)
    try:
        moment = datetime.fromisoformat(text[:HEAD_LENGTH]) + fraction
    except ValueError as error:
        raise refused("timestamp.invalid", field, f"{shown(text)} is no moment: {error}") from error
    if offset is None:
        return _localized(moment, field, rules)
    try:
        return moment.replace(tzinfo=UTC) - offset
    except OverflowError:
        raise _out_of_range(text, field) from None


def _of_number(value: float | NumberText, field: str, rules: Rules) -> datetime:
    if rules.timestamp_unit is None:
        message = f"{shown(value)} may be seconds or milliseconds, which nothing says: {_FORM}"
        raise refused("timestamp.ambiguous_unit", field, message)
    if isinstance(value, float) or not _INTEGER.fullmatch(str(value)):
        message = f"{shown(value)} is not a whole number of {rules.timestamp_unit}"
        raise refused("timestamp.format", field, message)
    nanoseconds = int(value) * (1_000_000_000 // TIMESTAMP_UNITS[rules.timestamp_unit])
    if nanoseconds % 1000:
        raise _too_precise(str(value), field)
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        raise _out_of_range(value, field) from None


def _localized(moment: datetime, field: str, rules: Rules) -> datetime:
    if rules.zone is None:
        raise refused("timestamp.no_zone", field, f"{shown(str(moment))} names no zone: {_FORM}")
    zone = ZoneInfo(rules.zone)
    try:
        first, second = (moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    except OverflowError:
        raise _out_of_range(moment, field) from None
    if first > second:
        message = f"{moment} never comes in {rules.zone}, whose clocks go forward then: give the offset"
        raise refused("timestamp.invalid", field, message)
    if first < second and rules.fold is None:
        message = (
            f"{moment} comes twice in {rules.zone}, whose clocks go back then: give the offset, "
            "or say by fold that the earlier or the later is meant"
        )
        raise refused("timestamp.invalid", field, message)
    return _plain(second if rules.fold == "later" else first)


def _plain(moment: datetime) -> datetime:
    m = moment
    return datetime(m.year, m.month, m.day, m.hour, m.minute, m.second, m.microsecond, tzinfo=UTC)


def _too_precise(text: str, field: str) -> PointError:
    message = f"{shown(text)} is finer than a microsecond, at which two bars would become one: round it"
    return refused("timestamp.precision", field, message)


def _out_of_range(value: object, field: str) -> PointError:
    message = f"{shown(value)} is outside {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}"
    return refused("timestamp.range", field, message)
