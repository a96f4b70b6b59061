"""Encode examples as lines of JSON: every bar once, and every window as a piece of what that gave."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl

from destinations.training.examples import Examples
from destinations.training.options import TrainingOptions

_NEWLINE, _COMMA = 10, 44
_HEAD = ("symbol", "timeframe", "asset_class")


def encode_lines(examples: Examples, options: TrainingOptions) -> bytes:
    """Return one JSON object a line for each example, in order, with the keys of `TrainingOptions.schema`.

    Times are ISO 8601 UTC, numbers the shortest text that reads back equal, what is absent is null.
    """
    bars, bar_ends = _lines(bar_columns(examples.bars, options))
    bars[bar_ends - 1] = _COMMA
    starts = np.append(0, bar_ends)
    heads = _pieces(examples.said.select(_HEAD), drop_first=0)
    rest = [name for name in options.schema().names if name in examples.said.columns and name not in _HEAD]
    tails = _pieces(examples.said.select(rest), drop_first=1)
    text = bars.data
    first, current, after = (
        starts[places].tolist() for places in (examples.first, examples.current, examples.current + 1)
    )
    found: list[bytes | memoryview] = []
    for head, tail, begin, now, end in zip(heads, tails, first, current, after, strict=True):
        found += (
            *(head, b',"context":[', text[begin : now - 1], b'],"current":', text[now : end - 1]),
            *(b",", tail, b"}\n"),
        )
    return b"".join(found)


def bar_columns(bars: pl.DataFrame, options: TrainingOptions) -> pl.DataFrame:
    """Return the columns that an example says of a bar, under the names it has for them."""
    extra = [pl.col("volume")] if options.has_volume else []
    extra += [pl.col("technical_indicators").alias("indicators")] if options.has_indicators else []
    return bars.select("timestamp", "open", "high", "low", "close", *extra)


# The lines of a frame, and where each ends.
def _lines(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    out = BytesIO()
    frame.write_ndjson(out)
    text = np.frombuffer(out.getbuffer(), dtype=np.uint8)
    return text, np.flatnonzero(text == _NEWLINE) + 1


# Each line without its braces; the first one stays where something is to stand before it.
def _pieces(frame: pl.DataFrame, *, drop_first: int) -> list[memoryview]:
    text, ends = _lines(frame)
    view = text.data
    starts = np.append(0, ends[:-1]).tolist() if len(ends) else []
    return [view[start + drop_first : end - 2] for start, end in zip(starts, ends.tolist(), strict=True)]
