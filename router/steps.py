"""How long bars are: when one ends, and how many are missing between two."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from router.schema import TIMEFRAMES

_DAY: Final = 86_400_000_000
_MONTH: Final = 30.436875 * _DAY  # as the Gregorian calendar has it over 400 years

#: Microseconds from the start of a bar to that of the next; of days and longer ones about. Ticks have none.
STEPS: Final[dict[str, float]] = {
    **{name: float(length) for name, length in TIMEFRAMES.items() if length is not None},
    "3d": 3.0 * _DAY,
    "1w": 7.0 * _DAY,
    "1M": _MONTH,
    "3M": 3 * _MONTH,
    "1y": 12 * _MONTH,
    "tick": 0.0,
}
_BY_CALENDAR: Final = {"1M": "1mo", "3M": "3mo", "1y": "1y"}


def missing_bars(apart: npt.NDArray[np.int64], steps: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return how many bars are missing between neighbours that begin so many microseconds apart.

    Within a day a bar that begins late leaves room for one more; a day may have 23 hours or 25.

    Args:
        apart: Microseconds between the starts.
        steps: Of each the entry of its timeframe in `STEPS`; 0 where nothing can be missing.
    """
    ratio = np.divide(apart, steps, out=np.ones(len(apart)), where=steps > 0)
    count = np.where(steps >= _DAY, np.rint(ratio), np.ceil(ratio))
    missing: npt.NDArray[np.int64] = np.maximum(count - 1, 0).astype(np.int64)
    return missing


def bar_ends(starts: pl.Series, timeframes: pl.Series) -> pl.Series:
    """Return when each bar ends, UTC; a tick ends when it begins, months and years by the calendar."""
    frame = pl.DataFrame({"start": starts, "timeframe": timeframes})
    length = pl.col("timeframe").replace_strict(_FIXED, default=0, return_dtype=pl.Int64)
    end = pl.col("start") + pl.duration(microseconds=length)
    for name, offset in _BY_CALENDAR.items():
        end = pl.when(pl.col("timeframe") == name).then(pl.col("start").dt.offset_by(offset)).otherwise(end)
    return frame.select(end.alias("end"))["end"]


_FIXED: Final[dict[str, Any]] = {name: int(s) for name, s in STEPS.items() if name not in _BY_CALENDAR}
