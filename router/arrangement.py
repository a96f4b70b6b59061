"""Bring the rows of a file, whatever its columns are called, into the fields of points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from router.bar_starts import BarStarts, as_written, common_fault
from router.column_names import columns_by_field
from router.errors import ConfigError
from router.layout import Layout

_PLAIN_TIME: Final = "with their zone; open of the bar"
_Rows = pl.DataFrame | list[Any]
_UNITS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


@dataclass(frozen=True, slots=True)
class Understood:
    """How a file was read.

    Attributes:
        format: Its format, and how it was packed.
        columns: By field, the column that holds it.
        constants: By field, the one value for the whole file.
        unused: Columns that hold no field of a point.
        overruled: Constants that the file has a column for, which counts.
        time: How its timestamps were read.
    """

    format: str
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | float | bool] = field(default_factory=dict)
    unused: Sequence[str] = ()
    overruled: Sequence[str] = ()
    time: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it was read as it says itself: in the fields of points, with zones."""
        renamed = any(name != column for name, column in self.columns.items())
        return not (renamed or self.constants or self.overruled) and self.time == _PLAIN_TIME


class Arrangement:
    """How the columns of one file become those of points."""

    def __init__(
        self, layout: Layout, names: Sequence[str], where: str, form: str, *, fixed: bool = True
    ) -> None:
        """Find the columns.

        Args:
            layout: What was said of the file.
            names: Its columns.
            where: What to call it in errors.
            form: Its format, for people.
            fixed: Whether no row has other columns; otherwise what is not known stays in its row.

        Raises:
            ConfigError: What `columns_by_field` raises.
        """
        self._layout, self._names, self._where, self._form, self._fixed = layout, names, where, form, fixed
        self._columns = columns_by_field(names, layout, where)
        self._constants = {
            name: value for name, value in layout.constants.items() if name not in self._columns
        }
        self._renamed = any(name != column for name, column in self._columns.items())
        self._used = frozenset(self._columns.values())
        self._starts: BarStarts | None = None

    def wanted(self) -> frozenset[str]:
        """Return the columns of the file that are needed."""
        return self._used

    def arranged(self, rows: _Rows) -> _Rows:
        """Return rows as the fields of points, with the starts of their bars.

        Raises:
            ConfigError: A code of timestamps, if it holds for every row of the first chunk, so that
                something was left unsaid.
        """
        if isinstance(rows, pl.DataFrame):
            frame = self._frame(rows)
            frame = frame.with_columns(as_written(frame["timestamp"]))
            return self._started(frame["timestamp"], lambda starts: starts.in_frame(frame))
        listed = [self._row(row) if isinstance(row, dict) else row for row in rows]
        times = (row.get("timestamp") for row in listed if isinstance(row, dict))
        return self._started(times, lambda starts: starts.in_rows(listed))

    def understood(self) -> Understood:
        """Return how the file was read so far."""
        return Understood(
            self._form,
            self._columns,
            self._constants,
            [name for name in self._names if name not in self._used],
            [name for name in self._layout.constants if name in self._columns],
            self._time(),
        )

    def _started(self, timestamps: Iterable[Any], read: Callable[[BarStarts], _Rows]) -> _Rows:
        if self._starts is not None:
            return read(self._starts)
        starts = BarStarts(self._layout, timestamps)
        found = read(starts)
        fault = common_fault(found)
        if fault is not None:
            raise ConfigError(fault.code, self._where, fault.message)
        if starts.kinds:  # it has seen a timestamp, so that it knows what they are like
            self._starts = starts
        return found

    def _frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(
            *(pl.col(column).alias(name) for name, column in self._columns.items()),
            *(pl.lit(value).alias(name) for name, value in self._constants.items()),
        )

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        if not self._renamed and not self._fixed:
            return {**self._constants, **row} if self._constants else row
        held = {name: row[column] for name, column in self._columns.items() if column in row}
        if self._fixed:
            return {**self._constants, **held}
        rest = {key: value for key, value in row.items() if key not in self._used and key not in held}
        return {**self._constants, **held, **rest}

    def _time(self) -> str:
        layout, starts = self._layout, self._starts
        ways = {"moments": "with their zone", "days": "days, as midnight UTC"}
        if layout.zone is not None:
            ways["local"] = f"in {layout.zone}"
        if starts is not None and starts.unit is not None:
            ways["numbers"] = f"{_UNITS[starts.unit]} since 1970{'' if layout.unit else ', by their size'}"
        kinds = sorted(starts.kinds & ways.keys()) if starts is not None else ()
        return "; ".join([*(ways[kind] for kind in kinds), f"{layout.stamp} of the bar"])
