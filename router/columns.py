"""Say, by the column, which rows are surely valid; the others are for `check_point` to judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import polars as pl

from router.check_names import FLAGS, MAX_INDICATORS, check_asset_class, check_name, check_timeframe
from router.check_numbers import FLOAT_DIGITS, NUMBER_PATTERN
from router.check_times import EARLIEST, HEAD_LENGTH, LATEST, MINUTE_PATTERN, read_tail
from router.checks import INTRADAY, MAX_FIELDS
from router.errors import PointError
from router.rows import Mask
from router.rules import TIMESTAMP_UNITS, Rules
from router.schema import FRAME_SCHEMA, NEGATIVE_PRICES, PRICES

_TEXT_TYPES: Final = (pl.String, pl.Categorical, pl.Enum)
#: Integers below this have at most 17 digits, so that none of them counts as rounded.
_LONG: Final = float(10**FLOAT_DIGITS)
_TAILS: Final = 1000  # a column with more different fractions and zones is judged row by row
_SURE_HEAD: Final = f"^{MINUTE_PATTERN}[0-5][0-9]"
_TWICE: Final[dict[str | None, Literal["earliest", "latest", "null"]]] = {
    None: "null",
    "earlier": "earliest",
    "later": "latest",
}
_DATETIME: Final = FRAME_SCHEMA["timestamp"]
_INDICATORS: Final = FRAME_SCHEMA["technical_indicators"]


class Column(NamedTuple):
    """A column as the schema wants it, and where it surely says what was given."""

    values: pl.Series
    sure: Mask


def surely_valid(frame: pl.DataFrame, rules: Rules) -> tuple[pl.DataFrame, Mask]:
    """Return the columns of the schema, and the rows at which they are surely valid points.

    Args:
        frame: Columns typed or as text, in any order; unknown ones are ignored.
        rules: What is asked of the points.

    Returns:
        A frame of `FRAME_SCHEMA` with as many rows, and a mask. Rows outside the mask hold anything.
    """
    height = len(frame)
    absent = pl.Series([None], dtype=pl.Null).new_from_index(0, height)
    present = set(frame.columns)
    columns = {
        name: read(frame[name] if name in present else absent, rules) for name, read in _READERS.items()
    }
    typed = pl.DataFrame([column.values.alias(name) for name, column in columns.items()])
    sure = np.full(height, frame.width <= MAX_FIELDS)
    for column in columns.values():
        sure &= column.sure
    return typed, sure & _coherent(typed)


def misaligned(typed: pl.DataFrame) -> Mask:
    """Return the rows of a frame of `FRAME_SCHEMA` that `checks.is_misaligned` speaks of."""
    starts = typed["timestamp"].to_numpy().view(np.int64)
    found = np.zeros(len(typed), dtype=np.bool_)
    for timeframe in _distinct(typed["timeframe"]):
        if timeframe in INTRADAY:
            late = starts % INTRADAY[timeframe] != 0
            if late.any():
                found |= late & (typed["timeframe"] == timeframe).fill_null(value=False).to_numpy()
    return found


def _coherent(typed: pl.DataFrame) -> Mask:
    opened, high, low, close = (typed[name].to_numpy() for name in PRICES)
    inside: Mask = (low <= opened) & (low <= close) & (opened <= high) & (close <= high)
    above: Mask = low > 0
    if not above.all() and typed["asset_class"].is_in(list(NEGATIVE_PRICES)).any():
        above |= typed["asset_class"].is_in(list(NEGATIVE_PRICES)).fill_null(value=False).to_numpy()
    return inside & above & (low > -np.inf) & (high < np.inf)


# -- numbers ----------------------------------------------------------------------------------


def _price(raw: pl.Series, rules: Rules) -> Column:
    values, sure = _number(raw)
    return Column(values, sure & _is_given(values))


def _volume(raw: pl.Series, rules: Rules) -> Column:
    values, sure = _number(raw)
    numbers = values.to_numpy()
    return Column(values, sure & (((numbers >= 0) & (numbers < np.inf)) | ~_is_given(values)))


def _score(raw: pl.Series, rules: Rules) -> Column:
    if raw.null_count() == len(raw):
        return Column(_constant(raw, pl.Float64(), value=1.0), _everywhere(raw))
    values, sure = _number(raw)
    values = values.fill_null(1.0) if values.null_count() else values
    numbers = values.to_numpy()
    return Column(values, sure & (numbers >= 0) & (numbers <= 1))


def _number(raw: pl.Series) -> Column:
    if raw.dtype in (pl.Float64, pl.Float32, pl.Null):
        return Column(_as(raw, pl.Float64()), _everywhere(raw))
    if raw.dtype.is_integer():
        values = raw.cast(pl.Float64)
        return Column(values, ~(np.abs(values.to_numpy()) >= _LONG))
    if raw.dtype in _TEXT_TYPES or raw.dtype.is_decimal():
        return _number_text(raw.cast(pl.String))
    return _unreadable(raw, pl.Float64())


def _number_text(raw: pl.Series) -> Column:
    short = raw.str.len_bytes() <= FLOAT_DIGITS
    plain = raw.str.contains(f"^(?:{NUMBER_PATTERN})$") & short
    return Column(raw.cast(pl.Float64, strict=False), plain.fill_null(value=True).to_numpy())


# -- timestamps -------------------------------------------------------------------------------


def read_timestamps(raw: pl.Series, rules: Rules) -> Column:
    """Return what `check_timestamp` makes of each value, as far as it surely accepts it."""
    if isinstance(raw.dtype, pl.Datetime):
        values, sure = _of_datetimes(raw, rules)
    elif raw.dtype in _TEXT_TYPES:
        values, sure = _of_texts(raw.cast(pl.String), rules)
    elif raw.dtype.is_integer() and rules.timestamp_unit is not None:
        values, sure = _of_counts(raw, TIMESTAMP_UNITS[rules.timestamp_unit])
    else:
        return _unreadable(raw, _DATETIME)
    starts = values.to_numpy().view(np.int64)  # an absent one is the smallest integer
    latest = min(LATEST, rules.latest())
    inside = (starts >= _microseconds(EARLIEST)) & (starts <= _microseconds(latest))
    return Column(values, sure & inside)


def _of_datetimes(raw: pl.Series, rules: Rules) -> Column:
    zone, unit = raw.dtype.time_zone, raw.dtype.time_unit  # type: ignore[attr-defined]
    if zone is None and rules.zone is None:
        return _unreadable(raw, _DATETIME)
    if zone is None:
        raw = _localized(raw, rules)
    if raw.dtype == _DATETIME:
        return Column(raw, _everywhere(raw))
    per_second = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    return _of_counts(raw.dt.convert_time_zone("UTC").to_physical(), per_second)


def _localized(naive: pl.Series, rules: Rules) -> pl.Series:
    return naive.dt.replace_time_zone(rules.zone, ambiguous=_TWICE[rules.fold], non_existent="null")


def _of_counts(raw: pl.Series, per_second: int) -> Column:
    """Read integers since 1970 of which `per_second` make a second."""
    if raw.dtype != pl.Int64:
        raw = raw.cast(pl.Int64, strict=False)
    counts = raw.fill_null(0).to_numpy()
    if per_second > 1_000_000:
        factor = per_second // 1_000_000
        values, sure = raw // factor, counts % factor == 0
    else:
        factor = 1_000_000 // per_second
        largest = np.iinfo(np.int64).max // factor
        values, sure = raw * factor, (counts > -largest) & (counts < largest)
    return Column(values.cast(_DATETIME), sure)


def _of_texts(raw: pl.Series, rules: Rules) -> Column:
    tails = raw.str.slice(HEAD_LENGTH)
    kinds = tails.unique()
    if len(kinds) > _TAILS:
        return _unreadable(raw, _DATETIME)
    found = {tail: _tail(tail) for tail in kinds if tail is not None}
    known = {tail: parts[0] for tail, parts in found.items() if parts and (parts[1] or rules.zone)}
    heads = raw.str.slice(0, 10) + "T" + raw.str.slice(11, 8)
    moments = heads.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False).to_physical()
    ahead = tails.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Int64)
    values = (moments + ahead).cast(_DATETIME)
    local = [tail for tail, parts in found.items() if tail in known and parts and not parts[1]]
    if local:
        naive = _localized(values.dt.replace_time_zone(None), rules).dt.convert_time_zone("UTC")
        values = naive.zip_with(tails.is_in(local).fill_null(value=False), values)
    sure = raw.str.contains(_SURE_HEAD).fill_null(value=False).to_numpy()
    return Column(values, sure)


def _tail(tail: str) -> tuple[int, bool] | None:
    """Return the microseconds that what follows the seconds adds, and whether it names a zone."""
    try:
        fraction, offset = read_tail(tail)
    except PointError:
        return None
    return (fraction - (offset or timedelta())) // timedelta(microseconds=1), offset is not None


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


# -- text, yes or no, indicators --------------------------------------------------------------


def _words(check: Callable[[Any, str, Rules], str]) -> Callable[[pl.Series, Rules], Column]:
    def read(raw: pl.Series, rules: Rules) -> Column:
        if raw.dtype not in _TEXT_TYPES:
            return _unreadable(raw, pl.String())
        values = _as(raw, pl.String())
        words = _distinct(values)
        good = [word for word in words if word is not None and _stays(word, check, rules)]
        if len(good) == len(words):
            return Column(values, _everywhere(values))
        return Column(values, values.is_in(good).fill_null(value=False).to_numpy())

    return read


def _stays(word: str, check: Callable[[Any, str, Rules], str], rules: Rules) -> bool:
    try:
        return check(word, "", rules) == word
    except PointError:
        return False


def _flag(raw: pl.Series, rules: Rules) -> Column:
    if raw.null_count() == len(raw):
        return Column(_constant(raw, pl.Boolean(), value=False), _everywhere(raw))
    if raw.dtype == pl.Boolean:
        return Column(raw.fill_null(value=False) if raw.null_count() else raw, _everywhere(raw))
    if raw.dtype not in _TEXT_TYPES:
        return _unreadable(raw, pl.Boolean())
    words, meanings = list(FLAGS), list(FLAGS.values())
    values = raw.cast(pl.String).replace_strict(words, meanings, default=None, return_dtype=pl.Boolean)
    return Column(values.fill_null(value=False), ~(_is_given(raw) & ~_is_given(values)))


def _indicators(raw: pl.Series, rules: Rules) -> Column:
    if raw.null_count() == len(raw):
        return Column(_constant(raw, _INDICATORS), _everywhere(raw))
    if raw.dtype != _INDICATORS:
        return Column(_constant(raw, _INDICATORS), ~_is_given(raw))
    return Column(raw, _everywhere(raw) if _are_plain(raw, rules) else ~_is_given(raw))


def _are_plain(maps: pl.Series, rules: Rules) -> bool:
    keys = maps.map.keys()
    numbers = maps.map.values().explode(empty_as_null=False, keep_nulls=False)
    names = keys.explode(empty_as_null=False, keep_nulls=False).unique()
    return bool(
        numbers.null_count() == 0
        and numbers.is_finite().all()
        and (maps.map.len() <= MAX_INDICATORS).all()
        and keys.list.n_unique().sum() == len(numbers)
        and all(name is not None and _stays(name, check_name, rules) for name in names)
    )


_READERS: Final[Mapping[str, Callable[[pl.Series, Rules], Column]]] = {
    "timestamp": read_timestamps,
    **dict.fromkeys(PRICES, _price),
    "volume": _volume,
    "symbol": _words(check_name),
    "asset_class": _words(check_asset_class),
    "timeframe": _words(check_timeframe),
    "source": _words(check_name),
    "data_quality_score": _score,
    "is_realtime": _flag,
    "technical_indicators": _indicators,
}


# -- everywhere -------------------------------------------------------------------------------


def _is_given(values: pl.Series) -> Mask:
    return values.is_not_null().to_numpy() if values.null_count() else _everywhere(values)


def _everywhere(values: pl.Series) -> Mask:
    return np.ones(len(values), dtype=np.bool_)


def _distinct(words: pl.Series) -> list[Any]:
    if len(words) and not words.null_count() and (words == words[0]).all():
        return [words[0]]  # a constant column, which is usual, costs a tenth to recognise
    return words.unique().to_list()


def _as(raw: pl.Series, dtype: pl.DataType) -> pl.Series:
    return raw if raw.dtype == dtype else raw.cast(dtype)


def _constant(like: pl.Series, dtype: pl.DataType, *, value: float | None = None) -> pl.Series:
    return pl.Series(like.name, [value], dtype=dtype).new_from_index(0, len(like))


def _unreadable(raw: pl.Series, dtype: pl.DataType) -> Column:
    return Column(_constant(raw, dtype), np.zeros(len(raw), dtype=np.bool_))
