"""Examples as short time series, for models that forecast numbers: GluonTS, Chronos.

Source: GluonTS, `gluonts.dataset.field_names`: `start`, `target`, `item_id`; a missing value is NaN.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from destinations.training.options import NEXT, TrainingOptions
from destinations.training.windows import Places, Windows
from router.steps import STEPS, missing_bars

SERIES_SCHEMA: Final = pa.schema(
    [
        pa.field("start", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("target", pa.list_(pa.field("item", pa.float64(), nullable=False)), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
    ]
)
_CLOSE: Final = f"{NEXT}close"


def as_series(examples: pa.Table, options: TrainingOptions) -> pa.Table:
    """Return closes on the grid of the timeframe, one series for each example.

    A place without a bar is NaN. If the target is `next_close` it is the last value, after NaN for the bars
    between it and the current one. Ticks have no grid: they follow one another without a gap. Examples
    overlap, so each is a series of its own, `<source>/<symbol>/<timeframe>#<example_id>`.
    """
    windows = Windows.of(examples)
    steps = pl.Series(examples["timeframe"]).replace_strict(STEPS, return_dtype=pl.Float64).to_numpy()
    closes, lengths = windows.column("close"), windows.lengths
    moves = _moves(windows, np.repeat(steps, lengths))
    if options.target_column == _CLOSE:
        ends = np.cumsum(lengths)
        targets = examples["target"].combine_chunks().field(_CLOSE).to_numpy(zero_copy_only=False)
        closes = np.insert(closes, ends, targets)
        moves = np.insert(moves, ends, np.maximum(_label_moves(examples, steps), options.horizon))
        lengths = lengths + 1
    places = np.cumsum(moves)
    values = np.full(int(moves.sum()), np.nan)
    values[places - 1] = closes
    offsets = pa.array(np.append(0, places[np.cumsum(lengths) - 1]), pa.int32())
    target = pa.ListArray.from_arrays(offsets, pa.array(values), SERIES_SCHEMA.field("target").type)
    return pa.table([examples["context_start"], target, _names(examples)], schema=SERIES_SCHEMA)


# How many places of the grid each bar is from the one before; the first of an example takes one.
def _moves(windows: Windows, steps: np.ndarray) -> Places:
    times = windows.bars["timestamp"].to_physical().to_numpy()
    moves = 1 + missing_bars(np.diff(times, prepend=times[:1]), steps)
    moves[windows.firsts] = 1
    return moves


def _label_moves(examples: pa.Table, steps: np.ndarray) -> Places:
    ends, nows = (pl.Series(examples[name]).to_physical().to_numpy() for name in ("label_end", "as_of"))
    return 1 + missing_bars(ends - nows, steps)


def _names(examples: pa.Table) -> pa.Array:
    named = pl.DataFrame(examples.select(["source", "symbol", "timeframe", "example_id"]))
    series = named.select(pl.concat_str("source", "symbol", "timeframe", separator="/")).to_series()
    return (series + "#" + named["example_id"]).to_arrow().cast(pa.string())
