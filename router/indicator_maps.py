"""The column of technical indicators, with values added to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from router.indicator_values import Floats


def with_values(maps: pl.Series, names: Sequence[str], values: Floats) -> pl.Series:
    """Return maps in which values are added, or stand for those there were of the same names.

    Args:
        maps: A map of names to numbers, or null, for each row.
        names: What the columns of `values` are called.
        values: A row for each map; NaN adds nothing, and a null to which nothing is added stays null.
    """
    entries = _added(names, values)
    held = _held(maps)
    if len(held):
        both = pl.concat([held, entries]).unique(["row", "name"], keep="last", maintain_order=True)
        entries = both.sort("row", maintain_order=True)
    counts = np.bincount(entries["row"].to_numpy(), minlength=len(maps))
    found = pa.MapArray.from_arrays(
        pa.array(np.append(0, np.cumsum(counts)), pa.int32()),
        entries["name"].to_arrow().cast(pa.string()),
        entries["number"].to_arrow(),
        mask=pa.array(maps.is_null().to_numpy() & (counts == 0)),
    )
    return pl.Series(maps.name, pl.from_arrow(found))


def _held(maps: pl.Series) -> pl.DataFrame:
    counts = maps.map.len().fill_null(0).to_numpy()
    keys, numbers = (
        column.explode(empty_as_null=False, keep_nulls=False)
        for column in (maps.map.keys(), maps.map.values())
    )
    return pl.DataFrame({"row": np.repeat(np.arange(len(maps)), counts), "name": keys, "number": numbers})


def _added(names: Sequence[str], values: Floats) -> pl.DataFrame:
    rows, columns = np.nonzero(~np.isnan(values))
    words = pl.Series(names, dtype=pl.String)[columns]
    return pl.DataFrame({"row": rows, "name": words, "number": values[rows, columns]})
