"""Conditions: SQL text, a Polars expression or a callable, checked once and then evaluated."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl

from router.batch import PointBatch, empty_frame
from router.errors import ConditionError
from router.hidden import without_hidden
from router.names import nearest
from router.points import NormalizedDataPoint
from router.schema import COLUMNS, FRAME_SCHEMA, PRICES
from router.sql import translate

#: What a user's expression or callable may raise; a panic inside Polars is no Exception.
BROKEN: Final = (Exception, pl.exceptions.PanicException)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnCondition:
    """A condition that is decided for all rows of a batch at once.

    Attributes:
        text: What was written, for display.
        expr: A Boolean expression over the columns of a point; null is no match.
    """

    text: str
    expr: pl.Expr

    def decide(self, point: NormalizedDataPoint) -> bool:
        """Return whether one point meets the condition."""
        return bool(PointBatch.of([point]).frame.select(self.expr).item())


@dataclass(frozen=True, slots=True, eq=False)
class PointCondition:
    """A condition that is decided point by point: the slow and flexible way.

    Attributes:
        text: The name of the callable.
        function: Gives True, False or None, which is no match.
    """

    text: str
    function: Callable[[NormalizedDataPoint], Any]

    def decide(self, point: NormalizedDataPoint) -> bool:
        """Return whether one point meets the condition.

        Raises:
            TypeError: The callable returned something other than True, False or None.
            Exception: Whatever the callable raised.
        """
        verdict = self.function(point)
        if verdict is None or isinstance(verdict, bool | np.bool_):
            return bool(verdict)
        raise TypeError(f"condition returned {type(verdict).__name__}, not bool")


Condition = ColumnCondition | PointCondition


def compile_condition(condition: object, where: str) -> Condition:
    """Return a condition ready to be evaluated.

    Raises:
        ConditionError: It cannot be used, said at `where`: ``condition.syntax``,
            ``condition.forbidden``, ``condition.unknown_field``, ``condition.unknown_value``,
            ``condition.type`` or ``condition.not_rowwise``.
    """
    try:
        if isinstance(condition, str):
            return ColumnCondition(condition, _checked(translate(condition)))
        if isinstance(condition, pl.Expr):
            return ColumnCondition(str(condition), _rowwise(_checked(condition)))
        return _point_condition(condition)
    except ConditionError as error:
        raise error.at(where) from error.__cause__


def name_of(function: object) -> str:
    """Return what a callable is called: its qualified name, that of its class, or that of what it wraps."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def first_line(error: BaseException) -> str:
    """Return what an error says, without the pages Polars adds to it and without secrets of a routes file."""
    try:
        text = without_hidden(str(error)).strip()
    except Exception:  # an error that cannot say what it is has a type at least
        text = ""
    return (text or type(error).__name__).splitlines()[0]


def said(error: BaseException) -> str:
    """Return an error's type and what it says, in one line of at most 500 characters."""
    return f"{type(error).__name__}: {first_line(error)}"[:500]


def _point_condition(condition: object) -> PointCondition:
    if not callable(condition):
        raise ConditionError(
            "condition.type", "", f"must be SQL text, a Polars expression or a callable, not {condition!r}"
        )
    if inspect.iscoroutinefunction(condition):
        raise ConditionError(
            "condition.type", "", f"{name_of(condition)} is a coroutine function: a condition decides at once"
        )
    return PointCondition(name_of(condition), condition)


# What an expression reads and gives, found out on a frame without rows.
def _checked(expr: pl.Expr) -> pl.Expr:
    for name in expr.meta.root_names():
        if name not in COLUMNS:
            raise ConditionError(
                "condition.unknown_field", "", f"a point has no field {name!r}{nearest(name, COLUMNS)}"
            )
    try:
        types = _EMPTY.select(expr).dtypes
    except BROKEN as error:
        raise ConditionError("condition.type", "", first_line(error)) from error
    if types != [pl.Boolean()]:
        given = ", ".join(str(t) for t in types)
        raise ConditionError("condition.type", "", f"gives {given}, not true or false: write a comparison")
    return expr


# Rows share a batch by accident: a condition that looks at other rows would decide by accident as well.
def _rowwise(expr: pl.Expr) -> pl.Expr:
    try:
        together = _PROBE.select("symbol", found=expr)["found"].to_list()
        alone = [
            _PROBE[i : i + 1].select("symbol", found=expr)["found"].to_list() for i in range(len(_PROBE))
        ]
    except BROKEN:
        return expr  # it raises on invented values: for real ones, matching tells
    if [[verdict] for verdict in together] != alone:
        raise ConditionError(
            "condition.not_rowwise",
            "",
            "depends on the other rows of a batch: a condition decides about one point by itself",
        )
    return expr


def _probe() -> pl.DataFrame:
    values: dict[str, list[Any]] = {name: [None] * 4 for name in COLUMNS}
    for name in (*PRICES, "volume", "data_quality_score"):
        values[name] = [3.0, 1.0, 4.0, 1.0]
    values |= {name: ["b", "a", "c", "a"] for name in ("symbol", "asset_class", "timeframe", "source")}
    values["timestamp"] = [datetime(2024, 1, day, tzinfo=UTC) for day in (3, 1, 4, 1)]
    values["is_realtime"] = [True, False, True, False]
    return pl.DataFrame(values, schema=FRAME_SCHEMA)


_EMPTY: Final = empty_frame()
_PROBE: Final = _probe()
