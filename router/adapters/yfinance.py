"""Read the frames of yfinance: `Ticker.history` and `download`, one ticker or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl

from router.adapters.flat import flat
from router.adapters.frame import from_frame
from router.adapters.timeframes import LONG, timeframe_of
from router.errors import ConfigError, DecodeError
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
) -> pl.DataFrame | list[Any]:
    """Return a frame of yfinance as points to be admitted.

    Bars of a day or longer carry the date of their session at midnight UTC, whatever the zone of the
    index: `download` gives without a zone the day that `history` gives as midnight at the exchange.
    `Adj Close`, dividends and splits are not kept: with `auto_adjust` the prices themselves are adjusted.
    Where several tickers share one index, a ticker has no values where only others have a bar: such rows
    are no bars, and left out. Any other row without a value is refused when it is admitted.

    Source: yfinance, `multi.py`: columns (Price, Ticker), or (Ticker, Price) with `group_by="ticker"`; one
    level with `multi_level_index=False` and from `history`; intervals 1m to 3mo.

    Args:
        frame: What yfinance returned; None is no points.
        symbol: The symbol of one ticker; None: as its columns name it.
        timeframe: The interval asked for, `1h`, `1wk`, `1mo`, or a timeframe of a point.
        asset_class: What kind of thing they are, or for each symbol.
        source: Whom to name.
        tz: The zone of an index of moments without one.

    Returns:
        What `from_frame` returns: a row for each bar, ticker after ticker.

    Raises:
        DecodeError: `envelope.shape`, if the columns are not those of yfinance.
        ConfigError: What `from_frame` raises, such as `columns` where nothing names the symbol.
    """
    if frame is None or not len(frame):
        return pl.DataFrame()
    word = timeframe_of(timeframe)
    pieces = [
        _points(flat(bars), word).with_columns(_constants(name, asset_class))
        for name, bars in _by_ticker(frame, symbol)
    ]
    together = pl.concat(pieces, how="diagonal_relaxed")
    return from_frame(together, timeframe=word, source=source, tz=tz)


def _constants(symbol: str | None, asset_class: str | Mapping[str, str]) -> list[pl.Expr]:
    named = [] if symbol is None else [pl.lit(symbol).alias("symbol")]
    return [*named, pl.lit(_class_of(asset_class, symbol), pl.String).alias("asset_class")]


def _class_of(asset_class: str | Mapping[str, str], symbol: str | None) -> str | None:
    return asset_class if isinstance(asset_class, str) else asset_class.get(symbol or "")


def _by_ticker(frame: Any, symbol: str | None) -> Iterator[tuple[str | None, Any]]:
    if getattr(frame.columns, "nlevels", 1) == 1:
        yield symbol, frame
        return
    level = 1 - _price_level(frame.columns)
    tickers = list(frame.columns.get_level_values(level).unique())
    if symbol is not None and len(tickers) > 1:
        message = f"has {len(tickers)} tickers, which name their symbols: leave out symbol="
        raise ConfigError("columns", "the frame", message)
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


def _points(bars: pl.DataFrame, timeframe: str) -> pl.DataFrame:
    starts = next((bars[name] for name in _STARTS if name in bars.columns), None)
    if starts is None:
        named = ", ".join(map(repr, bars.columns))
        raise DecodeError("envelope.shape", f"the frame has no index of dates, only the columns {named}")
    if timeframe in LONG and isinstance(starts.dtype, pl.Date | pl.Datetime):
        starts = starts.dt.date()
    values = [bars[name].alias(field) for name, field in _FIELDS.items() if name in bars.columns]
    return pl.DataFrame([starts.alias("timestamp"), *values])
