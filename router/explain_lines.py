"""Tell an explanation as lines: words for people, each line with its depth and its tone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from router.clauses import Seen

if TYPE_CHECKING:
    from router.explaining import Change, Explanation, RouteExplanation

_INDENT: Final = "  "
_GAP: Final = "  "  # between a mark and what follows it
_NUMBERS: Final = ("open", "high", "low", "close", "volume")
_ABOUT: Final = ("data_quality_score", "is_realtime")


class Line(NamedTuple):
    """One line of a story.

    Attributes:
        depth: How far it is indented.
        mark: The word it starts with, such as a verdict; empty: none.
        text: What it says.
        tone: How to draw the mark: ``head``, ``good``, ``bad``, ``odd`` or empty.
    """

    depth: int
    mark: str
    text: str
    tone: str = ""

    @property
    def rest(self) -> str:
        """What follows the mark."""
        return f"{_GAP}{self.text}" if self.mark and self.text else self.text

    def __str__(self) -> str:
        return f"{_INDENT * self.depth}{self.mark}{self.rest}"


_TONES: Final = {
    **{"true": "good", "matched": "good", "false": "bad", "no match": "bad"},
    **{"null": "odd", "error": "odd", "disabled": "odd", "refused": "odd"},
}


def lines_of(told: Explanation) -> Iterator[Line]:
    """Yield the story of one point: what it is, then route by route."""
    if told.refused is not None:
        yield from _refused(told)
        return
    yield from _point(told)
    for route in told.routes:
        yield Line(0, "", "")
        yield from _route(route)
    yield Line(0, "", "")
    yield from _default(told)


def word(value: Any) -> str:
    """Return a value as a condition would write it: text in quotes, null, numbers as short as they can be."""
    if isinstance(value, datetime):
        return f"'{value.isoformat().removesuffix('+00:00')}Z'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {word(item)}' for name, item in value.items())}}}"
    return "null" if value is None else str(value).lower()


def _refused(told: Explanation) -> Iterator[Line]:
    assert told.refused is not None
    where = f" ({told.refused.where})" if told.refused.where else ""
    yield Line(0, "refused", f"at the door, for every reason below{where}", "bad")
    for reason in told.refused.reasons:
        yield Line(1, "", str(reason))
    yield Line(1, "", "It becomes a dead letter that keeps the original; no route sees it.")


def _point(told: Explanation) -> Iterator[Line]:
    point = told.point
    assert point is not None
    time = word(point.timestamp).strip("'")
    bar = f"{point.symbol} {point.timeframe} {time}"
    yield Line(0, bar, f"{point.asset_class} from {point.source}", "head")
    for names in (_NUMBERS, _ABOUT):
        yield Line(1, "", _listed((name, getattr(point, name)) for name in names))
    if point.technical_indicators:
        yield Line(1, "", _listed(point.technical_indicators.items()))
    if told.notes:
        yield Line(1, "", f"valid, noted as {' and '.join(told.notes)}")


def _listed(values: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {word(value)}" for name, value in values)


def _route(route: RouteExplanation) -> Iterator[Line]:
    yield Line(0, f"{route.route_id}: {route.outcome}", _OUTCOMES[route.outcome], _TONES[route.outcome])
    if route.condition is not None:
        yield from _clauses(route.condition, 1)
    if route.transform is not None:
        yield Line(1, "transform", _changed(route.transform))
    if route.outcome == "matched":
        yield from _delivery(route)


_OUTCOMES: Final = {
    "matched": "",
    "no match": "",
    "error": "the condition failed: the point becomes a dead letter of this route",
    "disabled": "takes nothing; if it were enabled:",
}


def _clauses(seen: Seen, depth: int) -> Iterator[Line]:
    values = ", ".join(f"{name} is {word(value)}" for name, value in seen.values.items())
    text = f"{seen.text}  ({values})" if values else seen.text
    yield Line(depth, f"{seen.verdict:<5}", text, _TONES[seen.verdict])
    if seen.error and not any(clause.error for clause in seen.clauses):
        yield Line(depth + 1, "", seen.error)
    for clause in seen.clauses:
        yield from _clauses(clause, depth + 1)


def _changed(change: Change) -> str:
    if change.error:
        return f"{change.transform} failed: {change.error}; the point becomes a dead letter of this route"
    if change.dropped:
        return f"{change.transform} drops the point: nothing is written"
    fields = (f"{name} {word(before)} → {word(after)}" for name, (before, after) in change.fields.items())
    return f"{change.transform} changes {', '.join(fields) or 'nothing'}"


def _delivery(route: RouteExplanation) -> Iterator[Line]:
    if route.delivered:
        yield Line(1, "written", f"to {route.target or 'its destination'} ({route.destination})")
    yield Line(1, "by", f"task {route.task} on queue {route.queue}")
    yield Line(1, "policy", _policy(route.policy))


def _policy(policy: Mapping[str, Any]) -> str:
    size, rate, owed = policy["batch_size"], policy["rate_limit"], policy["max_owed"]
    retries = policy["max_retries"] if policy["retry_on_failure"] else 0
    parts = [
        f"{size:,} a write, or after {policy['batch_timeout']:g} s" if size else "whatever waits at once",
        f"priority {policy['priority']}",
        *([f"{rate:,.10g} points/s"] if rate else []),
        *([f"owes at most {owed:,}, then {policy['at_max_owed']}"] if owed else []),
        "1 retry" if retries == 1 else f"{retries} retries",
    ]
    return ", ".join(parts)


def _default(told: Explanation) -> Iterator[Line]:
    default, failed = told.default, any(route.outcome == "error" for route in told.routes)
    if told.matched and (default is None or default.outcome != "matched"):
        yield Line(0, "default", "not asked: a route matched")
    elif failed:
        yield Line(0, "default", "not asked: a condition failed, so nobody knows that no route matches")
    elif default is None:
        yield Line(0, "default", "there is none: the point is counted as unmatched and goes nowhere", "odd")
    else:
        yield Line(0, "default: matched", "no route took the point", "good")
        yield from _delivery(default)
