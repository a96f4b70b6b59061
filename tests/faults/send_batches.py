"""A producer in a process of its own: sends the batches it is told to, and says which are safe.

Reads lines of "name start stop" and answers each with its name once points start to stop are accepted.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import polars as pl

from workers.producer import Producer

SYMBOLS = 10
START = datetime(2024, 1, 1, tzinfo=UTC)


def make_bars(start: int, stop: int) -> pl.DataFrame:
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
        source=pl.lit("storm"),
    )


def main() -> None:
    """Send until there is nothing more to send."""
    with Producer() as producer:
        for line in sys.stdin:
            name, start, stop = line.split()
            producer.send_batch(make_bars(int(start), int(stop)), batch_id=name)
            print(name, flush=True)


if __name__ == "__main__":
    main()
