"""Compare the indicators that examples say of bars with those the bars had of their own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from destinations.training.known_bars import Mask

_ENTRIES = pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))


class Compared(NamedTuple):
    """What came of comparing: one entry for each bar, or a count.

    Attributes:
        differs: Whether an own indicator of the bar is not there, or is another number.
        compared: How many numbers were compared.
        unknown: How many bars say indicators and had none of their own: nothing can be said of those.
    """

    differs: Mask
    compared: int
    unknown: int


def compare(written: pa.Array, own: pa.Array) -> Compared:
    """Compare maps of numbers by name, one for each bar; names that the bar had not are left alone.

    Args:
        written: Those that examples say; null for none.
        own: Those that the bars had; null for none.
    """
    there = _entries(own).join(_entries(written), on=["bar", "name"], how="left", suffix="_written")
    off = there.filter(pl.col("value").ne_missing(pl.col("value_written")))
    differs = np.zeros(len(written), dtype=np.bool_)
    differs[off["bar"].to_numpy()] = True
    unknown = int(np.sum(_valid(written) & ~_valid(own)))
    return Compared(differs, len(there), unknown)


def _valid(maps: pa.Array) -> Mask:
    valid: Mask = maps.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _entries(maps: pa.Array) -> pl.DataFrame:
    lists = pl.Series("entry", pl.from_arrow(maps.cast(_ENTRIES)))
    frame = pl.DataFrame({"bar": np.arange(len(lists)), "entry": lists})
    kept = frame.filter(pl.col("entry").list.len() > 0)
    return kept.explode("entry").unnest("entry")
