"""What indicators of bars are, by TA-Lib: one value a bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from router.errors import ConfigError
from router.indicators import Indicator

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that indicators are made of, one value a bar; a volume that is not known is NaN."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, bars: pl.DataFrame) -> Columns:
        """Return those of bars in the order of time."""
        volume = bars["volume"].fill_null(float("nan"))
        return cls(*(np.ascontiguousarray(c) for c in (*bars.select("high", "low", "close"), volume)))

    def __getitem__(self, some: slice | Places) -> Columns:
        return Columns(self.high[some], self.low[some], self.close[some], self.volume[some])


def values_of(indicator: Indicator, bars: Columns, at: Places | None = None) -> Floats:
    """Return the values of an indicator: a row for some bars or all, a column for each of `indicator.values`.

    They are what TA-Lib makes of these bars, and NaN where it makes none. It has no VWAP: that is the
    typical price (high + low + close) / 3 of the last bars, weighted by volume; where the volume of one
    of them is not known, or nothing was traded in any, there is none.

    Raises:
        ConfigError: `package.missing`.
    """
    made: Sequence[Floats] = _MAKERS[indicator.kind](talib(), bars, *indicator.numbers)
    found = np.column_stack(made if at is None else [values[at] for values in made])
    found[~np.isfinite(found)] = np.nan
    return found


def talib() -> ModuleType:
    """Return TA-Lib, which is an extra.

    Raises:
        ConfigError: `package.missing`.
    """
    try:
        import talib
    except ImportError as error:
        message = "need the package ta-lib: pip install 'candlefleet[indicators]'"
        raise ConfigError("package.missing", "indicators", message) from error
    return talib


def _sma(lib: Any, bars: Columns, n: float) -> Sequence[Floats]:
    return (lib.SMA(bars.close, int(n)),)


def _ema(lib: Any, bars: Columns, n: float) -> Sequence[Floats]:
    return (lib.EMA(bars.close, int(n)),)


def _rsi(lib: Any, bars: Columns, n: float) -> Sequence[Floats]:
    return (lib.RSI(bars.close, int(n)),)


def _macd(lib: Any, bars: Columns, fast: float, slow: float, signal: float) -> Sequence[Floats]:
    made: Sequence[Floats] = lib.MACD(bars.close, int(fast), int(slow), int(signal))
    return made


def _atr(lib: Any, bars: Columns, n: float) -> Sequence[Floats]:
    return (lib.ATR(bars.high, bars.low, bars.close, int(n)),)


def _bollinger(lib: Any, bars: Columns, n: float, width: float) -> Sequence[Floats]:
    made: Sequence[Floats] = lib.BBANDS(bars.close, int(n), width, width)
    return made


# Every window is summed by itself: a running sum would carry the rounding of all bars before.
def _vwap(lib: Any, bars: Columns, n: float) -> Sequence[Floats]:
    found = np.full(len(bars.close), np.nan)
    if len(found) >= n:
        with np.errstate(all="ignore"):
            typical = (bars.high + bars.low + bars.close) / 3
            found[int(n) - 1 :] = _sums(typical * bars.volume, int(n)) / _sums(bars.volume, int(n))
    return (found,)


def _sums(values: Floats, count: int) -> Floats:
    sums: Floats = np.lib.stride_tricks.sliding_window_view(values, count).sum(axis=1)
    return sums


_MAKERS: Final[dict[str, Callable[..., Sequence[Floats]]]] = {
    "sma": _sma,
    "ema": _ema,
    "rsi": _rsi,
    "macd": _macd,
    "atr": _atr,
    "bollinger": _bollinger,
    "vwap": _vwap,
}
