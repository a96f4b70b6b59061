"""Put mappings into columns, and say which of them did not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from router.checks import MAX_FIELDS
from router.rows import Mask
from router.schema import COLUMNS, FRAME_SCHEMA, POINT_SCHEMA, AssetClass

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS: Final = frozenset({int, float})


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
    kind = next(iter(kinds)) if len(kinds) == 1 else _commonest(values, kinds)
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    if kind not in _BUILDERS:
        return _nothing(name, values, fits)
    if len(kinds) > 1:
        values = _only(kind, values, fits)
    try:
        return _BUILDERS[kind](name, values)
    except (TypeError, ValueError, OverflowError, pa.ArrowException, pl.exceptions.PolarsError):
        return _nothing(name, values, fits)
