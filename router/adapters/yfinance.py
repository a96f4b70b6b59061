"""Read the frames of yfinance: `Ticker.history` and `download`, one ticker or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl

from router.adapters.flat import flat
from router.adapters.timeframes import LONG, timeframe_of
from router.adapters.zones import in_zone
from router.errors import DecodeError
from router.schema import PRICES

_FIELDS: Final = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}
_PRICES: Final = frozenset(list(_FIELDS)[: len(PRICES)])
#: What yfinance calls its index; nameless, `flat` calls it timestamp.
_STARTS: Final = ("Datetime", "Date", "timestamp", "index")


def from_yfinance(
    frame: Any,
    symbol: str | None = None,
    *,
    timeframe: str,
    asset_class: str | Mapping[str, str],
    source: str = "yahoo",
    tz: str | None = None,
) -> pl.DataFrame:
    """Return a frame of yfinance as points to be admitted.

    Bars of a day or longer carry the date of their session at midnight UTC, whatever the zone of the index:
    `download` gives the same day without a zone that `history` gives at midnight of the exchange. `Adj Close`,
    dividends and splits are not kept: with `auto_adjust` the prices are adjusted themselves.
    Where several tickers share one index, a ticker has no values where only others have a bar: such rows
    are no bars, and left out. Any other row without a value is refused when it is admitted.

    Source: yfinance, `multi.py`: columns (Price, Ticker), or (Ticker, Price) with `group_by="ticker"`; one
    level with `multi_level_index=False` and from `history`; intervals 1m to 3mo.

    Args:
        frame: What yfinance returned.
        symbol: The symbol, where the frame names none.
        timeframe: The interval asked for, `1h`, `1wk`, `1mo`, or a timeframe of a point.
        asset_class: What kind of thing they are, or for each symbol.
        source: Whom to name.
        tz: The zone of an index of moments without one.

    Returns:
        A row for each bar, ticker after ticker.

    Raises:
        DecodeError: `envelope.shape`, if the columns are not those of yfinance.
        ConfigError: `zone`, if there is no such zone.
    """
    long = timeframe_of(timeframe)
    pieces = [
        _points(flat(bars), tz, long).with_columns(
            symbol=pl.lit(name, pl.String),
            timeframe=pl.lit(long),
            asset_class=pl.lit(_class_of(asset_class, name), pl.String),
            source=pl.lit(source),
        )
        for name, bars in _by_ticker(frame, symbol)
    ]
    return pl.concat(pieces, how="diagonal_relaxed") if pieces else pl.DataFrame()


def _class_of(asset_class: str | Mapping[str, str], symbol: str | None) -> str | None:
    return asset_class if isinstance(asset_class, str) else asset_class.get(symbol or "")


def _by_ticker(frame: Any, symbol: str | None) -> Iterator[tuple[str | None, Any]]:
    if getattr(frame.columns, "nlevels", 1) == 1:
        yield symbol, frame
        return
    level = 1 - _price_level(frame.columns)
    tickers = list(frame.columns.get_level_values(level).unique())
    for ticker in tickers:
        bars = frame.xs(ticker, axis="columns", level=level)
        if len(tickers) == 1:
            yield symbol or str(ticker), bars
        else:
            prices = [name for name in bars.columns if name in _PRICES]
            yield str(ticker), bars.dropna(how="all", subset=prices)


# A ticker may be called OPEN or LOW, but none is called all four.
def _price_level(columns: Any) -> int:
    for level in range(columns.nlevels):
        if set(columns.get_level_values(level)) >= _PRICES:
            return level
    raise DecodeError("envelope.shape", "the columns are not those of yfinance: no level has the four prices")


def _points(bars: pl.DataFrame, tz: str | None, timeframe: str) -> pl.DataFrame:
    starts = next((bars[name] for name in _STARTS if name in bars.columns), None)
    if starts is None:
        named = ", ".join(map(repr, bars.columns))
        raise DecodeError("envelope.shape", f"the frame has no index of dates, only the columns {named}")
    if timeframe in LONG and isinstance(starts.dtype, pl.Date | pl.Datetime):
        starts = starts.dt.date().cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    values = [bars[name].alias(field) for name, field in _FIELDS.items() if name in bars.columns]
    return pl.DataFrame([in_zone(starts, tz).alias("timestamp"), *values])
