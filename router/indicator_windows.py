"""Indicators of rows that stand among the bars of their series: the same, however the rows were cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from router.indicator_values import Columns, Floats, values_of
from router.indicators import Indicator
from router.rows import Mask
from router.series import Piece, Placed, Places, SeriesPolicy

#: Every so many bars of a series, counted from its first, the library begins anew.
STRIDE: Final = 128
_ANY_GAP: Final = 1 << 62


def history_for(wanted: Sequence[Indicator], tolerance: float) -> SeriesPolicy:
    """Return what indicators need of the bars before."""
    return SeriesPolicy(_most(wanted, tolerance) + STRIDE - 1, max_gap=_ANY_GAP)


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
    bars, most = Columns.of(placed.bars), _most(wanted, tolerance)
    found = np.full((len(placed.bars) - placed.known, sum(len(one.values) for one in wanted)), np.nan)
    for piece in placed.pieces:
        for rows, places, at, before in _blocks(piece, most):
            window = bars[places]
            found[rows] = np.hstack([_known(one, window, at, before, tolerance) for one in wanted])
    return found


def _most(wanted: Sequence[Indicator], tolerance: float) -> int:
    return max(one.warm_up(tolerance) for one in wanted)


# A piece by the bar that the library begins with.
def _blocks(piece: Piece, most: int) -> Iterator[Piece]:
    rows, bars, at, before = piece
    blocks = (before + at) // STRIDE
    for some in np.split(np.arange(len(at)), np.flatnonzero(np.diff(blocks)) + 1):
        start = max(0, int(blocks[some[0]]) * STRIDE + 1 - most - before)
        yield rows[some], bars[start : at[some[-1]] + 1], at[some] - start, before + start


def _known(one: Indicator, window: Columns, at: Places, before: int, tolerance: float) -> Floats:
    values = values_of(one, window)[:, at].T
    if before:
        values[_unsure(one, window, at, tolerance)] = np.nan
    return values


# Rows whose value depends on bars before the window.
def _unsure(one: Indicator, window: Columns, at: Places, tolerance: float) -> Mask:
    unsure: Mask = at + 1 < one.warm_up(tolerance)
    if one.standstill is not None:
        places = np.arange(len(window.close))
        moved = np.maximum.accumulate(np.where(np.diff(window.close, prepend=np.nan) != 0, places, 0))
        unsure |= (places - moved)[at] > one.standstill
    return unsure
