"""Indicators of rows that stand among the bars of their series: the same, however the rows were cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from router.indicator_values import Columns, Floats, values_of
from router.indicators import Indicator
from router.rows import Mask
from router.series import Placed, Places, SeriesPolicy

#: Every so many bars of a series, counted from its first, the library begins anew.
STRIDE: Final = 128
_ANY_GAP: Final = 1 << 62


def history_for(wanted: Sequence[Indicator], tolerance: float) -> SeriesPolicy:
    """Return what indicators need of the bars before."""
    most = max(one.warm_up(tolerance) for one in wanted)
    return SeriesPolicy(most + STRIDE - 1, max_gap=_ANY_GAP)


def window_values(placed: Placed, wanted: Sequence[Indicator], tolerance: float) -> Floats:
    """Return the values of indicators for each row that was placed: a row each, NaN where there is none.

    The library is given the bars from one that depends on the row's place in its series alone, so a row
    has the same values in whatever batch it comes: the first bar of the series, as long as the window
    reaches there, and then one that leaves every row the history it needs. A value that needs more than
    the window has is left out.

    Args:
        placed: The rows and the bars before them.
        wanted: The columns, in order, are the `values` of each.
        tolerance: See `Indicator.warm_up`.
    """
    bars, needs = Columns.of(placed.bars), [one.warm_up(tolerance) for one in wanted]
    found = np.full((len(placed.bars) - placed.known, sum(len(one.values) for one in wanted)), np.nan)
    for rows, places, at, before in placed.pieces:
        window = bars[places]
        for some in _blocks(before + at):
            made = [_values(*one, window, at[some], before) for one in zip(wanted, needs, strict=True)]
            found[rows[some]] = np.hstack(made)
    return found


# Bars between two at which the library begins anew, given their numbers in the series.
def _blocks(numbers: Places) -> Iterator[slice]:
    edges = np.flatnonzero(np.diff(numbers // STRIDE)) + 1
    return (slice(*edge) for edge in pairwise([0, *edges.tolist(), len(numbers)]))


def _values(one: Indicator, need: int, window: Columns, at: Places, before: int) -> Floats:
    block = (before + int(at[0])) // STRIDE * STRIDE
    start = max(0, block + 1 - need - before)
    bars, places = window[start : int(at[-1]) + 1], at - start
    values = values_of(one, bars, places)
    if before + start:
        values[_unsure(one, need, bars.close, places)] = np.nan
    return values


# Whether a value depends on bars before these.
def _unsure(one: Indicator, need: int, close: Floats, at: Places) -> Mask:
    unsure: Mask = at + 1 < need
    if one.standstill is not None:
        unsure |= _standing(close, one.standstill)[at]
    return unsure


# Bars whose close is that of more than so many bars before each.
def _standing(close: Floats, still: int) -> Mask:
    places = np.arange(len(close))
    moved = np.maximum.accumulate(np.where(np.diff(close, prepend=np.nan) != 0, places, 0))
    standing: Mask = places - moved > still
    return standing
