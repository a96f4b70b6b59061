"""Read what `fetch_ohlcv` of ccxt returns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from router.adapters.records import Record, checked, moment_of, no_bar
from router.adapters.timeframes import end_of
from router.admission import Unreadable
from router.rules import utc_now
from router.schema import PRICES

_FIELDS: Final = ("timestamp", *PRICES, "volume")
_LONGEST: Final = timedelta(days=366)  # of all timeframes


def from_ccxt(
    rows: Iterable[Any],
    *,
    symbol: str,
    timeframe: str,
    source: str,
    asset_class: str = "crypto",
    unfinished: bool = False,
    now: datetime | None = None,
) -> list[Record]:
    """Return rows `[milliseconds, open, high, low, close, volume]` as points to be admitted.

    The last row of an exchange is usually the bar that is still being made; it changes until it ends.
    Bars that have begun and not ended are therefore left out, wherever they stand.

    Source: the ccxt manual, "OHLCV Structure": the timestamp is the start of the bar in milliseconds, UTC,
    the volume is in units of the base currency and may be missing, the last bar may be incomplete.

    Args:
        rows: One list or tuple a bar; what stands behind the sixth value is not read.
        symbol: As ccxt names it, such as `BTC/USDT`.
        timeframe: What was asked of `fetch_ohlcv`.
        source: The exchange, such as `binance`.
        asset_class: What kind of thing it is: `futures` for contracts.
        unfinished: Whether bars that have not ended are points all the same.
        now: The moment at which the rows were fetched; None: this one.

    Returns:
        One entry for each row but those left out, in order; a row that is no bar is among them, for
        admission to refuse with its reason.

    Raises:
        ConfigError: What no point can have was given for all of them.
    """
    moment = (now or utc_now()).astimezone(UTC)
    constants = checked(symbol=symbol, timeframe=timeframe, asset_class=asset_class, source=source)
    read = (_point(row, constants) for row in rows)
    return [point for point in read if unfinished or not _is_going_on(point, moment)]


def _point(row: Any, constants: dict[str, str]) -> Record:
    values = row.tolist() if hasattr(row, "tolist") else row
    if not isinstance(values, list | tuple) or len(values) < len(_FIELDS):
        return no_bar(values, "a list of milliseconds, open, high, low, close, volume")
    point = dict(zip(_FIELDS, values, strict=False))
    return {**point, "timestamp": moment_of(point["timestamp"], "ms"), **constants}


def _is_going_on(point: Record, now: datetime) -> bool:
    if isinstance(point, Unreadable) or not isinstance(point["timestamp"], datetime):
        return False
    start = point["timestamp"]
    if not start <= now <= start + _LONGEST:
        return False
    end = end_of(start, point["timeframe"])
    return end is not None and now < end
