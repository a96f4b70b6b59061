"""Read Databento's bars: records of the schemas ohlcv-1s, ohlcv-1m, ohlcv-1h and ohlcv-1d."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from numbers import Integral
from typing import Any, Final

import numpy as np
import polars as pl

from router.adapters.flat import flat
from router.adapters.records import Record, checked, moment_of, no_bar, value_of
from router.adapters.timeframes import timeframe_of
from router.errors import DecodeError
from router.from_frames import is_frame
from router.schema import PRICES

#: A price that is not there, and a moment that is not there.
UNDEFINED_PRICE: Final = 2**63 - 1
UNDEFINED_TIMESTAMP: Final = 2**64 - 1
#: Up to here an integer is a float64 exactly, so that dividing it rounds once, to the nearest.
_EXACT: Final = 2**53
_SCALE: Final = 1_000_000_000
_TIMEFRAMES: Final = {32: "1s", 33: "1m", 34: "1h", 35: "1d"}
_SCHEMAS: Final = {f"ohlcv-{timeframe}": timeframe for timeframe in _TIMEFRAMES.values()}
_DIGITS: Final = re.compile(r"-?[0-9]{1,20}")
_NEEDED: Final = ("ts_event", *PRICES)
_FIELDS: Final = (*_NEEDED, "volume", "rtype", "instrument_id", "symbol")


def from_databento(
    records: Any,
    *,
    asset_class: str,
    symbol: str | None = None,
    symbols: Mapping[int, str] | None = None,
    timeframe: str | None = None,
    source: str = "databento",
) -> pl.DataFrame | list[Record]:
    """Return Databento's bars as points to be admitted.

    Whole numbers as prices are fixed point, a billion to the unit, and become the float64 nearest to what
    they say; one of more than 17 digits, above 100 million, is counted as rounded when it is admitted. A
    price or a timestamp that Databento marks as undefined is missing, and its point is refused.

    Source: Databento, "Aggregate bars (OHLCV)": `ts_event` is the inclusive start of the bar in nanoseconds
    since 1970, UTC; prices are signed integers of 1e-9; rtype 32 to 35 is 1 second, minute, hour, day.
    "Common fields, enums and types": INT64_MAX is an undefined price, UINT64_MAX an undefined timestamp.

    Args:
        records: A `DBNStore`; its `to_df()` with prices of any type, or another frame with these columns; its
            `to_ndarray()`; or records: mappings (with a header `hd` as in JSON, or without) or objects
            with attributes, as one gets by iterating.
        asset_class: What kind of thing they are, such as `equity` or `futures`.
        symbol: The symbol of all records; None: each one's own `symbol`, or that of its instrument.
        symbols: Symbols by `instrument_id`, for records that name none.
        timeframe: The timeframe of all records; None: that of each one's `rtype`.
        source: Whom to name, such as the dataset `GLBX.MDP3`.

    Returns:
        A frame for a frame or an array, else a list, one entry for each record, in order.

    Raises:
        ConfigError: What no point can have was given for all of them.
        DecodeError: `envelope.shape`, if a frame has not the columns of bars.
    """
    word = timeframe and timeframe_of(timeframe)
    constants = checked(symbol=symbol, timeframe=word, asset_class=asset_class, source=source)
    named = {str(instrument): name for instrument, name in (symbols or {}).items()}
    if hasattr(records, "to_df"):
        records = records.to_df(price_type="fixed")
    if isinstance(records, np.ndarray) and records.dtype.names:
        flattened = records.reshape(-1)
        columns = [pl.Series(name, np.ascontiguousarray(flattened[name])) for name in _present(records)]
        return _frame(pl.DataFrame(columns), constants, named)
    if is_frame(records):
        return _frame(flat(records), constants, named)
    return [_point(record, constants, named) for record in _listed(records)]


def _present(records: np.ndarray[Any, Any]) -> Iterator[str]:
    return (name for name in _FIELDS if name in (records.dtype.names or ()))


def _listed(records: Any) -> Iterable[Any]:
    return [records] if isinstance(records, Mapping) or not hasattr(records, "__iter__") else records


# -- by the column ----------------------------------------------------------------------------


def _frame(frame: pl.DataFrame, constants: Mapping[str, str], named: Mapping[str, str]) -> pl.DataFrame:
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        raise DecodeError("envelope.shape", f"these are no bars of Databento: no column {', '.join(missing)}")
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, len(frame))
    columns = {name: frame[name] if name in frame.columns else absent for name in _FIELDS}
    symbols = columns["symbol"].cast(pl.String)
    by_instrument = columns["instrument_id"].cast(pl.String).replace_strict(named, default=None)
    return pl.DataFrame(
        {
            "timestamp": _timestamps(columns["ts_event"]),
            **{name: _prices(columns[name]) for name in PRICES},
            "volume": columns["volume"],
            "symbol": symbols.zip_with(symbols.str.len_bytes() > 0, by_instrument),
            "timeframe": _timeframes(columns["rtype"]),
        }
    ).with_columns(pl.lit(value).alias(name) for name, value in constants.items())


def _timeframes(rtypes: pl.Series) -> pl.Series:
    known = {rtype: _timeframe(rtype) for rtype in rtypes.unique()}
    return rtypes.replace_strict(list(known), list(known.values()), return_dtype=pl.String)


# What is too late for nanoseconds in 64 bits is beyond what any destination can say: missing.
def _timestamps(raw: pl.Series) -> pl.Series:
    if not raw.dtype.is_integer():
        return raw
    return raw.cast(pl.Int64, strict=False).cast(pl.Datetime("ns", "UTC"))


def _prices(raw: pl.Series) -> pl.Series:
    if not raw.dtype.is_integer():
        return raw
    whole = raw.cast(pl.Int64, strict=False)
    known = whole.set(whole == UNDEFINED_PRICE, None)
    if not (known.abs() > _EXACT).any():
        # By numpy: Polars multiplies by the inverse of what it divides by, which rounds twice.
        return pl.Series(known.cast(pl.Float64).to_numpy() / _SCALE, nan_to_null=True)
    return pl.Series([None if price is None else _decimal(price) for price in known], dtype=pl.String)


# -- record by record -------------------------------------------------------------------------


def _point(record: Any, constants: Mapping[str, str], named: Mapping[str, str]) -> Record:
    values = {name: _value(record, name) for name in _FIELDS}
    if all(values[name] is None for name in PRICES):
        return no_bar(record, "a bar of Databento: it has no prices")
    start = _whole(values["ts_event"])
    return {
        "timestamp": None if start == UNDEFINED_TIMESTAMP else moment_of(start, "ns"),
        **{name: _price(values[name]) for name in PRICES},
        "volume": _whole(values["volume"]),
        "symbol": values["symbol"] or named.get(str(values["instrument_id"])),
        "timeframe": _timeframe(values["rtype"]),
        **constants,
    }


# In JSON, and in records of older versions, part of it stands in a header.
def _value(record: Any, name: str) -> Any:
    value = value_of(record, name)
    return value_of(value_of(record, "hd"), name) if value is None else value


# JSON of Databento writes 64-bit integers as text.
def _whole(value: Any) -> Any:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _price(value: Any) -> Any:
    number = _whole(value)
    if type(number) is not int:
        return number
    if number == UNDEFINED_PRICE:
        return None
    return number / _SCALE if abs(number) <= _EXACT else Decimal(_decimal(number))


def _decimal(number: int) -> str:
    return f"{Decimal(number).scaleb(-9):f}"


def _timeframe(rtype: Any) -> str | None:
    if rtype is None:
        return None
    text = str(rtype).lower().replace("_", "-").rpartition(".")[2]
    try:
        return _TIMEFRAMES.get(int(rtype), f"rtype {int(rtype)}")
    except (TypeError, ValueError):
        return _SCHEMAS.get(text, f"rtype {text}")
