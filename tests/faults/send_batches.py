"""A producer in a process of its own: sends the batches it is told to, and says which are safe.

Reads lines of "name source start stop" and answers each with its name once those points are accepted.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import polars as pl

from tests.faults import broken
from workers.producer import Producer

SYMBOLS = 10
START = datetime(2024, 1, 1, tzinfo=UTC)


#: Goes with every batch, as a key of a user's might; it must not turn up in any log.
MARKER = "context-marker-7d41c0ffee"


def make_bars(start: int, stop: int, source: str = "storm") -> pl.DataFrame:
    """Return bars by their number: the symbols in turn, one minute after another."""
    number = pl.int_range(start, stop, eager=True).alias("number")
    price = 100 + pl.col("number") % 1000 / 4
    return number.to_frame().select(
        timestamp=pl.lit(START) + pl.duration(minutes=pl.col("number") // SYMBOLS),
        open=price,
        high=price + 1,
        low=price - 1,
        close=price + 0.25,
        volume=pl.col("number").cast(pl.Float64),
        symbol="S" + (pl.col("number") % SYMBOLS).cast(pl.String),
        asset_class=pl.lit("crypto"),
        timeframe=pl.lit("1m"),
        source=pl.lit(source),
    )


def main() -> None:
    """Send until there is nothing more to send."""
    broken.apply(os.environ.get("CANDLEFLEET_TEST_BROKEN", ""))
    with Producer() as producer:
        for line in sys.stdin:
            name, source, start, stop = line.split()
            bars = make_bars(int(start), int(stop), source)
            producer.send_batch(bars, batch_id=name, context={"key": MARKER})
            print(name, flush=True)


if __name__ == "__main__":
    main()
