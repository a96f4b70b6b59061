"""Show a batch to people: in one line, as text, as a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from html import escape
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from router.schema import PRICES
from router.tables import EPOCH, as_frame

#: Symbols, timeframes, and parts that are named before the others are counted or left out.
MOST_NAMED: Final = 3
#: Rows at either end in which symbols and timeframes are looked for: a million take too long.
_LOOKED_AT: Final = 1_000
_ENDS: Final = 4  # rows of a table before and behind its gap
_COLUMNS: Final = ("timestamp", "symbol", "timeframe", *PRICES, "volume", "source")


class Shown(NamedTuple):
    """What there is to show of a batch.

    Attributes:
        columns: A table of `POINT_SCHEMA` or a frame of `FRAME_SCHEMA`.
        route_id: The route it is being delivered for, if any.
        parts: The names of its rows, and how many more there are.
    """

    columns: pa.Table | pl.DataFrame
    route_id: str | None
    parts: Sequence[str]


def line_of(batch: Shown) -> str:
    """Return one line: how many points of which symbols and timeframes, from when to when."""
    return f"PointBatch({_summary(batch)})"


def text_of(batch: Shown) -> str:
    """Return the line, the names of the rows, and the first and last rows as Polars shows them."""
    lines = [line_of(batch), *_facts(batch)]
    if len(batch.columns):
        with _as_shown():
            lines.append(str(_ends(batch.columns).select(_COLUMNS)))
    return "\n".join(lines)


def html_of(batch: Shown) -> str:
    """Return the same as HTML; whatever the points hold is escaped."""
    lines = [f"<b>PointBatch</b>: {escape(_summary(batch))}", *map(escape, _facts(batch))]
    table = ""
    if len(batch.columns):
        with _as_shown():
            table = _ends(batch.columns).select(_COLUMNS)._repr_html_()
    return f"<div>{'<br>'.join(lines)}{table}</div>"


def _summary(batch: Shown) -> str:
    if not len(batch.columns):
        return "0 points"
    ends = _rows(batch.columns, _LOOKED_AT)
    whole = len(ends) == len(batch.columns)
    first, last = (f"{EPOCH + timedelta(microseconds=end):%Y-%m-%d %H:%M}" for end in _span(batch.columns))
    named = f"{_words(ends['symbol'], whole)} ({_words(ends['timeframe'], whole)})"
    points = f"{len(batch.columns):,} point{'s' if len(batch.columns) > 1 else ''}"
    return f"{points} of {named}, {first} to {last} UTC"


def _facts(batch: Shown) -> list[str]:
    return [
        *([] if batch.route_id is None else [f"for route {batch.route_id}"]),
        *([f"batch {', '.join(batch.parts)}"] if batch.parts else []),
    ]


# The first words; an ellipsis where there are more, or where not every row was looked at and there may be.
def _words(column: pl.Series, whole: bool) -> str:
    words = column.unique(maintain_order=True)
    more = len(words) > MOST_NAMED or not (whole or len(words) == 1)
    return ", ".join(words.head(MOST_NAMED).to_list()) + (", …" if more else "")


def _span(columns: pa.Table | pl.DataFrame) -> tuple[int, int]:
    if isinstance(columns, pl.DataFrame):
        since_1970 = columns["timestamp"].to_physical()
        return int(since_1970.min()), int(since_1970.max())  # type: ignore[arg-type]
    ends = pc.min_max(columns["timestamp"].cast(pa.int64())).as_py()
    return ends["min"], ends["max"]


# One row more than are shown, so that Polars marks the gap where there is one.
def _ends(columns: pa.Table | pl.DataFrame) -> pl.DataFrame:
    return _rows(columns, _ENDS, 1)


def _rows(columns: pa.Table | pl.DataFrame, ends: int, more: int = 0) -> pl.DataFrame:
    first = ends + more
    if len(columns) <= first + ends:
        pieces: list[Any] = [columns]
    else:
        pieces = [columns.slice(0, first), columns.slice(len(columns) - ends, ends)]
    if isinstance(columns, pl.DataFrame):
        joined: pl.DataFrame = pl.concat(pieces)
        return joined
    return as_frame(pa.concat_tables(pieces))


def _as_shown() -> pl.Config:
    return pl.Config(
        tbl_rows=2 * _ENDS,
        tbl_cols=-1,
        tbl_width_chars=160,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    )
