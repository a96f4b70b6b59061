"""Make InfluxDB's line protocol from the columns of points; pure functions."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from router.schema import PRICES

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
    if not len(frame):
        return b""
    prices = [part for name in PRICES[1:] for part in (pl.lit(f",{name}="), _number(name))]
    volume = [pl.lit(",volume="), _number("volume")]
    if frame["volume"].null_count():
        volume = [pl.concat_str(volume).fill_null("")]
    line = pl.concat_str(
        encode_series(frame, measurement, " open="), _number("open"), *prices, *volume,
        pl.lit(",data_quality_score="), _number("data_quality_score"),
        pl.when("is_realtime").then(pl.lit(",is_realtime=true")).otherwise(pl.lit(",is_realtime=false")),
        *encode_indicators(frame),
        pl.lit(" "), pl.col("timestamp").to_physical().cast(pl.String), pl.lit("\n"),
    )  # fmt: skip
    text: str = frame.select(line.str.join("")).item()
    return text.encode()


def encode_series(frame: pl.DataFrame, measurement: str, end: str = "") -> pl.Series:
    """Return of each point its series, ``ohlcv,asset_class=…``, and an end; each series is escaped once."""
    which = np.zeros(len(frame), dtype=np.int64)
    for name in TAGS:
        column = frame[name].to_arrow().cast(pa.string()).dictionary_encode()
        which = which * len(column.dictionary) + column.indices.to_numpy()
    _, first, which = np.unique(which, return_index=True, return_inverse=True)
    tags = [part for name in TAGS for part in (pl.lit(f",{name}="), _escaped(pl.col(name)))]
    return frame[first].select(pl.concat_str(pl.lit(measurement), *tags, pl.lit(end))).to_series()[which]


def encode_indicators(frame: pl.DataFrame) -> list[pl.Expr]:
    """Return a text a point, ``,ind_<name>=<number>`` for each indicator that is finite, if there is any."""
    if frame["technical_indicators"].null_count() == len(frame):
        return []
    column = frame["technical_indicators"].to_arrow()
    entries = pl.DataFrame({"name": column.keys, "number": column.items}).select(
        pl.when(pl.col("number").is_finite())
        .then(pl.concat_str(pl.lit(",ind_"), _escaped(pl.col("name")), pl.lit("="), _number("number")))
        .otherwise(pl.lit(""))
    )
    texts = entries.to_series().fill_null("").to_arrow().cast(pa.string())
    starts = np.asarray(column.offsets)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(starts), texts), "")
    return [pl.lit(pl.Series("indicators", joined))]


def _escaped(text: pl.Expr) -> pl.Expr:
    return text.str.replace_many(_ESCAPED)


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String)
