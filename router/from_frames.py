"""Read frames and tables of several libraries as a Polars frame, and single rows out of one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from router.errors import DecodeError

_ISO: Final = "%Y-%m-%dT%H:%M:%S%.9f"
#: What is raised for types that cannot be read.
FAULTS: Final = (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException)
_US: Final = timedelta(microseconds=1)
#: Microseconds since 1970 that a datetime can say in every zone.
_SAYABLE: Final = tuple(
    (year - datetime(1970, 1, 1)) // _US for year in (datetime(2, 1, 1), datetime(9999, 1, 1))
)


def is_frame(points: Any) -> bool:
    """Return whether something is a frame or table of Polars, Arrow or pandas."""
    return isinstance(points, pl.DataFrame | pl.LazyFrame | pa.Table | pa.RecordBatch) or _is_pandas(points)


def columns_of(points: Any) -> pl.DataFrame | list[dict[str, Any]]:
    """Return such a frame or table as a Polars frame; what pandas holds as NaN is null.

    Returns:
        A frame, or a list of mappings for a pandas frame whose columns mix types.

    Raises:
        DecodeError: `envelope.shape`, if its columns cannot be read.
    """
    try:
        if isinstance(points, pl.DataFrame):
            return points
        if isinstance(points, pl.LazyFrame):
            return points.collect()
        if isinstance(points, pa.Table | pa.RecordBatch):
            return of_arrow(points)
        return _of_pandas(points)
    except FAULTS as error:
        raise DecodeError("envelope.shape", f"the table cannot be read: {error}") from error


def of_arrow(table: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """Return an Arrow table as a Polars frame, in types that Polars has.

    Raises:
        pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException: It has others too.
    """
    kinds = [_known(kind) for kind in table.schema.types]
    columns = [
        column if kind == column.type else column.cast(kind)
        for kind, column in zip(kinds, table.columns, strict=True)
    ]
    return pl.DataFrame(pl.from_arrow(pa.table(columns, table.schema.names)))


def _known(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and (kind.tz or "")[:1] in ("+", "-"):
        return pa.timestamp(kind.unit, "UTC")
    if pa.types.is_decimal256(kind):
        return pa.string()
    return pa.date32() if pa.types.is_date64(kind) else kind


def rows_of(frame: pl.DataFrame, positions: npt.NDArray[np.intp]) -> list[dict[str, Any]]:
    """Return the rows at these positions as dicts of Python values, nothing of them lost.

    Moments finer than a microsecond become text, for which Python has no other type; a map that says
    one key twice becomes a list of pairs.
    """
    if not len(positions):
        return []
    chosen = frame[positions]
    rows = chosen.with_columns(_faithful(chosen.schema)).to_dicts()
    for name, kind in chosen.schema.items():
        if isinstance(kind, pl.Map):
            for row in rows:
                row[name] = _pairs(row[name])
    return rows


def _faithful(schema: pl.Schema) -> list[pl.Expr]:
    changed = []
    for name, kind in schema.items():
        column = pl.col(name)
        if isinstance(kind, pl.Map):
            changed.append(column.map.entries())
        elif isinstance(kind, pl.Datetime) and kind.time_unit == "ns":
            changed.append(column.dt.strftime(_ISO + ("%:z" if kind.time_zone else "")))
        elif isinstance(kind, pl.Datetime):
            first, last = (bound // (1000 if kind.time_unit == "ms" else 1) for bound in _SAYABLE)
            changed.append(column.to_physical().clip(first, last).cast(kind))
    return changed


def _pairs(entries: list[dict[str, Any]] | None) -> Any:
    if entries is None:
        return None
    pairs = [(entry["key"], entry["value"]) for entry in entries]
    return dict(pairs) if len(dict(pairs)) == len(pairs) else pairs


def _is_pandas(points: Any) -> bool:
    return type(points).__module__.partition(".")[0] == "pandas" and hasattr(points, "columns")


def _of_pandas(points: Any) -> pl.DataFrame | list[dict[str, Any]]:
    try:
        return of_arrow(pa.Table.from_pandas(points))
    except FAULTS:
        records: list[dict[str, Any]] = points.astype(object).where(points.notna(), None).to_dict("records")
        return records
