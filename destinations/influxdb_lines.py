"""Make InfluxDB's line protocol from the columns of points; pure functions."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from router.schema import PRICES
from router.tables import as_table

#: The tags of a series, sorted as the server keeps them.
TAGS: Final = ("asset_class", "source", "symbol", "timeframe")

# In tags and in names of fields. Source: InfluxDB documentation, line protocol, special characters.
_ESCAPED: Final = {",": "\\,", "=": "\\=", " ": "\\ "}


def encode_line_protocol(frame: pl.DataFrame, measurement: str = "ohlcv") -> bytes:
    """Return one line a point, in order, each with a newline; timestamps are microseconds.

    Numbers are floats, the shortest text that reads back equal. An absent volume is absent, and so is an
    indicator that is no finite number: the server has no text for it.

    Args:
        frame: Points as columns of `FRAME_SCHEMA`.
        measurement: A name of letters, digits and underscores.
    """
    tags = [part for name in TAGS for part in (pl.lit(f",{name}="), _escaped(pl.col(name)))]
    prices = [part for name in PRICES for part in (pl.lit(f"{name}="), _number(name), pl.lit(","))]
    volume = pl.concat_str(pl.lit("volume="), _number("volume"), pl.lit(",")).fill_null("")
    line = pl.concat_str(
        pl.lit(measurement), *tags, pl.lit(" "), *prices, volume,
        pl.lit("data_quality_score="), _number("data_quality_score"),
        pl.lit(",is_realtime="), pl.col("is_realtime").cast(pl.String),
        pl.Series("indicators", encode_indicators(frame)),
        pl.lit(" "), pl.col("timestamp").to_physical().cast(pl.String), pl.lit("\n"),
    )  # fmt: skip
    return frame.select(line.str.join("")).item().encode() if len(frame) else b""


def encode_indicators(frame: pl.DataFrame) -> list[str]:
    """Return of each point its indicators as fields, ``,ind_<name>=<number>`` for each that is finite."""
    column = as_table(frame)["technical_indicators"].combine_chunks()
    if column.null_count == len(column):
        return [""] * len(column)
    entries = pl.DataFrame({"name": column.keys, "number": column.items}).select(
        pl.when(pl.col("number").is_finite())
        .then(pl.concat_str(pl.lit(",ind_"), _escaped(pl.col("name")), pl.lit("="), _number("number")))
        .otherwise(pl.lit(""))
    )
    texts = entries.to_series().fill_null("").to_arrow().cast(pa.string())
    starts = np.asarray(column.offsets)
    found: list[str] = pc.binary_join(pa.ListArray.from_arrays(pa.array(starts), texts), "").to_pylist()
    return found


def _escaped(text: pl.Expr) -> pl.Expr:
    return text.str.replace_many(_ESCAPED)


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String)
