"""Read frames whose columns are called otherwise, or that leave out what holds for every row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from typing import Any, Final, TypedDict

import polars as pl

from router.adapters.flat import flat
from router.adapters.records import checked
from router.adapters.timeframes import LONG
from router.arrangement import Arrangement
from router.errors import ConfigError
from router.layout import Layout

_MAP: Final = re.compile(r"--map (\w+)=COLUMN")
_OPTION: Final = re.compile(r"--([a-z][a-z-]*)(?: (UTC)\b)?")


class Said(TypedDict, total=False):
    """What can be said of a frame: the arguments of `from_frame`."""

    symbol: str | None
    timeframe: str | None
    asset_class: str | None
    source: str | None
    columns: Mapping[str, str] | None
    tz: str | None
    fold: str | None
    unit: str | None
    stamp: str


def from_frame(
    frame: Any,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    asset_class: str | None = None,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    tz: str | None = None,
    fold: str | None = None,
    unit: str | None = None,
    stamp: str = "open",
) -> pl.DataFrame | list[Any]:
    """Return a frame as points to be admitted.

    Columns may be called `Open`, `date`, `vol` and the like (`router.column_names`); the index of a pandas
    frame counts as columns. Days become midnight UTC where bars are of a day or longer, also those that are
    written as midnights without a zone; whole numbers are counts since 1970 whose unit is evident from
    their size, or given.

    Args:
        frame: A frame or table of Polars, pandas or Arrow.
        symbol: The symbol of every row, where there is no such column; so the next three.
        timeframe: The timeframe.
        asset_class: The asset class.
        source: The source.
        columns: For a field of a point, the frame's column that holds it.
        tz: The IANA zone of timestamps that name none.
        fold: Which moment a local time means that comes twice: `earlier` or `later`; None: it is refused.
        unit: What numbers count since 1970: s, ms, us, ns.
        stamp: Whether timestamps are the `open` of their bars, or their `close`.

    Returns:
        A frame, or a list where timestamps have to be judged one by one: a row for each, in order.

    Raises:
        ConfigError: `columns`, if a field that every point has is neither among the columns nor given, or
            is both; a code of timestamps, if none of them can be read; what is wrong with an argument.
        TypeError: If it is no frame.
        DecodeError: `envelope.shape`, if the frame has columns of several levels, or one name twice.
    """
    constants = checked(symbol=symbol, timeframe=timeframe, asset_class=asset_class, source=source)
    rows = flat(frame)
    if not rows.width:
        return rows
    try:
        layout = Layout(columns or {}, constants, tz, fold, unit, stamp)
        arrangement = Arrangement(layout, rows.columns, "the frame", "frame")
        _check_overruled(arrangement.understood().overruled)
        return arrangement.arranged(rows if tz else _with_days(rows, timeframe))
    except ConfigError as error:
        raise ConfigError(error.code, error.where, _as_arguments(error.message)) from error


# Pandas has no days, only midnights: those of long bars are meant as days.
def _with_days(rows: pl.DataFrame, timeframe: str | None) -> pl.DataFrame:
    kinds = rows.schema.items()
    naive = [name for name, kind in kinds if isinstance(kind, pl.Datetime) and kind.time_zone is None]
    days = [name for name in naive if timeframe in LONG and (rows[name].dt.time() == time()).all()]
    return rows.with_columns(pl.col(days).dt.date())


def _check_overruled(names: Any) -> None:
    if names:
        message = f"has a column for {names[0]} already: leave out {names[0]}=, or drop the column"
        raise ConfigError("columns", "the frame", message)


# The options of the command line, which the messages name, are arguments here.
def _as_arguments(message: str) -> str:
    mapped = _MAP.sub(r"columns={'\1': 'COLUMN'}", message)
    return _OPTION.sub(
        lambda found: found[1].replace("-", "_") + (f"={found[2]!r}" if found[2] else "="), mapped
    )
