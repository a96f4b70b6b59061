"""Say why points wait for a review: what their route asks, and what they have; pure functions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from router.batch import PointBatch
from router.conditions import ColumnCondition
from router.hidden import without_hidden
from router.route import DefaultRoute, Route
from router.schema import COLUMNS

#: Longest text of a condition that is repeated for every point.
MOST: Final = 300
#: Numbers by name are no reason: their own columns tell them.
_LONG: Final = "technical_indicators"


class Rule(NamedTuple):
    """Why a route's points wait: its condition in words, if it has any, and the columns it looks at."""

    text: str = ""
    columns: tuple[str, ...] = ("data_quality_score",)


def rule_of(route: Route) -> Rule:
    """Return the rule that a route's condition is; a lambda says nothing in words."""
    if isinstance(route, DefaultRoute):
        return Rule("matches no other route", ())
    text = " ".join(without_hidden(route.compiled.text).split())
    text = text if len(text) <= MOST else f"{text[: MOST - 1]}…"
    if not isinstance(route.compiled, ColumnCondition):
        return Rule("" if "<lambda>" in text else text)
    named = set(route.compiled.expr.meta.root_names()) - {_LONG}
    return Rule(text, tuple(name for name in COLUMNS if name in named))


def reasons(batch: PointBatch, rule: Rule) -> list[str]:
    """Return a reason for each point, such as ``data_quality_score < 0.8 (data_quality_score 0.62)``."""
    if not rule.columns:
        return [rule.text] * len(batch)
    columns = [[f"{name} {_shown(value)}" for value in batch.frame[name]] for name in rule.columns]
    has = map(", ".join, zip(*columns, strict=True))
    return [f"{rule.text} ({values})" if rule.text else values for values in has]


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return value.isoformat() if isinstance(value, datetime) else str(value)
