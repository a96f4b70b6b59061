"""Thresholds: what conditions compare one value of a point with, compared with all of them at once."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from router.rows import Bits, bits_of
from router.schema import FRAME_SCHEMA
from router.tables import empty_frame

Compare = Callable[[Any, Any], Any]

#: For each comparison, the one that holds where it does not, unless the value is null.
OPPOSITES: Final[dict[Compare, Compare]] = {
    operator.gt: operator.le,
    operator.lt: operator.ge,
    operator.ge: operator.lt,
    operator.le: operator.gt,
    operator.eq: operator.ne,
    operator.ne: operator.eq,
}
_MIRRORED: Final[dict[Compare, Compare]] = {
    operator.gt: operator.lt,
    operator.lt: operator.gt,
    operator.ge: operator.le,
    operator.le: operator.ge,
}
#: What NaN, which Polars takes for the largest number, and numpy for none, does with no number.
_NEVER_OF_NAN: Final = (operator.lt, operator.le, operator.eq)
_NUMBER: Final = pl.Float64()
_TIME: Final = FRAME_SCHEMA["timestamp"]
_EXACT: Final = 2**53  #: up to here every integer is a float64
_AT_ONCE: Final = 2**18  #: so many comparisons are made in one piece, which the caches of a core hold
_EMPTY: Final = empty_frame()


class Threshold(NamedTuple):
    """A comparison of a value of each point, a float64 or a time, with one number that is not NaN."""

    value: pl.Expr
    compare: Compare
    number: float  #: a time in microseconds since 1970, UTC


def threshold_of(expr: pl.Expr) -> Threshold | None:
    """Return the threshold that an expression compares a value with; None if that is not what it does."""
    terms = expr.meta.pop()[::-1]
    if [term.meta.is_literal() for term in terms] not in ([True, False], [False, True]):
        return None
    compare = next((compare for compare in OPPOSITES if compare(*terms).meta.eq(expr)), None)
    if compare is None:
        return None
    if terms[0].meta.is_literal():
        terms, compare = terms[::-1], _MIRRORED.get(compare, compare)
    number = _number(terms[1], _EMPTY.select(terms[0]).dtypes[0])
    return None if number is None else Threshold(terms[0], compare, number)


# A literal among values of a type; None if Polars might compare them as something else.
def _number(literal: pl.Expr, kind: pl.DataType) -> float | None:
    found = pl.select(literal).to_series()
    if len(found) != 1 or found.null_count():
        return None
    number = found.to_physical().item()
    if kind == found.dtype == _TIME:
        return int(number)
    if kind == found.dtype == _NUMBER and not math.isnan(number):
        return float(number)
    if kind == _NUMBER and found.dtype in (pl.Int32, pl.Int64) and abs(number) <= _EXACT:
        return float(number)
    return None


def rows_beyond(values: pl.Series, compare: Compare, numbers: Sequence[float]) -> Iterator[Bits]:
    """Yield, for each number in order, the rows in which a value compares so with it, as Polars does."""
    column = values.to_numpy()  # null becomes NaN, or no time: neither less than a number nor equal to it
    turned = compare not in _NEVER_OF_NAN
    known = bits_of(values.is_not_null()) if values.null_count() else (1 << len(values)) - 1
    step = max(1, _AT_ONCE // max(1, len(column)))
    for start in range(0, len(numbers), step):
        some = np.array(numbers[start : start + step], dtype=column.dtype)[:, None]
        held = (OPPOSITES[compare] if turned else compare)(column, some)
        for packed in np.packbits(held, axis=1, bitorder="little"):
            bits = int.from_bytes(packed.tobytes(), "little")
            yield known ^ bits if turned else bits
