"""Prices as whole basis points against the close before: few digits, whatever a thing costs.

A basis point is a hundredth of a percent of the size of a close, so that a rise is positive where closes are
negative, too. Against a close of zero nothing can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from destinations.training.options import NEXT, RETURN, TrainingOptions
from destinations.training.windows import Values, Windows, frugal_numbers
from router.schema import PRICES

#: What stands for a price that cannot be told.
UNTOLD: Final = "-"


def encode_bps(windows: Windows, options: TrainingOptions) -> pl.Series:
    """Return CSV of all bars but the first: prices in basis points, volume in percent of the mean."""
    closes = _closes_before(windows)
    columns = {
        f"{name}_bps": _whole_numbers(_against(windows.column(name), closes)).fill_null(UNTOLD)
        for name in PRICES
    }
    if options.has_volume:
        mean = np.repeat(_mean_volumes(windows), windows.lengths)
        columns["volume_pct"] = _whole_numbers(_percent(windows.column("volume"), mean)).fill_null("")
    lines = pl.select(pl.concat_str(columns.values(), separator=",")).to_series()
    return ",".join(columns) + "\n" + windows.joined(lines, "\n", first=False)


def encode_bps_close(windows: Windows, _options: TrainingOptions) -> pl.Series:
    """Return one line: the closes of all bars but the first in basis points."""
    closes = _whole_numbers(_against(windows.column("close"), _closes_before(windows)))
    return windows.joined(closes.fill_null(UNTOLD), ",", first=False)


def tell_relative(values: pl.Series, windows: Windows, options: TrainingOptions) -> pl.Series:
    """Return targets as whole numbers of what they are told in, as text; null where that is impossible.

    A price is told in basis points against the current close, a volume in percent of the mean of those of
    the example's bars; a score of quality as it is.
    """
    targets = values.to_numpy()
    match options.target_column.removeprefix(NEXT):
        case name if name in PRICES:
            return _whole_numbers(_against(targets, windows.current["close"].to_numpy()))
        case "volume" if options.has_volume:
            return _whole_numbers(_percent(targets, _mean_volumes(windows)))
        case name if NEXT + name == RETURN:
            return _whole_numbers(targets)
        case _:
            return frugal_numbers(values)


def read_relative(number: float, example: Mapping[str, Any], options: TrainingOptions) -> float:
    """Return the target that `tell_relative` told of an example.

    Raises:
        ValueError: It is a volume, and no bar of the example has one.
    """
    match options.target_column.removeprefix(NEXT):
        case name if name in PRICES:
            close: float = example["current"]["close"]
            return close + abs(close) * number / 10_000
        case "volume" if options.has_volume:
            volumes = [bar["volume"] for bar in (*example["context"], example["current"])]
            known: list[float] = [volume for volume in volumes if volume is not None]
            if not known:
                raise ValueError("no bar of the example has a volume to tell it against")
            return sum(volume / len(known) for volume in known) * number / 100
        case _:
            return number


def _against(prices: Values, closes: Values) -> Values:
    with np.errstate(all="ignore"):
        return (prices - closes) / np.abs(closes) * 10_000


def _percent(volumes: Values, mean: Values) -> Values:
    with np.errstate(all="ignore"):
        return volumes / mean * 100


# Of each example that of its bars; NaN where none has a volume. Divided first: a sum may be too large.
def _mean_volumes(windows: Windows) -> Values:
    volumes = windows.column("volume")
    known = ~np.isnan(volumes)
    with np.errstate(all="ignore"):
        count = np.add.reduceat(known.astype(np.float64), windows.firsts)
        shares = np.where(known, volumes, 0.0) / np.repeat(count, windows.lengths)
        mean: Values = np.add.reduceat(shares, windows.firsts)
        return mean


def _whole_numbers(values: Values) -> pl.Series:
    rounded = np.rint(values) + 0.0  # no -0
    return frugal_numbers(pl.Series(np.where(np.isfinite(rounded), rounded, np.nan), nan_to_null=True))


# Of each bar the close before it; that of an example's first bar is of no use.
def _closes_before(windows: Windows) -> Values:
    return np.append(np.nan, windows.column("close")[:-1])
