"""Explain what would become of one point: the verdict on it, and what every route makes of it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from router.admission import Refused, admit
from router.batch import PointBatch
from router.clauses import Seen, see
from router.conditions import name_of, said
from router.explain_lines import Line, lines_of
from router.matching import Matches, match
from router.points import NormalizedDataPoint
from router.preparing import prepare_alone
from router.route import DEFAULT_ROUTE_ID, Destination, Route
from router.rules import DEFAULT, Rules
from router.table import RouteTable

Outcome = Literal["matched", "no match", "error", "disabled"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a route's transform made of the point.

    Attributes:
        transform: What the transform is called.
        fields: By the name of each field it changed, the value before and after.
        dropped: It gave None: the point goes no further on this route.
        error: What it raised, or why its result was refused: a dead letter of this route.
    """

    transform: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    dropped: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class RouteExplanation:
    """What one route makes of the point.

    Attributes:
        route_id: Its id; ``default`` for the default destination.
        outcome: ``matched``, ``no match``, ``error`` (a dead letter of this route) or ``disabled``.
        condition: What the condition said, clause by clause; None for ``default``, which has none.
        destination: The kind of its destination.
        queue: The queue of the destination.
        task: The task that delivers to it.
        policy: How it is delivered: priority, batch size and timeout, rate, retries, what it may owe.
        transform: What the transform made of it; None: there is none, or the point did not match.
        target: The file or key it would be written to; empty: nothing would be written, or nobody can say.
    """

    route_id: str
    outcome: Outcome
    condition: Seen | None
    destination: str
    queue: str
    task: str
    policy: Mapping[str, Any]
    transform: Change | None = None
    target: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the point would be written by this route."""
        stopped = self.transform is not None and (self.transform.dropped or bool(self.transform.error))
        return self.outcome == "matched" and not stopped


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """What would become of one point.

    `str` gives the whole story, for people; `to_dict` the same for programs.

    Attributes:
        point: The point as it would be stored; None: it is refused.
        refused: Why it is refused, which makes a dead letter of it; None: it is not.
        notes: What was noted of it: ``rounded``, ``misaligned``.
        routes: What each route makes of it, in their order; empty if it is refused.
        default: What becomes of it at the default destination; None: there is none, or it is refused.
    """

    point: NormalizedDataPoint | None
    refused: Refused | None = None
    notes: tuple[str, ...] = ()
    routes: tuple[RouteExplanation, ...] = ()
    default: RouteExplanation | None = None

    @property
    def matched(self) -> list[str]:
        """The ids of the routes that take the point, `default` among them."""
        everything = [*self.routes, *([] if self.default is None else [self.default])]
        return [route.route_id for route in everything if route.outcome == "matched"]

    def lines(self) -> list[Line]:
        """Return the story as lines, for whoever draws them."""
        return list(lines_of(self))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; timestamps are ISO 8601 UTC."""
        values = {
            "point": None if self.point is None else self.point.to_json_dict(),
            "refused": None if self.refused is None else _refusal(self.refused),
            "notes": self.notes,
            "matched": self.matched,
            "routes": [asdict(route) for route in self.routes],
            "default": None if self.default is None else asdict(self.default),
        }
        told: dict[str, Any] = json.loads(json.dumps(values, default=_as_json))
        return told

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines()))

    def __repr__(self) -> str:
        if self.point is None:
            return "Explanation(refused)"
        bar = f"{self.point.symbol} {self.point.timeframe} {self.point.timestamp:%Y-%m-%d %H:%M}"
        return f"Explanation({bar}: {', '.join(self.matched) or 'no route'})"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def explain(
    table: RouteTable, point: Any, rules: Rules = DEFAULT, where: Callable[[int], str] | None = None
) -> Explanation:
    """Return what would become of one point, and why.

    Conditions and transforms run as they would in the fleet. No destination is opened, and nothing is sent.

    Args:
        table: The routes.
        point: A `NormalizedDataPoint`, a mapping of its fields, or one row of anything else `admit` takes.
        rules: What is asked of it.
        where: Tells where it came from.

    Raises:
        ValueError: It is not one point, but none or several.
    """
    admission = admit(point, rules, where)
    if len(admission.batch) + len(admission.refused) != 1:
        count = len(admission.batch) + len(admission.refused)
        raise ValueError(f"one point can be explained at a time, not {count}")
    if admission.refused:
        return Explanation(None, admission.refused[0])
    batch = admission.batch
    matches = match(table, batch)
    routes = tuple(_explained(table, route, batch, _outcome(route, batch, matches)) for route in table)
    default = None
    if table.default_destination is not None:
        taken = DEFAULT_ROUTE_ID in matches.selections
        default = _explained(table, table.route(DEFAULT_ROUTE_ID), batch, "matched" if taken else "no match")
    notes = [note for noted in admission.notes.values() for note in noted]
    return Explanation(batch[0], None, tuple(notes), routes, default)


def _outcome(route: Route, batch: PointBatch, matches: Matches) -> Outcome:
    if not route.enabled:
        return "disabled"
    if any(failure.route_id == route.route_id for failure in matches.failures):
        return "error"
    return "matched" if route.route_id in matches.selections else "no match"


def _explained(table: RouteTable, route: Route, batch: PointBatch, outcome: Outcome) -> RouteExplanation:
    change, left = _transformed(route, batch) if outcome == "matched" else (None, batch[:0])
    return RouteExplanation(
        route.route_id,
        outcome,
        None if route.route_id == DEFAULT_ROUTE_ID else see(route, batch),
        _kind(route.destination),
        f"destinations.{table.destination_name(route.route_id)}",
        f"deliver.{route.route_id}",
        {name: getattr(route, name) for name in _POLICY} | {"priority": route.priority.name.lower()},
        change,
        _target(route.destination, left),
    )


_POLICY: Final = (
    *("priority", "batch_size", "batch_timeout", "rate_limit", "max_owed", "at_max_owed"),
    *("retry_on_failure", "max_retries", "retry_delay"),
)


# What the transform made of the point, and the point as it would be written, if it would.
def _transformed(route: Route, batch: PointBatch) -> tuple[Change | None, PointBatch]:
    if route.transform is None:
        return None, batch
    name, result = name_of(route.transform), prepare_alone(route, batch)
    if result.failed:
        return Change(name, error=result.failed[0][1]), result.batch
    if not len(result.batch):
        return Change(name, dropped=True), result.batch
    before, after = batch.to_dicts()[0], result.batch.to_dicts()[0]
    changed = {key: (value, after[key]) for key, value in before.items() if value != after[key]}
    return Change(name, changed), result.batch


def _kind(destination: Destination) -> str:
    own = type(destination)
    return own.__name__ if own.__str__ is object.__str__ else str(destination)


def _target(destination: Destination, batch: PointBatch) -> str:
    tell = getattr(destination, "target", None)
    if tell is None or not len(batch):
        return ""
    try:
        return str(tell(batch[0]))
    except Exception as error:  # a destination of a user's own may do anything
        return f"unknown: {said(error)}"


def _refusal(refused: Refused) -> dict[str, Any]:
    return asdict(refused) | {"reasons": [reason._asdict() for reason in refused.reasons]}


def _as_json(value: object) -> str:
    return f"{value.isoformat().removesuffix('+00:00')}Z" if isinstance(value, datetime) else str(value)
