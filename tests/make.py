"""Builders of points, frames and batches, valid unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from ulid import ULID

from router.batch import BatchRows, PointBatch
from router.points import NormalizedDataPoint
from router.rows import Rows
from router.schema import FRAME_SCHEMA

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def make_values(row: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the fields of the row-th of a series of one-minute bars."""
    price = 42_000 + row / 2
    return {
        "timestamp": START + row * MINUTE,
        "open": price,
        "high": price + 1.5,
        "low": price - 1.25,
        "close": price + 0.5,
        "volume": 12.5,
        "symbol": "BTC/USDT",
        "asset_class": "crypto",
        "timeframe": "1m",
        "source": "exchange-a",
        "data_quality_score": 0.99,
        "is_realtime": False,
        "technical_indicators": None,
    } | changes


def make_point(**changes: Any) -> NormalizedDataPoint:
    """Return one valid bar."""
    return NormalizedDataPoint(**make_values(**changes))


def make_frame(rows: int = 3, symbols: Sequence[str] = ("BTC/USDT",), **changes: Any) -> pl.DataFrame:
    """Return bars of some symbols in turn, one minute after another; `changes` hold for every row."""
    values = [
        make_values(row // len(symbols), symbol=symbols[row % len(symbols)], **changes) for row in range(rows)
    ]
    return pl.DataFrame(values, schema=FRAME_SCHEMA)


def make_batch(
    rows: int = 3,
    symbols: Sequence[str] = ("BTC/USDT",),
    *,
    route_id: str | None = "everything",
    batch_id: str | None = None,
    **changes: Any,
) -> PointBatch:
    """Return `make_frame` as an accepted batch, said to be delivered for a route."""
    return as_batch(make_frame(rows, symbols, **changes), route_id=route_id, batch_id=batch_id)


def as_batch(
    frame: pl.DataFrame, *, route_id: str | None = "everything", batch_id: str | None = None
) -> PointBatch:
    """Return a frame as an accepted batch of its own, with the fingerprint of its identities."""
    part = BatchRows(batch_id or str(ULID()), Rows.all(len(frame)), digest=PointBatch(frame).digest())
    return PointBatch(frame, [part], route_id)


def make_days(symbols: Iterable[str], **changes: Any) -> PointBatch:
    """Return a daily bar for each symbol, one day after another, as `batch`."""
    bar = {
        "open": 1.0,
        "high": 2.0,
        "low": 1.0,
        "close": 1.5,
        "volume": 10.0,
        "timeframe": "1d",
        "source": "a",
    }
    return PointBatch.of(
        make_point(**bar | {"timestamp": START + timedelta(days=day), "symbol": symbol} | changes)
        for day, symbol in enumerate(symbols)
    ).accepted_as("batch")
