"""Matching: which rows of a batch each route takes, all column conditions in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow.compute as pc

from router.batch import PointBatch
from router.conditions import BROKEN, ColumnCondition, PointCondition, said
from router.points import NormalizedDataPoint
from router.route import DEFAULT_ROUTE_ID, Route
from router.rows import Mask, Positions, Rows
from router.table import RouteTable


class Failure(NamedTuple):
    """A condition that could not be evaluated for one row: neither a match nor none."""

    route_id: str
    row: int  #: position in the matched batch
    message: str
    code: str = "condition.error"


class Decision(NamedTuple):
    """What became of the rows of one batch for one route: those that match, and those that failed."""

    positions: Positions
    failures: Sequence[Failure] = ()


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of the rows of one batch.

    Attributes:
        selections: By route id, the rows that matched; routes without any are absent. Rows that
            matched nothing are under ``default`` when there is a default destination.
        failures: Rows for which a condition failed, by route and then by row.
        unmatched: Rows that matched no route, and for which no condition failed.
        failed_only: Rows that matched no route, and for which at least one condition failed.
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
    return combine(table, len(batch), _decide_columns(table, batch) | _decide_points(table, batch))


def decide(route: Route, batch: PointBatch) -> Decision:
    """Return which rows of a batch one route takes, by its condition alone."""
    if isinstance(route.compiled, ColumnCondition):
        return _decide_alone(route.route_id, batch.frame, route.compiled.expr, 0)
    return _decide_each(route.route_id, route.compiled, list(batch))


def combine(table: RouteTable, count: int, decisions: Mapping[str, Decision]) -> Matches:
    """Return what became of `count` rows, given what was decided for each route; for others nothing was."""
    matched, failed = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    selections: dict[str, Rows] = {}
    failures: list[Failure] = []
    for route in table:
        decision = decisions.get(route.route_id, _NOTHING)
        if len(decision.positions):
            selections[route.route_id] = Rows(decision.positions)
            matched[decision.positions] = True
        failures += decision.failures
        failed[[failure.row for failure in decision.failures]] = True
    unmatched = Rows.of_mask(~(matched | failed))
    if table.default_destination is not None and len(unmatched):
        selections[DEFAULT_ROUTE_ID] = unmatched
    return Matches(selections, failures, unmatched, Rows.of_mask(failed & ~matched), int(matched.sum()))


_NOTHING: Final = Decision(np.empty(0, dtype=np.uint32))


def _decide_columns(table: RouteTable, batch: PointBatch) -> dict[str, Decision]:
    exprs = {
        route.route_id: route.compiled.expr
        for route in table
        if route.enabled and isinstance(route.compiled, ColumnCondition)
    }
    if not exprs or not len(batch):
        return {}
    try:
        return dict(zip(exprs, map(Decision, _evaluate(batch.frame, list(exprs.values()))), strict=True))
    except BROKEN:
        return {route_id: _decide_alone(route_id, batch.frame, expr, 0) for route_id, expr in exprs.items()}


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
def _decide_alone(route_id: str, frame: pl.DataFrame, expr: pl.Expr, first: int) -> Decision:
    try:
        return Decision(_evaluate(frame, [expr])[0] + np.uint32(first))
    except BROKEN as error:
        if len(frame) == 1:
            return Decision(_NOTHING.positions, [Failure(route_id, first, said(error))])
    half = len(frame) // 2
    low = _decide_alone(route_id, frame[:half], expr, first)
    high = _decide_alone(route_id, frame[half:], expr, first + half)
    return Decision(np.concatenate([low.positions, high.positions]), [*low.failures, *high.failures])


def _decide_points(table: RouteTable, batch: PointBatch) -> dict[str, Decision]:
    conditions = {
        route.route_id: route.compiled
        for route in table
        if route.enabled and isinstance(route.compiled, PointCondition)
    }
    points = list(batch) if conditions else []
    return {route_id: _decide_each(route_id, condition, points) for route_id, condition in conditions.items()}


def _decide_each(route_id: str, condition: PointCondition, points: Sequence[NormalizedDataPoint]) -> Decision:
    verdicts: Mask = np.zeros(len(points), dtype=np.bool_)
    failures: list[Failure] = []
    for row, point in enumerate(points):
        try:
            verdicts[row] = condition.decide(point)
        except BROKEN as error:
            failures.append(Failure(route_id, row, said(error)))
    return Decision(Rows.of_mask(verdicts).positions, failures)
