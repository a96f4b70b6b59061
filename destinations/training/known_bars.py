"""The bars of some files as the series of a fleet that was sent them have them, told from the files alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from router.errors import ConfigError
from router.route import MOST_LATENESS
from router.schema import IDENTITY
from router.steps import STEPS, bar_ends, missing_bars

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Series = tuple[str, str, str]

_SERIES: Final = [name for name in IDENTITY if name != "timestamp"]
#: What a close falls to, as a share of the one before it or the other way round, in a split of 3 to 2.
_FALL: Final = 0.7


@dataclass(frozen=True, slots=True)
class KnownBars:
    """Bars that can change no more: series by series, and in each by event time.

    A bar that starts before the newest of its series, less the allowed lateness, is left out, as the fleet
    does; of one time the last counts. The newest bars of a series, as long as a bar that takes their place
    would not be late, are left out too: nothing may be made of them yet.

    Attributes:
        frame: Columns of `FRAME_SCHEMA`, and `end`: when the bar ends, UTC.
        series: Where each series begins in it, and where it ends, by source, symbol and timeframe.
        late: How many bars were left out because they came too late.
        replaced: How many were replaced by a later one of the same time.
        open: How many may still change.
        missing: Of each bar, how many are missing between it and the one before it.
        jumps: Of each bar, whether its close or the one before it is at most 0.7 times the other; of prices
            that are not positive, never.
        revised: Of each bar, whether it was revised when it could already be in an example.
        firsts: Of each bar, where the first bar of its series is.
    """

    frame: pl.DataFrame
    series: dict[Series, tuple[int, int]]
    late: int
    replaced: int
    open: int
    missing: Places
    jumps: Mask
    revised: Mask
    firsts: Places

    @classmethod
    def of(cls, frame: pl.DataFrame, allowed_lateness: float = 0.0) -> KnownBars:
        """Take bars in the order in which they were sent.

        Args:
            frame: Columns of `FRAME_SCHEMA`.
            allowed_lateness: Seconds that a bar may come behind the newest of its series.

        Raises:
            ConfigError: `range`, if the lateness is no number of seconds.
        """
        if not 0 <= allowed_lateness <= MOST_LATENESS:
            message = f"{allowed_lateness!r} is not a number of seconds from 0 to {MOST_LATENESS}"
            raise ConfigError("range", "allowed_lateness", message)
        came = _in_time(frame, round(allowed_lateness * 1e6))
        taken = came.filter(~pl.col("late"))
        held = taken.unique([*_SERIES, "timestamp"], keep="last", maintain_order=True)
        known = held.filter(pl.col("timestamp").to_physical() <= pl.col("complete").max().over(_SERIES))
        known = known.sort("number", "timestamp")
        known = known.with_columns(bar_ends(known["timestamp"], known["timeframe"]).alias("end"))
        numbers = known["number"].to_numpy()
        first = np.ones(len(known), dtype=np.bool_)
        first[1:] = numbers[1:] != numbers[:-1]
        return cls(
            known.select(*frame.columns, "end"),
            _extents(known, first),
            len(came) - len(taken),
            len(taken) - len(held),
            len(held) - len(known),
            _missing(known, first),
            _jumps(known["close"].to_numpy(), first),
            _revised(taken, known),
            np.maximum.accumulate(np.where(first, np.arange(len(known)), 0)).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.frame)

    def find(self, keys: pl.DataFrame) -> Places:
        """Return where the bars of some keys are, or -1.

        Args:
            keys: Columns of `IDENTITY`.
        """
        times = self.frame["timestamp"].to_physical().to_numpy()
        wanted = keys["timestamp"].to_physical().fill_null(-1).to_numpy()
        places = np.full(len(keys), -1, dtype=np.int64)
        rows = keys.select(_SERIES).with_row_index("row").group_by(_SERIES, maintain_order=True).agg("row")
        for source, symbol, timeframe, mine in rows.iter_rows():
            start, stop = self.series.get((source, symbol, timeframe), (0, 0))
            if start < stop:
                at = np.minimum(np.searchsorted(times[start:stop], wanted[mine]) + start, stop - 1)
                places[mine] = np.where(times[at] == wanted[mine], at, -1)
        return places


# Each bar with its series' number, whether it is late, and up to when its series was complete then.
def _in_time(frame: pl.DataFrame, lateness: int) -> pl.DataFrame:
    time = pl.col("timestamp").to_physical()
    newest = time.cum_max().shift().over(_SERIES)
    waits = pl.lit(lateness) if lateness else pl.col("is_realtime").cast(pl.Int64)
    numbers = frame.select(_SERIES).unique(maintain_order=True).with_row_index("number")
    return frame.join(numbers, on=_SERIES, how="left", maintain_order="left").with_columns(
        late=(time < newest - lateness).fill_null(value=False),
        complete=(time - waits).cum_max().over(_SERIES),
    )


def _extents(known: pl.DataFrame, first: Mask) -> dict[Series, tuple[int, int]]:
    starts = np.flatnonzero(first)
    stops = np.append(starts, len(known))[1:]
    names = known[starts].select(_SERIES).rows()
    return dict(zip(names, zip(starts.tolist(), stops.tolist(), strict=True), strict=True))


def _missing(known: pl.DataFrame, first: Mask) -> Places:
    steps = known["timeframe"].replace_strict(STEPS, return_dtype=pl.Float64).to_numpy()
    apart = np.diff(known["timestamp"].to_physical().to_numpy(), prepend=0)
    return np.where(first, 0, missing_bars(apart, steps))


def _jumps(close: npt.NDArray[np.float64], first: Mask) -> Mask:
    before = np.where(first, close, np.roll(close, 1))
    positive = (before > 0) & (close > 0)
    jumps: Mask = positive & ((close <= _FALL * before) | (before <= _FALL * close))
    return jumps


# A bar is revised if it was complete when another of its time came that says something else.
def _revised(taken: pl.DataFrame, known: pl.DataFrame) -> Mask:
    again = taken.with_columns(before=pl.col("complete").shift().over(_SERIES)).filter(
        pl.len().over([*_SERIES, "timestamp"]) > 1
    )
    held: dict[Any, Any] = {}
    found = set()
    values = [name for name in taken.columns if name not in {*IDENTITY, "number", "late", "complete"}]
    for row in again.with_columns(time=pl.col("timestamp").to_physical()).iter_rows(named=True):
        key, new = (row["number"], row["time"]), [row[name] for name in values]
        if key in held and held[key] != new and row["time"] <= row["before"]:
            found.add(key)
        held[key] = new
    if not found:
        return np.zeros(len(known), dtype=np.bool_)
    keys = known.select("number", pl.col("timestamp").to_physical()).iter_rows()
    return np.fromiter((key in found for key in keys), dtype=np.bool_, count=len(known))
