"""Make the bars that are measured: ten symbols, one bar a minute each, prices that walk by the cent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from router.admission import admit
from router.batch import PointBatch
from router.schema import FRAME_SCHEMA, PRICES

SYMBOLS: Final = 10
TIMEFRAMES: Final = ("1m", "1h", "4h", "1d")
REAL: Final = Path(__file__).parent.parent / "examples" / "data"

_START: Final = 1_704_067_200_000_000  #: 2024-01-01, microseconds
_MINUTE: Final = 60_000_000


def make_bars(rows: int, *, mixed: bool = False, full_mantissa: bool = False) -> pl.DataFrame:
    """Return bars as a frame of `FRAME_SCHEMA`, minute by minute, the symbols in turn; always the same ones.

    Args:
        rows: How many; a multiple of ten.
        mixed: Name the bars of one minute 1m, those of the next 1h, 4h, 1d, and so on, instead of 1m all.
        full_mantissa: Prices and volumes of 17 random digits, which nothing compresses.
    """
    minutes = rows // SYMBOLS
    open_, high, low, close, volume = _numbers(minutes, full_mantissa=full_mantissa)
    minute = np.repeat(np.arange(minutes), SYMBOLS)
    names = np.array(TIMEFRAMES)[minute % 4] if mixed else np.full(minutes * SYMBOLS, "1m")
    return pl.DataFrame(
        {
            "timestamp": minute * _MINUTE + _START,
            **dict(zip(PRICES, (open_, high, low, close), strict=True)),
            "volume": volume,
            "symbol": np.tile([f"SYM{number}" for number in range(SYMBOLS)], minutes),
            "asset_class": "crypto",
            "timeframe": names,
            "source": "bench",
            "data_quality_score": 1.0,
            "is_realtime": False,
            "technical_indicators": None,
        },
        schema_overrides=FRAME_SCHEMA,
    )


def _numbers(minutes: int, *, full_mantissa: bool) -> list[np.ndarray]:
    random = np.random.default_rng(20_241_123)
    steps = random.normal(0, 0.02, (minutes + 1, SYMBOLS))
    walk = 100 + np.cumsum(steps, axis=0)
    if not full_mantissa:
        walk = np.round(walk, 2)
    open_, close = walk[:-1], walk[1:]
    wicks = random.exponential(0.02, (2, minutes, SYMBOLS))
    high, low = np.maximum(open_, close) + wicks[0], np.minimum(open_, close) - wicks[1]
    volume = random.lognormal(3, 1, (minutes, SYMBOLS))
    if not full_mantissa:
        high, low, volume = np.round(high, 2), np.round(low, 2), np.round(volume, 4)
    return [numbers.reshape(-1) for numbers in (open_, high, low, close, volume)]


def real_bars() -> pl.DataFrame:
    """Return the daily bars of the examples, in the order of their files."""
    files = sorted(REAL.glob("*.csv"))
    return pl.concat([admit(pl.read_csv(file)).batch.frame for file in files])


def batches(frame: pl.DataFrame, size: int) -> Iterator[PointBatch]:
    """Yield the rows in batches of `size`."""
    for start in range(0, len(frame), size):
        yield PointBatch(frame.slice(start, size))


def json_points(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the points as dicts of JSON types, as a task's message carries them."""
    return [{**point, "timestamp": point["timestamp"].isoformat()} for point in PointBatch(frame).to_dicts()]
