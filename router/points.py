"""NormalizedDataPoint: one OHLCV bar, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from router.checks import check_point
from router.enriching import values_at
from router.errors import PointError, Reason
from router.indicators import indicators
from router.rules import DEFAULT, Rules
from router.schema import AssetClass
from router.series import Standing

_set: Final = object.__setattr__  # a frozen point is filled past its own __setattr__


class NormalizedDataPoint(BaseModel):
    """One OHLCV bar; a frozen value, equal to another with the same fields.

    Whatever `router.checks.check_point` accepts may be given: `NormalizedDataPoint(open="42000.1", ...)`
    holds 42000.1. What it refuses raises pydantic's ValidationError, one line per reason, whose type is
    the reason's code.
    """

    model_config = ConfigDict(frozen=True)
    __slots__ = ("_stands",)  # no part of the value: a copy, a revised point and one unpickled stand nowhere

    timestamp: datetime  #: start of the bar, UTC
    open: float  #: first price, in the symbol's quote currency as are all four
    high: float  #: highest price
    low: float  #: lowest price
    close: float  #: last price
    volume: float | None = None  #: traded in the bar, in units of the source; None: not known
    symbol: str  #: what was traded, as the source names it
    asset_class: AssetClass  #: what kind of thing that is
    timeframe: str  #: length of the bar, one of `router.schema.TIMEFRAMES`
    source: str  #: who reported it
    data_quality_score: float = 1.0  #: the producer's trust in it, 0 to 1
    is_realtime: bool = False  #: whether it was sent as it happened
    technical_indicators: dict[str, float] | None = None  #: numbers by name; None: none given

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if type(data) is not dict:
            if isinstance(data, cls):
                return handler(data)
            data = _fields(data)
        checked = check_point(data)
        if checked.values is None:
            lines = [_line(reason, data) for reason in checked.reasons]
            raise ValidationError.from_exception_data(cls.__name__, lines)
        return handler(checked.values)

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], rules: Rules = DEFAULT) -> Self:
        """Return the point that a mapping of fields describes.

        Raises:
            PointError: If it is refused, with every reason.
        """
        checked = check_point(raw, rules)
        if checked.values is None:
            raise PointError(checked.reasons)
        return cls.trusted(checked.values)

    @classmethod
    def trusted(cls, values: dict[str, Any], stands: tuple[Standing, int] | None = None) -> Self:
        """Return a point of all 13 values, which were checked before; it keeps the dict.

        Args:
            values: By field.
            stands: Where it stands among the bars of its series: the standing of a batch, and its row there.
        """
        if type(values["asset_class"]) is not AssetClass:
            values["asset_class"] = AssetClass(values["asset_class"])
        if values["timestamp"].tzinfo is not UTC:
            values["timestamp"] = values["timestamp"].astimezone(UTC)
        point = cls.__new__(cls)
        _set(point, "__dict__", values)
        _set(point, "__pydantic_fields_set__", set(values))
        _set(point, "__pydantic_extra__", None)
        _set(point, "__pydantic_private__", None)
        if stands is not None:
            _set(point, "_stands", stands)
        return point

    @property
    def identity(self) -> tuple[str, str, str, datetime]:
        """What makes two points the same bar: source, symbol, timeframe, timestamp."""
        return self.source, self.symbol, self.timeframe, self.timestamp

    def revised(self, **changes: Any) -> Self:
        """Return this point with other values, checked again.

        Raises:
            pydantic.ValidationError: If the new point is refused.
        """
        return type(self)(**{**self.__dict__, **changes})

    def enrich_with_indicators(self, *names: str) -> Self:
        """Return this point with technical indicators, made of the bars before it in its series.

        A point that a route's transform is given stands among them, where the transform names this method;
        indicators it has already stay, unless they are made anew. See docs/indicators.md.

        Args:
            names: Such as `sma_20`, `rsi_14`; none: those of `router.indicators.DEFAULT`.

        Raises:
            TransformError: It stands alone, or fewer bars are kept than these indicators need.
            ConfigError: A name means nothing; `package.missing` without TA-Lib.
        """
        stands: tuple[Standing, int] | None = getattr(self, "_stands", None)
        found = values_at(stands, indicators(names))
        held = self.technical_indicators
        merged = held if not found else {**(held or {}), **found}
        return self.trusted({**self.__dict__, "technical_indicators": merged}, stands)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the point as JSON types; the timestamp is ISO 8601 UTC."""
        return self.model_dump(mode="json")

    def __hash__(self) -> int:
        return hash(self.identity)


def _fields(data: Any) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise PydanticCustomError("type", "a point is a mapping of fields")
    return dict(data)


def _line(reason: Reason, data: Mapping[str, Any]) -> InitErrorDetails:
    loc = tuple(reason.field.split(".", 1)) if reason.field else ()
    return InitErrorDetails(
        type=PydanticCustomError(reason.code, reason.message),
        loc=loc,
        input=data.get(loc[0]) if loc else dict(data),
    )
