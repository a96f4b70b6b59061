"""Put mappings into columns, and say which of them did not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from router.check_numbers import FLOAT_DIGITS
from router.checks import MAX_FIELDS
from router.rows import Mask
from router.schema import COLUMNS, FRAME_SCHEMA, POINT_SCHEMA, AssetClass

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS: Final = frozenset({int, float})
_LONG: Final = 10**FLOAT_DIGITS


def frame_of(rows: Sequence[Mapping[str, Any]]) -> tuple[pl.DataFrame, Mask]:
    """Return the points' fields as columns, one row per mapping, typed as most of them are.

    Returns:
        The frame, and the rows that are wholly in it; the others must be judged one by one.
    """
    fits = np.array([len(row) <= MAX_FIELDS for row in rows], dtype=np.bool_)
    columns = [_column(name, [row.get(name) for row in rows], fits) for name in COLUMNS]
    return pl.DataFrame(columns), fits


def _column(name: str, values: list[Any], fits: Mask) -> pl.Series:
    kinds = set(map(type, values)) - {NoneType}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    first = next(type(value) for value in values if value is not None)
    family = _NUMBERS if first in _NUMBERS else {first}
    if kinds - family:
        fits &= np.array([value is None or type(value) in family for value in values])
        values = [value if type(value) in family else None for value in values]
    try:
        return _BUILDERS[first](values).alias(name)
    except (KeyError, TypeError, ValueError, OverflowError, pa.ArrowException, pl.exceptions.PolarsError):
        fits &= np.array([value is None for value in values])
        return pl.Series(name, [None], dtype=pl.Null).new_from_index(0, len(values))


def _numbers(values: list[Any]) -> pl.Series:
    if any(type(value) is int and abs(value) >= _LONG for value in values):
        raise ValueError("a long integer counts as rounded")
    return pl.Series(values, dtype=pl.Float64, strict=False)


def _moments(values: list[Any]) -> pl.Series:
    since_1970 = [None if value is None else value - _EPOCH for value in values]
    return pl.Series(np.array(since_1970, dtype="m8[us]").view("i8")).cast(FRAME_SCHEMA["timestamp"])


def _maps(values: list[Any]) -> pl.Series:
    if any(type(number) is not float for value in values if value for number in value.values()):
        raise ValueError("an indicator that is not a float")
    pairs = [None if value is None else list(value.items()) for value in values]
    kind = POINT_SCHEMA.field("technical_indicators").type
    return pl.Series(pl.from_arrow(pa.array(pairs, kind)))


_BUILDERS: Final[Mapping[type, Callable[[list[Any]], pl.Series]]] = {
    float: _numbers,
    int: _numbers,
    str: lambda values: pl.Series(values, dtype=pl.String),
    AssetClass: lambda values: pl.Series([value and value.value for value in values], dtype=pl.String),
    bool: lambda values: pl.Series(values, dtype=pl.Boolean),
    datetime: _moments,
    dict: _maps,
}
