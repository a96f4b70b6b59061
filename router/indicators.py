"""Indicators: what they are called, from which bar on they have a value, how much history makes it theirs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, Self

from router.check_numbers import shown
from router.errors import ConfigError
from router.names import nearest

#: Relative difference from the value over the whole series that is small enough, unless somebody says so.
TOLERANCE: Final = 1e-6
#: Below the first, float64 sums of the same prices differ by their order; above the last, all is equal.
TOLERANCES: Final = (1e-8, 0.1)

_WHERE: Final = "indicators"
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")


class _Range(NamedTuple):
    what: str
    low: float
    high: float
    whole: bool = True


_BARS: Final = _Range("bars", 2, 5000)
_WIDTH: Final = _Range("standard deviations", 0.1, 100, whole=False)


# `fades`: of each average of averages, one after another, what a step leaves of all before it.
# `spread`: how many times the value what is not known of the bars before a window may be.
# `ratio`: whether it is one of two averages that fade alike while nothing moves.
@dataclass(frozen=True, slots=True)
class _Kind:
    usual: tuple[float, ...]
    lookback: Callable[..., float]
    ranges: tuple[_Range, ...] = (_BARS,)
    values: tuple[str, ...] = ()
    fades: Callable[..., tuple[float, ...]] = lambda *_: ()
    spread: float = 1.0
    ratio: bool = False


def _one_less(bars: float, *_: float) -> float:
    return bars - 1


def _as_many(bars: float) -> float:
    return bars


def _macd_lookback(_: float, slow: float, signal: float) -> float:
    return slow + signal - 2


def _exponential(bars: float) -> tuple[float, ...]:
    return (1 - 2 / (bars + 1),)


def _wilder(bars: float) -> tuple[float, ...]:
    return (1 - 1 / bars,)


def _macd_fades(_: float, slow: float, signal: float) -> tuple[float, ...]:
    return *_exponential(slow), *_exponential(signal)


#: Prices before a window are taken to be at most so many times those in it.
_PRICES: Final = 10.0
#: Moves before a window, as at a split, and averages beside their difference.
_MOVES: Final = 1_000_000.0
#: How much of that is left to moves that fade while the close stands still.
_STILL: Final = 1_000.0

_KINDS: Final[dict[str, _Kind]] = {
    "sma": _Kind((20,), _one_less),
    "ema": _Kind((12,), _one_less, fades=_exponential, spread=_PRICES),
    "rsi": _Kind((14,), _as_many, fades=_wilder, spread=_MOVES, ratio=True),
    "macd": _Kind(
        (12, 26, 9),
        _macd_lookback,
        (_BARS, _BARS, _BARS),
        ("", "signal", "histogram"),
        _macd_fades,
        spread=_MOVES,
    ),
    "atr": _Kind((14,), _as_many, fades=_wilder, spread=_MOVES),
    "bollinger": _Kind((20, 2), _one_less, (_BARS, _WIDTH), ("upper", "middle", "lower")),
    "vwap": _Kind((20,), _one_less),
}
#: What is meant where no names are given.
DEFAULT: Final = (
    "sma_20",
    "ema_12",
    "ema_26",
    "rsi_14",
    "macd_12_26_9",
    "atr_14",
    "bollinger_20_2",
    "vwap_20",
)


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator of the closes, highs, lows and volumes of a series.

    Attributes:
        kind: "sma", "ema", "rsi", "macd", "atr", "bollinger" or "vwap".
        numbers: Its parameters: bars, and the width of Bollinger bands in standard deviations.
    """

    kind: str
    numbers: tuple[float, ...]

    @classmethod
    def of(cls, name: str) -> Self:
        """Return what a name such as `rsi_14` or `macd_12_26_9` means; `rsi` means the usual one.

        Raises:
            ConfigError: `enum` if there is no such indicator, `range` or `type` if its parameters cannot be.
        """
        kind, *written = name.split("_")
        if kind not in _KINDS:
            known = ", ".join(map(usual_name, _KINDS))
            hint = nearest(name, ["_".join([one, *written]) for one in _KINDS])
            raise ConfigError("enum", _WHERE, f"{shown(name)} is none of {known}{hint}")
        numbers = _numbers(name, kind, written) if written else _KINDS[kind].usual
        return cls(kind, numbers)

    @property
    def name(self) -> str:
        """The name with its parameters, the same for equal ones."""
        return "_".join([self.kind, *(f"{number:.10g}" for number in self.numbers)])

    @property
    def values(self) -> tuple[str, ...]:
        """What its values are called in `technical_indicators`.

        One alone is called as the indicator; of several, those with the usual parameters go without.
        """
        kind = _KINDS[self.kind]
        if not kind.values:
            return (self.name,)
        first = self.kind if self.numbers == kind.usual else self.name
        return tuple(f"{first}_{value}" if value else first for value in kind.values)

    @property
    def lookback(self) -> int:
        """How many bars of a series have no value, being its first."""
        return int(_KINDS[self.kind].lookback(*self.numbers))

    @property
    def standstill(self) -> int | None:
        """For how many bars the close may stay as it is, and a window still have the value; None: for any.

        RSI is a ratio of two averages. Both fade while nothing moves, and then it is decided by moves ever
        longer ago.
        """
        kind = _KINDS[self.kind]
        if not kind.ratio:
            return None
        return int(-math.log(_STILL) / math.log(kind.fades(*self.numbers)[0]))

    def warm_up(self, tolerance: float = TOLERANCE) -> int:
        """Return how many bars, its own the last, make a value that of the whole series.

        An average over some bars needs these. An exponential one remembers all bars there ever were:
        each step leaves the same part of what was before, so the number of steps is how often that part
        must be multiplied until what is unknown is less than the tolerance. An average of such averages
        needs the steps of both, each to half the tolerance.

        What is unknown is taken to be at most ten times the value for EMA, and a million times for RSI, ATR
        and MACD, which are made of moves or are a difference. A value smaller than a millionth of the price,
        or than 0.1 of RSI, is as exact as one of that size; of RSI see `standstill` too.

        Args:
            tolerance: Relative difference that does not matter, 1e-8 to 0.1.

        Raises:
            ConfigError: `range`: the tolerance is not one of those.
        """
        kind = _KINDS[self.kind]
        fades = kind.fades(*self.numbers)
        part = checked_tolerance(tolerance) / kind.spread / max(1, len(fades))
        return self.lookback + 1 + sum(math.ceil(math.log(part) / math.log(fade)) for fade in fades)


