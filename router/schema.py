"""The one shape of a batch: column names, Arrow and Polars types, and the words allowed in them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import polars as pl
import pyarrow as pa


class AssetClass(StrEnum):
    """What kind of thing a symbol names."""

    CRYPTO = "crypto"
    EQUITY = "equity"
    ETF = "etf"
    INDEX = "index"
    FOREX = "forex"
    COMMODITY = "commodity"
    FUTURES = "futures"
    OPTION = "option"
    BOND = "bond"


#: Asset classes whose prices may be zero or negative, as oil futures were on 2020-04-20.
NEGATIVE_PRICES: Final = frozenset({AssetClass.FUTURES})

_MINUTE: Final = 60_000_000

#: Known timeframes and their length in microseconds; None where bars have no fixed length.
TIMEFRAMES: Final[dict[str, int | None]] = {
    "tick": None,
    **{f"{n}s": n * 1_000_000 for n in (1, 5, 10, 15, 30)},
    **{f"{n}m": n * _MINUTE for n in (1, 2, 3, 5, 10, 15, 20, 30, 45)},
    **{f"{n}h": n * 60 * _MINUTE for n in (1, 2, 3, 4, 6, 8, 12)},
    "1d": 1440 * _MINUTE,
    "3d": None,
    "1w": None,
    "1M": None,
    "3M": None,
    "1y": None,
}

PRICES: Final = ("open", "high", "low", "close")
TEXTS: Final = ("symbol", "asset_class", "timeframe", "source")
#: What makes two points the same point.
IDENTITY: Final = ("source", "symbol", "timeframe", "timestamp")

_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

#: One row per point; timestamps are the start of the bar in microseconds UTC; only volume and
#: technical_indicators may be null.
POINT_SCHEMA: Final = pa.schema(
    [
        pa.field("timestamp", pa.timestamp("us", "UTC"), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in PRICES),
        pa.field("volume", pa.float64()),
        *(pa.field(name, _TEXT, nullable=False) for name in TEXTS),
        pa.field("data_quality_score", pa.float64(), nullable=False),
        pa.field("is_realtime", pa.bool_(), nullable=False),
        pa.field("technical_indicators", pa.map_(pa.string(), pa.float64())),
    ]
)

COLUMNS: Final = tuple(POINT_SCHEMA.names)

#: The same columns as Polars sees them; text is plain text there.
FRAME_SCHEMA: Final = pl.Schema(
    {
        "timestamp": pl.Datetime("us", "UTC"),
        **dict.fromkeys(PRICES, pl.Float64()),
        "volume": pl.Float64(),
        **dict.fromkeys(TEXTS, pl.String()),
        "data_quality_score": pl.Float64(),
        "is_realtime": pl.Boolean(),
        "technical_indicators": pl.Map(pl.String(), pl.Float64()),
    }
)
