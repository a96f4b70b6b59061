"""Read any frame as columns of Polars, the index of a pandas frame among them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from router.errors import DecodeError
from router.from_frames import FAULTS, columns_of, is_frame, of_arrow


def flat(frame: Any) -> pl.DataFrame:
    """Return a frame or table of Polars, Arrow or pandas as a Polars frame; what pandas holds as NaN is null.

    Named levels of a pandas index become columns, unless there are columns of their names; a nameless
    index of moments becomes `timestamp`. A column that mixes types becomes text.

    Raises:
        TypeError: If it is no frame.
        DecodeError: `envelope.shape`, if its columns have several levels, or one name twice.
    """
    if not is_frame(frame):
        raise TypeError(
            f"{type(frame).__name__} is no frame: give one of pandas or Polars, or an Arrow table"
        )
    if not hasattr(frame, "set_axis"):
        columns = columns_of(frame)
        assert isinstance(columns, pl.DataFrame)
        return columns
    named = _with_index(frame)
    try:
        return of_arrow(pa.Table.from_pandas(named, preserve_index=False))
    except FAULTS:
        return pl.DataFrame([_column(name, named[name]) for name in named.columns])


def _with_index(frame: Any) -> Any:
    if frame.columns.nlevels > 1:
        message = "the columns have several levels, as those of yfinance have: from_yfinance reads them"
        raise DecodeError("envelope.shape", message)
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DecodeError("envelope.shape", f"the frame has the column {twice!r} twice")
    levels = {
        name: frame.index.get_level_values(level)
        for level, name in enumerate(_level_names(frame.index))
        if name is not None and name not in names
    }
    return frame.set_axis(names, axis="columns").reset_index(drop=True).assign(**levels)


def _level_names(index: Any) -> list[str | None]:
    if list(index.names) == [None]:
        return ["timestamp"] if hasattr(index, "tz") else [None]
    return [None if name is None else str(name) for name in index.names]


def _column(name: str, column: Any) -> pl.Series:
    try:
        return of_arrow(pa.table([pa.array(column, from_pandas=True)], [name])).to_series()
    except FAULTS:
        values = column.astype(object).where(column.notna(), None)
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
