"""Matching: which rows of a batch each route takes, all column conditions in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from router.batch import PointBatch
from router.conditions import BROKEN, ColumnCondition, PointCondition, said
from router.evaluation import true_of
from router.plan import plan_of
from router.points import NormalizedDataPoint
from router.route import DEFAULT_ROUTE_ID, Route
from router.rows import Mask, Rows
from router.table import RouteTable


class Failure(NamedTuple):
    """A condition that could not be evaluated for one row: neither a match nor none."""

    route_id: str
    row: int  #: position in the matched batch
    message: str
    code: str = "condition.error"


class Decision(NamedTuple):
    """What became of the rows of one batch for one route: those that match, and those that failed."""

    rows: Rows
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
    matched = failed = 0
    selections: dict[str, Rows] = {}
    failures: list[Failure] = []
    for route in table:
        rows, failures_here = decisions.get(route.route_id, _NOTHING)
        if rows.bits:
            selections[route.route_id] = rows
            matched |= rows.bits
        failures += failures_here
    for failure in failures:
        failed |= 1 << failure.row
    unmatched = Rows.of_bits(((1 << count) - 1) & ~(matched | failed))
    if table.default_destination is not None and len(unmatched):
        selections[DEFAULT_ROUTE_ID] = unmatched
    return Matches(selections, failures, unmatched, Rows.of_bits(failed & ~matched), matched.bit_count())


_NOTHING: Final = Decision(Rows([]))


# A condition of which a test raised is evaluated by itself, to find the rows that make it raise.
def _decide_columns(table: RouteTable, batch: PointBatch) -> dict[str, Decision]:
    conditions = {
        route.route_id: route.compiled
        for route in table
        if route.enabled and isinstance(route.compiled, ColumnCondition)
    }
    if not conditions or not len(batch):
        return {}
    found = plan_of(tuple(conditions.values())).decide(batch)
    return {
        route_id: _decide_alone(route_id, batch.frame, condition.expr, 0)
        if bits is None
        else Decision(Rows.of_bits(bits))
        for (route_id, condition), bits in zip(conditions.items(), found, strict=True)
    }


# Halving finds the rows for which an expression raises; the others are decided.
def _decide_alone(route_id: str, frame: pl.DataFrame, expr: pl.Expr, first: int) -> Decision:
    try:
        return Decision(Rows.of_bits(true_of(frame, expr.alias("true"))[0] << first))
    except BROKEN as error:
        if len(frame) == 1:
            return Decision(_NOTHING.rows, [Failure(route_id, first, said(error))])
    half = len(frame) // 2
    low = _decide_alone(route_id, frame[:half], expr, first)
    high = _decide_alone(route_id, frame[half:], expr, first + half)
    return Decision(Rows.of_bits(low.rows.bits | high.rows.bits), [*low.failures, *high.failures])


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
    return Decision(Rows.of_mask(verdicts), failures)
