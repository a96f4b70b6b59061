"""Decide whether one point is valid: the only place that does.

`check_point` is the one truth of what a point may be. The model (`NormalizedDataPoint`) and the
columns (`router.admission`) ask it, or only ever accept less than it does.

Where two choices were possible, these hold at every door:

- Names (symbol, source, indicators' keys) are text of 1 to 128 characters in Unicode normal form C,
  and are normalised to it. A backslash, `..` as a part of a path, a name that is `.`, and blanks at
  either end are refused as `symbol.charset`; line separators count as control characters. Everything
  else is plain text that nobody formats again: `BTC/USDT`, `^GSPC`, `BTC USD,a=b`, `=A1`, `{x}`.
  Look-alike letters make another name.
- `None`, an absent field and an empty name are the same: `required` where there is no default,
  else the default. An absent volume stays absent. An indicator without a value is left out.
- Numbers are numbers, Decimals, or ASCII text of digits with an optional sign, fraction and exponent;
  never bools. All become the nearest float64. More than 17 significant digits are noted as `rounded`,
  or refused as `number.precision` for `Rules.exact_sources`.
- Timestamps are aware datetimes or ISO 8601 text with seconds and a zone, `T` or a blank between day
  and time. Digits below the microsecond are refused unless they are zeros. A local time that a change
  of clocks makes twice is refused unless the rules say which it is, one that never comes always.
- A bar that does not start at a multiple of its timeframe (below one day) is accepted and noted as
  `misaligned`.
- Whether a price may be zero or negative depends on the asset class, so it is judged only where that
  is known. `ohlc.out_of_range` is not repeated where `ohlc.high_below_low` says it all.
- Unknown fields are ignored; a point of more than 64 fields is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from math import inf
from typing import Any, Final, NamedTuple

from router.check_names import check_asset_class, check_flag, check_indicators, check_name, check_timeframe
from router.check_numbers import FLOAT_DIGITS, check_number, check_score, check_volume, significant_digits
from router.check_times import check_timestamp
from router.errors import PointError, Reason
from router.rules import DEFAULT, Rules
from router.schema import COLUMNS, NEGATIVE_PRICES, PRICES, TIMEFRAMES

__all__ = ["DEFAULT", "INTRADAY", "MAX_FIELDS", "Checked", "Rules", "check_point", "is_misaligned"]

#: Fields a point may have, known and unknown together.
MAX_FIELDS: Final = 64


class Checked(NamedTuple):
    """What became of one point.

    Attributes:
        values: The fields of the schema with typed values; None if the point was refused.
        reasons: Every reason to refuse it, in the order of the fields, those between fields last.
        notes: What was noted of an accepted point: `rounded`, `misaligned`.
    """

    values: dict[str, Any] | None
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()


_FIELD_CHECKS: Final[dict[str, Callable[[Any, str, Rules], Any]]] = {
    "timestamp": check_timestamp,
    **dict.fromkeys(PRICES, check_number),
    "volume": check_volume,
    "symbol": check_name,
    "asset_class": check_asset_class,
    "timeframe": check_timeframe,
    "source": check_name,
    "data_quality_score": check_score,
    "is_realtime": check_flag,
    "technical_indicators": check_indicators,
}
_CHECKS: Final = tuple(_FIELD_CHECKS.items())
_NUMBERS: Final[tuple[str, ...]] = (*PRICES, "volume", "data_quality_score")
_ORDER: Final = {name: position for position, name in enumerate(COLUMNS)}
_NOTES: Final[dict[tuple[bool, bool], tuple[str, ...]]] = {
    (False, False): (),
    (True, False): ("rounded",),
    (False, True): ("misaligned",),
    (True, True): ("rounded", "misaligned"),
}
_DAY: Final = 86_400_000_000
#: Timeframes below one day, and their length in microseconds.
INTRADAY: Final = {name: length for name, length in TIMEFRAMES.items() if length and length < _DAY}


def check_point(raw: Mapping[str, Any], rules: Rules = DEFAULT) -> Checked:
    """Return the typed values of one point, or every reason to refuse it.

    Args:
        raw: Field names and values, as they came.
        rules: What is asked of it.
    """
    values: dict[str, Any] = {}
    reasons: list[Reason] = []
    for field, check in _CHECKS:
        try:
            values[field] = check(raw.get(field), field, rules)
        except PointError as error:
            reasons += error.reasons
    rounded = _rounded_fields(raw, values)
    if reasons or rounded or len(raw) > MAX_FIELDS or not _is_coherent(values):
        reasons += _other_reasons(raw, values, rounded, rules)
    if reasons:
        return Checked(None, tuple(sorted(reasons, key=_position)))
    misaligned = is_misaligned(values)
    return Checked(values, (), _NOTES[bool(rounded), misaligned])


def is_misaligned(values: Mapping[str, Any]) -> bool:
    """Return whether an intraday bar starts at something other than a multiple of its timeframe."""
    length = INTRADAY.get(values["timeframe"])
    if length is None:
        return False
    start: datetime = values["timestamp"]
    seconds = (start.hour * 60 + start.minute) * 60 + start.second
    return (seconds * 1_000_000 + start.microsecond) % length != 0


def _is_coherent(values: dict[str, Any]) -> bool:
    low, high = values["low"], values["high"]
    inside: bool = low <= values["open"] <= high and low <= values["close"] <= high
    return inside and (low > 0 or values["asset_class"] in NEGATIVE_PRICES)


def _rounded_fields(raw: Mapping[str, Any], values: dict[str, Any]) -> list[str]:
    fields = [name for name in _NUMBERS if type(raw.get(name)) is not float]
    if fields:
        fields = [name for name in fields if name in values and _is_long(raw.get(name))]
    if values.get("technical_indicators") and any(map(_is_long, raw["technical_indicators"].values())):
        fields.append("technical_indicators")
    return fields


def _is_long(number: object) -> bool:
    if number is None or (isinstance(number, str) and len(number) <= FLOAT_DIGITS):
        return False
    return significant_digits(number) > FLOAT_DIGITS


def _other_reasons(
    raw: Mapping[str, Any], values: dict[str, Any], rounded: list[str], rules: Rules
) -> Iterator[Reason]:
    if len(raw) > MAX_FIELDS:
        yield Reason("envelope.fields", "", f"has {len(raw)} fields: send at most {MAX_FIELDS}")
    if values.get("source") in rules.exact_sources:
        for name in rounded:
            message = f"has more than {FLOAT_DIGITS} significant digits, and its source is declared exact"
            yield Reason("number.precision", name, message)
    if "asset_class" in values and values["asset_class"] not in NEGATIVE_PRICES:
        for name in PRICES:
            if values.get(name, 1.0) <= 0:
                message = f"{values[name]} is not above zero, as prices of {values['asset_class']} are"
                yield Reason("number.not_positive", name, message)
    yield from _range_reasons(values)


def _range_reasons(values: dict[str, Any]) -> Iterator[Reason]:
    low, high = values.get("low", -inf), values.get("high", inf)
    if high < low:
        yield Reason("ohlc.high_below_low", "high", f"{high} is below the low {low}")
        return
    for name in ("open", "close"):
        if name in values and not low <= values[name] <= high:
            message = f"{values[name]} is outside {low} to {high}, the low and the high of its bar"
            yield Reason("ohlc.out_of_range", name, message)


def _position(reason: Reason) -> tuple[bool, int]:
    return reason.code.startswith("ohlc."), _ORDER.get(reason.field.partition(".")[0], -1)
