"""Splits: which examples are for training and which for judging, by time over all symbols, and purged."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from destinations.training.options import PURGED, TrainingOptions


def splits_of(starts: pl.Series, ends: pl.Series, options: TrainingOptions) -> pl.Series:
    """Return the split of each example, or `PURGED` where it lies across a boundary or within the embargo.

    An example is of the first split that its target ends in, if its context begins after the end of the
    split before and the embargo. So no bar of a later split, and none within the embargo, is in any
    example of an earlier one, nor the other way round.

    Source: M. López de Prado, Advances in Financial Machine Learning, 7.4 (purging and embargo).

    Args:
        starts: When the first bar of each began, `context_start`.
        ends: When the bar of its target ended, `label_end`.
        options: The splits, and the embargo.
    """
    found = pl.lit(PURGED)
    embargo, everything = timedelta(seconds=options.embargo), pl.lit(True)
    for before, split in reversed(list(zip((None, *options.splits), options.splits, strict=False))):
        inside = everything if split.until is None else pl.col("end") <= split.until
        free = (
            everything if before is None or before.until is None else pl.col("start") > before.until + embargo
        )
        found = pl.when(inside & free).then(pl.lit(split.name)).otherwise(found)
    return pl.DataFrame({"start": starts, "end": ends}).with_columns(found.alias("split"))["split"]
