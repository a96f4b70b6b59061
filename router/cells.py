"""Divide all valid points into cells within which no term of some conditions changes its verdict.

A term such as ``close > 10`` changes only where close is 10. For conditions made of such terms one point of
every cell (of each constant, of each gap between two) speaks for all points: whether a condition can ever be
true, or implies another, is looked up. A term of another kind, such as ``close > open * 2``, is free to say
anything in any cell: what is found impossible is so in any case, and what is found possible may not be.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from router.points import NormalizedDataPoint
from router.rules import Rules
from router.schema import NEGATIVE_PRICES, PRICES
from router.terms import (
    FALSE,
    FREE,
    NULL,
    ORDERED,
    TRUE,
    Formula,
    Key,
    Truth,
    indicator,
    representatives,
)

#: Cells beyond which nobody looks.
MOST_CELLS: Final = 100_000
#: Dimensions that an array may have.
_MOST_AXES: Final = 60

_COMBINE: Final = {"and": np.minimum, "or": np.maximum}


class TooManyCellsError(Exception):
    """More than anybody looks at."""


class Space:
    """The cells of some conditions.

    Each variable that a term hangs on is an axis of arrays, and so is each term that is free.
    """

    def __init__(self, *formulas: Formula) -> None:
        """Find the cells.

        Raises:
            TooManyCellsError: They are more than `MOST_CELLS`.
        """
        terms = {term.key: term for formula in formulas for term in formula.terms()}
        self._values = representatives(terms.values())
        verdicts = {key: term.verdicts(self._values) for key, term in terms.items()}
        free = [key for key, found in verdicts.items() if FREE in found]
        self._axes: list[str | Key] = [*self._values, *free]
        self._shape = [*map(len, self._values.values()), *([3] * len(free))]
        if prod(self._shape) > MOST_CELLS or len(self._axes) > _MOST_AXES:
            raise TooManyCellsError
        self._said = {key: self._spread(key, terms[key].hangs_on(), verdicts[key]) for key in terms}
        self._valid = self._validity()

    def ever(self, formula: Formula) -> bool:
        """Return whether a condition is true in some cell."""
        return bool(self._true(formula).any())

    def always(self, formula: Formula) -> bool:
        """Return whether a condition is true in every cell."""
        return not bool(((self._truth(formula) < TRUE) & self._valid).any())

    def implies(self, formula: Formula, other: Formula) -> bool:
        """Return whether another condition is true in every cell in which one is true."""
        return not bool((self._true(formula) & (self._truth(other) < TRUE)).any())

    def excludes(self, formula: Formula, other: Formula) -> bool:
        """Return whether no cell has both conditions true."""
        return not bool((self._true(formula) & self._true(other)).any())

    def points(self, *formulas: Formula) -> Iterator[NormalizedDataPoint]:
        """Yield valid points of cells in which all these are true; terms that are free may say otherwise."""
        together = reduce(np.logical_and, map(self._true, formulas))
        for cell in np.argwhere(np.broadcast_to(together, self._shape)):
            chosen = zip(self._values.items(), cell, strict=False)
            yield _point({name: values[index] for (name, values), index in chosen})

    def _true(self, formula: Formula) -> npt.NDArray[np.bool_]:
        true: npt.NDArray[np.bool_] = (self._truth(formula) == TRUE) & self._valid
        return true

    def _truth(self, formula: Formula) -> Truth:
        if formula.term is not None:
            said = self._said[formula.term.key]
            return _negated(said) if formula.negated else said
        parts = [self._truth(part) for part in formula.parts]
        return _negated(parts[0]) if formula.join == "not" else reduce(_COMBINE[formula.join], parts)

    # Axes stand in the order of their names, and so do those of a term.
    def _spread(self, key: str | Key, names: tuple[str, ...], verdicts: Truth) -> Truth:
        shape = [n if axis in names else 1 for axis, n in zip(self._axes, self._shape, strict=True)]
        spread = verdicts.reshape(shape)
        if key not in self._axes:
            return spread
        anything = self._along(key, np.array([FALSE, NULL, TRUE], np.int8))
        return np.where(spread == FREE, anything, spread)

    def _along(self, axis: str | Key, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        shape = [1] * len(self._shape)
        shape[self._axes.index(axis)] = len(values)
        return values.reshape(shape)

    def _validity(self) -> npt.NDArray[np.bool_]:
        prices = {
            name: self._along(name, np.array(self._values[name])) for name in PRICES if name in self._values
        }
        valid = np.ones([1] * len(self._shape), np.bool_)
        for low, high in ORDERED:
            if low in prices and high in prices:
                valid = valid & (prices[low] <= prices[high])
        if "asset_class" not in self._values:
            return valid
        negative = [word in NEGATIVE_PRICES for word in self._values["asset_class"]]
        for price in prices.values():
            valid = valid & ((price > 0) | self._along("asset_class", np.array(negative)))
        return valid


def space_of(*formulas: Formula) -> Space | None:
    """Return the cells of some conditions; None: they are too many to look at."""
    try:
        return Space(*formulas)
    except TooManyCellsError:
        return None


def _negated(truth: Truth) -> Truth:
    return np.int8(TRUE) - truth


# What no term hangs on is filled in so that the point is valid.
def _point(values: dict[str, Any]) -> NormalizedDataPoint:
    prices = [values[name] for name in PRICES if name in values] or [1.0]
    low, high = min(prices), max(prices)
    indicators = {key: values[name] for name in values if (key := indicator(name)) is not None}
    raw = {
        **{"open": low, "high": high, "low": low, "close": low, "volume": 1.0},
        "asset_class": "equity" if low > 0 else "futures",
        **_BAR,
        **values,
        "technical_indicators": indicators or None,
    }
    return NormalizedDataPoint.from_mapping(raw, _RULES)


_BAR: Final = {
    "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
    "symbol": "AAPL",
    "timeframe": "1d",
    "source": "example",
}
#: A point of the far future is as good an example as any.
_RULES: Final = Rules(max_skew=timedelta(days=87_000))
