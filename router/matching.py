"""Matching: which rows of a batch each route takes, all column conditions in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow.compute as pc

from router.batch import PointBatch
from router.conditions import BROKEN, ColumnCondition, PointCondition, said
from router.points import NormalizedDataPoint
from router.route import DEFAULT_ROUTE_ID
from router.rows import Mask, Positions, Rows
from router.table import RouteTable


class Failure(NamedTuple):
    """A condition that raised for one row: neither a match nor none."""

    route_id: str
    row: int  #: position in the matched batch
    message: str


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of the rows of one batch.

    Attributes:
        selections: By route id, the rows that matched; routes without any are absent. Rows that
            matched nothing are under ``default`` when there is a default destination.
        failures: Rows for which a condition raised, by route and then by row.
        unmatched: Rows that matched no route, and for which no condition raised.
        failed_only: Rows that matched no route, and for which at least one condition raised.
        routed: How many rows matched at least one route; the default one does not count.
    """

    selections: dict[str, Rows]
    failures: list[Failure]
    unmatched: Rows
    failed_only: Rows
    routed: int


def match(table: RouteTable, batch: PointBatch) -> Matches:
    """Return which rows of a batch each enabled route takes.

    A condition that raises fails for the rows that make it raise, and for no other row or route.
    """
    decisions = _decide_columns(table, batch) | _decide_points(table, batch)
    count = len(batch)
    matched, failed = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    selections: dict[str, Rows] = {}
    failures: list[Failure] = []
    for route in table:
        decision = decisions.get(route.route_id, _NOTHING)
        if len(decision.positions):
            selections[route.route_id] = Rows(decision.positions)
            matched[decision.positions] = True
        for row, message in decision.failures:
            failures.append(Failure(route.route_id, row, message))
            failed[row] = True
    unmatched = Rows.of_mask(~(matched | failed))
    if table.default_destination is not None and len(unmatched):
        selections[DEFAULT_ROUTE_ID] = unmatched
    return Matches(selections, failures, unmatched, Rows.of_mask(failed & ~matched), int(matched.sum()))


class _Decision(NamedTuple):
    positions: Positions
    failures: Sequence[tuple[int, str]] = ()


_NOTHING: Final = _Decision(np.empty(0, dtype=np.uint32))


def _decide_columns(table: RouteTable, batch: PointBatch) -> dict[str, _Decision]:
    exprs = {
        route.route_id: route.compiled.expr
        for route in table
        if route.enabled and isinstance(route.compiled, ColumnCondition)
    }
    if not exprs or not len(batch):
        return {}
    try:
        return dict(zip(exprs, map(_Decision, _evaluate(batch.frame, list(exprs.values()))), strict=True))
    except BROKEN:
        return {route_id: _decide_alone(batch.frame, expr, 0) for route_id, expr in exprs.items()}


# The timestamp goes along so that an expression without columns has as many rows as the batch.
def _evaluate(frame: pl.DataFrame, exprs: Sequence[pl.Expr]) -> list[Positions]:
    named = (expr.alias(str(index)) for index, expr in enumerate(exprs))
    found = frame.select(pl.col("timestamp"), *named)
    return [_true_at(verdicts) for verdicts in found.get_columns()[1:]]


# By Arrow, which passes over nulls; Polars' own arg_true plans a query for each column.
def _true_at(verdicts: pl.Series) -> Positions:
    positions: Positions = pc.indices_nonzero(verdicts.to_arrow()).to_numpy().astype(np.uint32)
    return positions


# Halving finds the rows for which an expression raises; the others are decided.
def _decide_alone(frame: pl.DataFrame, expr: pl.Expr, first: int) -> _Decision:
    try:
        return _Decision(_evaluate(frame, [expr])[0] + np.uint32(first))
    except BROKEN as error:
        if len(frame) == 1:
            return _Decision(_NOTHING.positions, [(first, said(error))])
    half = len(frame) // 2
    low, high = _decide_alone(frame[:half], expr, first), _decide_alone(frame[half:], expr, first + half)
    return _Decision(np.concatenate([low.positions, high.positions]), [*low.failures, *high.failures])


def _decide_points(table: RouteTable, batch: PointBatch) -> dict[str, _Decision]:
    conditions = {
        route.route_id: route.compiled
        for route in table
        if route.enabled and isinstance(route.compiled, PointCondition)
    }
    points = list(batch) if conditions else []
    return {route_id: _decide_each(condition, points) for route_id, condition in conditions.items()}


def _decide_each(condition: PointCondition, points: Sequence[NormalizedDataPoint]) -> _Decision:
    verdicts: Mask = np.zeros(len(points), dtype=np.bool_)
    failures: list[tuple[int, str]] = []
    for row, point in enumerate(points):
        try:
            verdicts[row] = condition.decide(point)
        except BROKEN as error:
            failures.append((row, said(error)))
    return _Decision(Rows.of_mask(verdicts).positions, failures)
