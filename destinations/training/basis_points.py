"""Prices as whole basis points against the close before: few digits, whatever a thing costs.

A basis point is a hundredth of a percent of the size of a close, so that a rise is positive where closes are
negative, too. Against a close of zero nothing can be told.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from destinations.training.options import TrainingOptions
from destinations.training.windows import Values, Windows, frugal_numbers
from router.schema import PRICES

#: What stands for a price that cannot be told.
UNTOLD: Final = "-"


def encode_bps(windows: Windows, options: TrainingOptions) -> pl.Series:
    """Return CSV of all bars but the first: prices in basis points, volume in percent of the mean."""
    closes = _closes_before(windows)
    columns = {
        f"{name}_bps": whole_numbers(against(windows.column(name), closes)).fill_null(UNTOLD)
        for name in PRICES
    }
    if options.has_volume:
        mean = np.repeat(mean_volumes(windows), windows.lengths)
        columns["volume_pct"] = whole_numbers(percent(windows.column("volume"), mean)).fill_null("")
    lines = pl.select(pl.concat_str(columns.values(), separator=",")).to_series()
    return ",".join(columns) + "\n" + windows.joined(lines, "\n", first=False)


def encode_bps_close(windows: Windows, options: TrainingOptions) -> pl.Series:
    """Return one line: the closes of all bars but the first in basis points."""
    closes = whole_numbers(against(windows.column("close"), _closes_before(windows)))
    return windows.joined(closes.fill_null(UNTOLD), ",", first=False)


def against(prices: Values, closes: Values) -> Values:
    """Return prices in basis points against closes; not finite where that cannot be told."""
    with np.errstate(all="ignore"):
        return (prices - closes) / np.abs(closes) * 10_000


def percent(volumes: Values, mean: Values) -> Values:
    """Return volumes in percent of a mean; not finite where that cannot be told."""
    with np.errstate(all="ignore"):
        return volumes / mean * 100


def mean_volumes(windows: Windows) -> Values:
    """Return the mean volume of each example's bars; NaN where none has any."""
    volumes = windows.column("volume")
    known = ~np.isnan(volumes)
    with np.errstate(all="ignore"):
        total = np.add.reduceat(np.where(known, volumes, 0.0), windows.firsts)
        mean: Values = total / np.add.reduceat(known.astype(np.float64), windows.firsts)
        return mean


def whole_numbers(values: Values) -> pl.Series:
    """Return values rounded to whole numbers, as text; null where they are not finite."""
    rounded = np.rint(values) + 0.0  # no -0
    return frugal_numbers(pl.Series(np.where(np.isfinite(rounded), rounded, np.nan), nan_to_null=True))


# Of each bar the close before it; that of an example's first bar is of no use.
def _closes_before(windows: Windows) -> Values:
    return np.append(np.nan, windows.column("close")[:-1])
