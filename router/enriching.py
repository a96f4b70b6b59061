"""Give points technical indicators, made of the bars before them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Final

from router.errors import TransformError
from router.indicator_maps import with_values
from router.indicator_values import Floats, talib
from router.indicator_windows import history_for, window_values
from router.indicators import TOLERANCE, Indicator, checked_tolerance, indicators
from router.placing import place
from router.series import History, Placed, Standing

if TYPE_CHECKING:
    from router.batch import PointBatch

_ALONE: Final = (
    "a point alone has no bars before it, and indicators are made of these. In a route: let the transform "
    "itself name enrich_with_indicators (a helper that calls it is not seen), or give the route "
    "transform=Indicators('sma_20', ...). For bars at hand: PointBatch.of(bars).enrich_with_indicators()"
)
_UNSEEN: Final = (
    "the transform of route {} does not say that it needs the bars before: name enrich_with_indicators in "
    "it, or give it an attribute, transform.history = Indicators({}).history"
)


class Indicators:
    """A transform that adds technical indicators: ``Route(..., transform=Indicators("sma_20", "rsi_14"))``.

    Each point gets the values of its bar among those before it in its series (source, symbol, timeframe).
    The route keeps as many of them as make the values those over the whole series. A value that is not known
    yet is left out. What a point was given under other names stays; under the same, the new value counts.

    Args:
        names: Such as `ema_12`, `macd_12_26_9`, `bollinger_20_2`; none: those of `router.indicators.DEFAULT`.
        tolerance: How far a value may be from that over the whole series, relative to it.

    Raises:
        ConfigError: `enum`, `range` or `type`; `package.missing` without TA-Lib.
    """

    def __init__(self, *names: str, tolerance: float = TOLERANCE) -> None:
        self.indicators = indicators(names)
        self.tolerance = checked_tolerance(tolerance)
        self.history = history_for(self.indicators, self.tolerance)
        talib()

    def __call__(self, batch: PointBatch) -> PointBatch:
        """Return the rows of a batch with indicators; without a standing, nothing came before them."""
        return enriched(batch, self.indicators, self.tolerance)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Indicators) and self._made_of() == other._made_of()

    def __hash__(self) -> int:
        return hash(self._made_of())

    def __repr__(self) -> str:
        return f"Indicators({_shown(self.indicators)}, tolerance={self.tolerance:g})"

    def _made_of(self) -> tuple[tuple[Indicator, ...], float]:
        return self.indicators, self.tolerance


def enriched(batch: PointBatch, wanted: tuple[Indicator, ...], tolerance: float = TOLERANCE) -> PointBatch:
    """Return the rows of a batch with indicators, made of the bars they stand among.

    Raises:
        TransformError: It is of a delivery and stands among no bars, or their windows are too short.
    """
    standing = batch.standing
    if standing is None:
        if batch.route_id is not None:  # a part of what comes: not all there was
            raise TransformError(_UNSEEN.format(batch.route_id, _shown(wanted)))
        standing = Standing(place(History.empty(), batch.frame, history_for(wanted, tolerance)))
    values = _values(standing, wanted, tolerance)[standing.rows]
    maps = with_values(batch.frame["technical_indicators"], _names(wanted), values)
    return batch.with_frame(batch.frame.with_columns(maps))


def values_at(stands: tuple[Standing, int] | None, wanted: tuple[Indicator, ...]) -> dict[str, float]:
    """Return the indicators of one row of a batch, by name; those without a value are left out.

    Raises:
        TransformError: It does not stand among other bars, or their windows are too short.
    """
    if stands is None:
        raise TransformError(_ALONE)
    standing, row = stands
    values = _values(standing, wanted, TOLERANCE)[standing.rows[row]].tolist()
    return {name: value for name, value in zip(_names(wanted), values, strict=True) if not isnan(value)}


def _names(wanted: Sequence[Indicator]) -> list[str]:
    return [name for one in wanted for name in one.values]


def _shown(wanted: Sequence[Indicator]) -> str:
    return ", ".join(repr(one.name) for one in wanted)


def _values(standing: Standing, wanted: tuple[Indicator, ...], tolerance: float) -> Floats:
    def make(placed: Placed) -> Floats:
        needed, kept = history_for(wanted, tolerance).bars, placed.policy.bars
        if kept < needed:
            names = _shown(wanted)
            raise TransformError(
                f"{names} need {needed} bars of each series, and {kept} are kept: "
                f"give the route transform=Indicators({names})"
            )
        return window_values(placed, wanted, tolerance)

    return standing.once(("indicators", wanted, tolerance), make)
