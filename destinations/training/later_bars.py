"""Moments at which the bars of a training set are cut, and other bars for all that came after one."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from destinations.training.expected import Expected
from router.schema import PRICES

_SERIES: Final = ("source", "symbol", "timeframe")
#: How many times higher, or lower, all prices are after a moment.
_FAR: Final = 1000.0
#: What stands for a volume or a score that was 0 or absent; others are halved.
_INSTEAD: Final = {"volume": 1.0, "data_quality_score": 0.5}


def cuts_of(expected: Expected, count: int, seed: int) -> list[datetime]:
    """Return ascending moments: one by chance in each part of the time, and the end.

    At each but the last the current bar of some example has ended, and the bar of its target has not.

    Args:
        expected: The bars of all series, and where they have examples.
        count: How many; fewer, if there are not as many such moments.
        seed: The chance.
    """
    ends = expected.bars.frame["end"]
    known = ends.filter(pl.Series(expected.stands)).unique().sort()
    edges = np.linspace(0, len(known), min(count - 1, len(known)) + 1).astype(int)
    chance = np.random.default_rng(seed)
    places = [int(chance.integers(start, stop)) for start, stop in pairwise(edges)]
    moments: list[datetime] = pl.concat([known.gather(places), ends.sort().tail(1)]).to_list()
    return moments


def changed_after(bars: pl.DataFrame, moment: datetime, *, up: bool) -> pl.DataFrame:
    """Return bars with other values in all that ended after a moment.

    Args:
        bars: Columns of `FRAME_SCHEMA`, and `end`.
        moment: From when on.
        up: Whether their prices are all above those of before; otherwise they are all below.
    """
    lowest, highest = pl.col("low").min().over(_SERIES), pl.max_horizontal(pl.col(PRICES).abs())
    far = (1 + highest.max().over(_SERIES)) * (_FAR if up else -_FAR)
    factor = _FAR if up else 1 / _FAR
    others = {
        name: pl.when(lowest > 0).then(pl.col(name) * factor).otherwise(pl.col(name) + far) for name in PRICES
    } | {
        name: pl.when(pl.col(name) > 0).then(pl.col(name) / 2).otherwise(by) for name, by in _INSTEAD.items()
    }
    later = pl.col("end") > moment
    return bars.with_columns(
        pl.when(later).then(value).otherwise(pl.col(name)).alias(name) for name, value in others.items()
    )