def indicators(names: tuple[str, ...] = ()) -> tuple[Indicator, ...]:
    """Return the indicators of some names, each once; without names those of `DEFAULT`.

    Raises:
        ConfigError: As `Indicator.of`, and `type` for what is no text.
    """
    for name in names:
        if not isinstance(name, str):
            message = f"{shown(name)} is not the name of an indicator: write sma_20, rsi_14, each by itself"
            raise ConfigError("type", _WHERE, message)
    return _known(names or DEFAULT)


@lru_cache(maxsize=256)
def _known(names: tuple[str, ...]) -> tuple[Indicator, ...]:
    return tuple(dict.fromkeys(map(Indicator.of, names)))


def usual_name(kind: str) -> str:
    """Return the name of a kind of indicator with its usual parameters."""
    return Indicator(kind, _KINDS[kind].usual).name


def checked_tolerance(tolerance: float) -> float:
    """Return a tolerance that can be met.

    Raises:
        ConfigError: `range`.
    """
    low, high = TOLERANCES
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not low <= tolerance <= high:
        raise ConfigError(
            "range", "tolerance", f"{shown(tolerance)} is not a number from {low:g} to {high:g}"
        )
    return float(tolerance)


def _numbers(name: str, kind: str, written: list[str]) -> tuple[float, ...]:
    ranges = _KINDS[kind].ranges
    numbers = [float(text) for text in written if _NUMBER.fullmatch(text)]
    if len(numbers) != len(written) or len(written) != len(ranges):
        wanted = f"{len(ranges)} number{'s' * (len(ranges) > 1)}"
        raise ConfigError("type", _WHERE, f"{shown(name)}: {kind} takes {wanted}, as in {usual_name(kind)}")
    for number, (what, low, high, whole) in zip(numbers, ranges, strict=True):
        if not low <= number <= high or (whole and number % 1):
            raise ConfigError(
                "range", _WHERE, f"{shown(name)}: {what} are {'whole, ' * whole}{low} to {high}"
            )
    if kind == "macd" and numbers[0] >= numbers[1]:
        message = f"{shown(name)}: the first average is over fewer bars than the second"
        raise ConfigError("range", _WHERE, f"{message}, as in {usual_name(kind)}")
    return tuple(numbers)
