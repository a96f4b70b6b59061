"""Read a file's timestamps, however they are written, as the starts of bars in UTC."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from router.admission import Unreadable
from router.check_numbers import refused, shown
from router.check_times import check_timestamp
from router.checks import INTRADAY, check_point
from router.columns import read_timestamps
from router.epoch_units import NUMBER, evident_unit, unit_of
from router.errors import PointError, Reason
from router.from_frames import rows_of
from router.layout import Layout
from router.originals import original_text
from router.rules import DEFAULT, Rules

#: Timeframes of a day or longer, in days or in months; their bars begin by the calendar.
DAYS: Final = {"1d": 1, "3d": 3, "1w": 7}
MONTHS: Final = {"1M": 1, "3M": 3, "1y": 12}
_LONG: Final = (*DAYS, *MONTHS)

_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ZONE: Final = r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
_IS_DAY: Final = re.compile(_DAY)
_TO_THE_MINUTE: Final = re.compile(rf"({_DAY}[T ][0-9]{{2}}:[0-9]{{2}})({_ZONE}?)")
_WITH_ZONE: Final = re.compile(rf"{_DAY}[T ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}.*{_ZONE}")
_LEAST: Final = len("2024-01-01T00:00:00Z")
_SECOND: Final = 1_000_000
#: How an end is written as the last milli- or microsecond of its bar, and what it lacks of the full second.
_LAST_TICKS: Final = {999_000: 1_000, 999_999: 1}
_LONGEST: Final = timedelta(days=367)
_A_VALID_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)


class BarStarts:
    """Reads the timestamps of one file.

    Attributes:
        unit: What its numbers count; None: it has none, or nothing says.
        kinds: How they were written: `days`, `local`, `numbers`, `moments`.
    """

    def __init__(self, layout: Layout, first: Iterable[Any]) -> None:
        """Take what was said of the file, and the timestamps of its first chunk."""
        self.kinds: set[str] = set()
        self._layout = layout
        self.unit = layout.unit or evident_unit(first)
        ahead = DEFAULT.max_skew if layout.stamp == "open" else _LONGEST  # a bar under way closes later
        self._rules = Rules(zone=layout.zone, fold=layout.fold, timestamp_unit=self.unit, max_skew=ahead)

    def in_frame(self, frame: pl.DataFrame) -> pl.DataFrame | list[Any]:
        """Return rows with the starts of their bars; those that have none are refused among them.

        Args:
            frame: Columns of a point, of any type.
        """
        raw, timeframes = frame["timestamp"], frame["timeframe"].cast(pl.String, strict=False)
        if self._is_plain(raw):
            self.kinds.add("moments")
            return frame
        whole = self._completed(raw, timeframes)
        values, sure = read_timestamps(whole, self._rules)
        if self._layout.stamp == "close":
            values, sure = _intraday_starts(values, timeframes, sure)
        if sure.all() and self._is_evident(whole):
            return frame.with_columns(values.alias("timestamp"))
        return self.in_rows(rows_of(frame, np.arange(len(frame))))

    def in_rows(self, rows: Sequence[Any]) -> list[Any]:
        """Return the same of rows that are mappings, or were refused before."""
        return [self._row(row) if isinstance(row, dict) else row for row in rows]

    # -- row by row ---------------------------------------------------------------------------

    def _row(self, row: dict[str, Any]) -> dict[str, Any] | Unreadable:
        value = row.get("timestamp")
        if value is None or self._says_all(value):
            return row
        try:
            return {**row, "timestamp": self._start(value, row.get("timeframe"))}
        except PointError as error:
            others = check_point({**row, "timestamp": _A_VALID_MOMENT}).reasons
            return Unreadable(original_text(row), (*error.reasons, *others))

    def _says_all(self, value: Any) -> bool:
        if isinstance(value, str) and (value[_LEAST - 1 :] == "Z" or _WITH_ZONE.fullmatch(value)):
            self.kinds.add("moments")
            return self._layout.stamp == "open"
        return False

    def _start(self, value: Any, timeframe: Any) -> datetime:
        whole = self._whole(value, timeframe)
        moment = check_timestamp(whole, "timestamp", self._rules)
        if self._layout.stamp == "open":
            return moment
        moment += timedelta(microseconds=_LAST_TICKS.get(moment.microsecond, 0))
        if timeframe in INTRADAY:
            return moment - timedelta(microseconds=INTRADAY[timeframe])
        if timeframe not in _LONG:
            return moment
        zone = "UTC" if _is_day(value) else self._layout.zone or "UTC"
        local = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        rules = Rules(zone=zone, fold=self._layout.fold)
        return check_timestamp(_calendar_start(local, timeframe), "timestamp", rules)

    def _whole(self, value: Any, timeframe: Any) -> Any:
        """Return a timestamp with what its way of writing leaves out."""
        if isinstance(value, str):
            return self._whole_text(value, timeframe)
        if isinstance(value, datetime):
            self.kinds.add("local" if value.tzinfo is None else "moments")
            return value
        if isinstance(value, date):
            return self._midnight(value.isoformat(), timeframe)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            self._check_unit(value)
        return value

    def _whole_text(self, text: str, timeframe: Any) -> Any:
        if _IS_DAY.fullmatch(text):
            return self._midnight(text, timeframe)
        if number := NUMBER.fullmatch(text):
            self._check_unit(int(number[1]))
            return int(number[1])
        self.kinds.add("moments" if _WITH_ZONE.fullmatch(text) else "local")
        return _TO_THE_MINUTE.sub(r"\1:00\2", text) if _TO_THE_MINUTE.fullmatch(text) else text

    def _midnight(self, day: str, timeframe: Any) -> str:
        if timeframe not in _LONG:
            message = f"{shown(day)} is a day: only bars of {', '.join(_LONG)} can do without the time"
            raise refused("timestamp.day", "timestamp", message)
        self.kinds.add("days")
        return f"{day}T00:00:00Z"

    def _check_unit(self, number: int) -> None:
        self.kinds.add("numbers")
        if self.unit is None or (self._layout.unit is None and unit_of(number) != self.unit):
            message = f"{shown(number)} does not tell by its size what it counts since 1970"
            raise refused("timestamp.ambiguous_unit", "timestamp", message)

    # -- by the column ------------------------------------------------------------------------

    def _is_plain(self, raw: pl.Series) -> bool:
        if self._layout.stamp == "close" or raw.null_count():
            return False
        if isinstance(raw.dtype, pl.Datetime):
            return raw.dtype.time_zone is not None
        return raw.dtype == pl.String and bool(
            (raw.str.len_bytes() >= _LEAST).all() and raw.str.ends_with("Z").all()
        )

    def _completed(self, raw: pl.Series, timeframes: pl.Series) -> pl.Series:
        if raw.dtype == pl.Date and _are_long(timeframes):
            self.kinds.add("days")
            return raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        if raw.dtype in (pl.Float32, pl.Float64) and (raw == raw.floor()).all() and raw.is_finite().all():
            self.kinds.add("numbers")
            return raw.cast(pl.Int64, strict=False)
        if raw.dtype.is_integer():
            self.kinds.add("numbers")
        elif isinstance(raw.dtype, pl.Datetime):
            self.kinds.add("moments" if raw.dtype.time_zone else "local")
        elif raw.dtype == pl.String:
            return self._completed_text(raw, timeframes)
        return raw

    def _completed_text(self, raw: pl.Series, timeframes: pl.Series) -> pl.Series:
        if raw.str.contains(f"^{NUMBER.pattern}$").all():
            self.kinds.add("numbers")
            return raw.str.strip_suffix(".0").cast(pl.Int64, strict=False)
        if raw.str.contains(f"^{_DAY}$").all() and _are_long(timeframes):
            self.kinds.add("days")
            return raw + "T00:00:00Z"
        self.kinds.add("moments" if raw.str.contains(f"{_ZONE}$").all() else "local")
        if raw.str.contains(f"^{_TO_THE_MINUTE.pattern}$").all():
            return raw.str.slice(0, 16) + ":00" + raw.str.slice(16)
        return raw

    def _is_evident(self, whole: pl.Series) -> bool:
        if self._layout.unit is not None or not whole.dtype.is_integer():
            return True
        return unit_of(whole.min()) == unit_of(whole.max()) == self.unit


def as_written(timestamps: pl.Series) -> pl.Series:
    """Return timestamps as text or whole numbers, if they are kept as categories or decimals of those."""
    if timestamps.dtype in (pl.Categorical, pl.Enum):
        return timestamps.cast(pl.String)
    if isinstance(timestamps.dtype, pl.Decimal):
        whole = timestamps.cast(pl.Int64, strict=False)
        return whole if whole.cast(timestamps.dtype, strict=False).equals(timestamps) else timestamps
    return timestamps


def _are_long(timeframes: pl.Series) -> bool:
    return timeframes.is_in(_LONG).fill_null(value=False).all()


def _is_day(value: Any) -> bool:
    if isinstance(value, str):
        return _IS_DAY.fullmatch(value) is not None
    return isinstance(value, date) and not isinstance(value, datetime)


def _intraday_starts(values: pl.Series, timeframes: pl.Series, sure: Any) -> tuple[pl.Series, Any]:
    """Return values shifted by their timeframes, and where that is surely right: below a day."""
    names, lengths = list(INTRADAY), list(INTRADAY.values())
    shifts = timeframes.replace_strict(names, lengths, default=None, return_dtype=pl.Int64)
    ends = values.to_physical()
    ends += (ends % _SECOND).replace_strict(_LAST_TICKS, default=0, return_dtype=pl.Int64)
    shifted = (ends - shifts).cast(values.dtype)
    return shifted, sure & shifts.is_not_null().to_numpy()


def _calendar_start(close: datetime, timeframe: str) -> datetime:
    """Return the start of a bar of a day or longer from its local close.

    Midnight of the last day of a month, as dates of whole months are written, ends that month.
    """
    if timeframe in DAYS:
        return close - timedelta(days=DAYS[timeframe])
    next_day = close + timedelta(days=1)
    if next_day.day == 1 and close.time() == time():
        close = next_day
    months = close.year * 12 + close.month - 1 - MONTHS[timeframe]
    year, month = months // 12, months % 12 + 1
    return close.replace(year=year, month=month, day=min(close.day, monthrange(year, month)[1]))


#: What to say where every row of a file is refused for one of these reasons.
ADVICE: Final = {
    "timestamp.no_zone": "if that holds for the whole file, give its zone, as in --tz UTC",
    "timestamp.ambiguous_unit": "give --unit s, ms, us or ns, and write days as 2024-01-31",
    "timestamp.day": "give the time too, or another --timeframe",
}


def common_fault(rows: pl.DataFrame | Sequence[Any]) -> Reason | None:
    """Return the one thing about timestamps for which every one of some rows was refused, if it is one."""
    if isinstance(rows, pl.DataFrame) or not all(isinstance(row, Unreadable) for row in rows):
        return None
    reasons = {row.reasons[0].code: row.reasons[0] for row in reversed(rows)}
    code, reason = next(iter(reasons.items()), ("", None))
    if reason is None or len(reasons) > 1 or code not in ADVICE:
        return None
    told: Reason = reason._replace(message=f"{reason.message}; {ADVICE[code]}")
    return told
