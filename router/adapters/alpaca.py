"""Read Alpaca's bars: answers of its REST interface, and the objects and frames of alpaca-py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl

from router.adapters.flat import flat
from router.adapters.frame import from_frame
from router.adapters.records import Record, checked, no_bar, value_of
from router.adapters.timeframes import timeframe_of
from router.from_frames import is_frame
from router.schema import PRICES

_FIELDS: Final = {"timestamp": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
_LETTERS: Final = frozenset(_FIELDS.values())


def from_alpaca(
    bars: Any, *, timeframe: object, asset_class: str, symbol: str | None = None, source: str = "alpaca"
) -> pl.DataFrame | list[Record]:
    """Return Alpaca's bars as points to be admitted; trade counts and average prices are not kept.

    Source: Alpaca, "Historical bars": `{"bars": {"AAPL": [{"t", "o", "h", "l", "c", "v", "n", "vw"}]},
    "next_page_token"}` for several symbols, `{"symbol", "bars": [...]}` for one, null where there is none;
    "Stock Minute Bars": bars are labelled with their start, although alpaca-py calls it the end.

    Args:
        bars: An answer of the REST interface as it was decoded (one page of it), a `BarSet`, its `df`, a
            list of bars, or one: with letters as names or with whole words, mappings or objects.
        timeframe: What was asked for: `1Min`, `1Hour`, `1Day`, a `TimeFrame`, or a timeframe of a point.
        asset_class: What kind of thing they are: `equity`, `crypto`, `option`.
        symbol: The symbol of bars that name none.
        source: Whom to name.

    Returns:
        A frame for a frame, else a list, one entry for each bar, in order.

    Raises:
        ConfigError: What no point can have was given for all of them; for a frame, what `from_frame` raises.
    """
    word = timeframe_of(timeframe)
    if is_frame(bars):
        frame = flat(bars)
        known = frame.select(name for name in (*_FIELDS, "symbol") if name in frame.columns)
        named = None if "symbol" in frame.columns else symbol
        return from_frame(known, symbol=named, timeframe=word, asset_class=asset_class, source=source)
    constants = checked(timeframe=word, asset_class=asset_class, source=source)
    return [_point(name, bar, constants) for name, bar in _bars(getattr(bars, "data", bars), symbol)]


def _bars(given: Any, symbol: str | None) -> Iterator[tuple[str | None, Any]]:
    """Yield each bar with its symbol; an answer without bars says null."""
    if isinstance(given, Mapping) and ("bars" in given or "bar" in given):
        yield from _bars(given.get("bars", given.get("bar")), given.get("symbol") or symbol)
    elif isinstance(given, Mapping) and not given.keys() & (_LETTERS | _FIELDS.keys()):
        for name, own in given.items():
            yield from _bars(own, name)
    elif isinstance(given, list | tuple):
        yield from ((symbol, bar) for bar in given)
    elif given is not None:
        yield symbol, given


def _point(symbol: str | None, bar: Any, constants: Mapping[str, str]) -> Record:
    values = {name: _value(bar, name, letter) for name, letter in _FIELDS.items()}
    if all(values[name] is None for name in PRICES):
        return no_bar(bar, "a bar of Alpaca: it has no prices")
    return {**values, "symbol": _value(bar, "symbol", "S") or symbol, **constants}


def _value(bar: Any, name: str, letter: str) -> Any:
    value = value_of(bar, letter)
    return value_of(bar, name) if value is None else value
