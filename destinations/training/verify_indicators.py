"""Compare the indicators that examples say of bars with those the bars had of their own."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from destinations.training.known_bars import Mask

_KEY: Final = ["bar", "name"]
_ENTRIES: Final = pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))


class Compared(NamedTuple):
    """What came of comparing: one entry for each bar, or a count.

    Attributes:
        differs: Whether an own indicator of the bar is not there, or is another number.
        compared: How many numbers were compared.
        unknown: How many bars say an indicator that they had not: nothing can be said of those.
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
    known, said = _entries(own), _entries(written)
    there = known.join(said, on=_KEY, how="left", suffix="_written")
    off = there.filter(pl.col("value").ne_missing(pl.col("value_written")))
    differs = np.zeros(len(written), dtype=np.bool_)
    differs[off["bar"].to_numpy()] = True
    unknown = said.join(known, on=_KEY, how="anti")["bar"].n_unique()
    return Compared(differs, len(there), unknown)


def _entries(maps: pa.Array) -> pl.DataFrame:
    lists = pl.Series("entry", pl.from_arrow(maps.cast(_ENTRIES)))
    frame = pl.DataFrame({"bar": np.arange(len(lists)), "entry": lists})
    kept = frame.filter(pl.col("entry").list.len() > 0)
    return kept.explode("entry").unnest("entry")
