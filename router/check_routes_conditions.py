"""Find conditions that can never be met, are always met, or compare what does not compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Final

from sqlglot import exp

from router.cells import Space
from router.clauses import Clause
from router.conditions import PointCondition
from router.findings import Finding, Severity
from router.names import nearest
from router.route import Route
from router.schema import NEGATIVE_PRICES, PRICES, TEXTS
from router.terms import CLOSED, NAMES, Formula, Term, formula_of_clause, is_name

_NEVER_ABOUT: Final = {
    "data_quality_score": "a score is from 0 to 1",
    "volume": "a volume is 0 or more, or absent",
    "timestamp": "a bar starts between 1677-09-21 and 2262-04-11",
    "asset_class": f"known are {', '.join(CLOSED['asset_class'])}",
    "timeframe": "no known timeframe meets it",
}
_QUOTED: Final = re.compile(r'"([^"]*)"')
_LETTERS: Final = (exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between)
_MEND: Final = "mend the condition, or take the route away"


def check_condition(route: Route, formula: Formula, space: Space | None) -> Iterator[Finding]:
    """Yield what is to be said of one route's condition; of a callable only that it is one.

    What is found holds for every valid point. Not everything that holds is found: a condition too large to
    look at, or that computes with several columns, is given the benefit of the doubt.
    """
    if isinstance(route.compiled, PointCondition):
        message = f"{formula.text} is called for every point by itself, which costs about 50 times as much"
        yield _finding(route, "info", "condition.python", message, "say it in SQL where that is possible")
        return
    yield from _alphabetical(route, formula)
    if space is None:
        return
    if not space.ever(formula):
        yield _never(route, formula, space)
    elif space.always(formula):
        message = "is true of every valid point: the route takes them all"
        yield _finding(route, "info", "condition.always", message)
    else:
        yield from _dead_clauses(route, formula, space)


def _finding(route: Route, severity: Severity, code: str, message: str, suggestion: str = "") -> Finding:
    return Finding(severity, code, route.route_id, "condition", message, suggestion)


def _never(route: Route, formula: Formula, space: Space) -> Finding:
    why, suggestion = _why(formula, space)
    severity: Severity = "error" if route.enabled else "info"
    why += ", so the route never takes a point"
    return _finding(route, severity, "condition.never", why, suggestion)


# A clause that is never true by itself, or two that are never true together, say more than the whole.
def _why(formula: Formula, space: Space) -> tuple[str, str]:
    if formula.term is not None:
        return _why_term(formula.text, formula.term)
    if formula.join == "and":
        for part in formula.parts:
            if not space.ever(part):
                return _why(part, space)
        for one, other in combinations(formula.parts, 2):
            if space.excludes(one, other):
                return _why_not_both(one, other)
    return f"no valid point meets {formula.text}", _MEND


def _why_term(text: str, term: Term) -> tuple[str, str]:
    if not term.reads:
        return f"{text} is never true", "rest a route by enabled=False"
    why, hint = ("", _meant(_QUOTED.findall(text))) if term.node is None else _reason(term)
    return f"{text} is never true{f' ({why})' if why else ''}", hint or _MEND


def _reason(term: Term) -> tuple[str, str]:
    name, texts = term.reads[0], [literal.name for literal in term.literals() if literal.is_string]
    if isinstance(term.node, exp.Is) and isinstance(term.node.expression, exp.Null):
        return "every point has one", ""
    if isinstance(term.node, exp.Between) and _is_met_if_swapped(term.node):
        return "its bounds are the wrong way round", "swap them"
    if len(term.reads) > 1:
        return ("low <= open, close <= high in a valid point" if name in PRICES else ""), ""
    if name in NAMES:
        odd = [text for text in texts if not is_name(text)]
        folded = "that is not the case it gives" if isinstance(term.node, exp.EQ | exp.In) else ""
        return (f"no {name} is {', '.join(map(repr, odd))}" if odd else folded), ""
    return _NEVER_ABOUT.get(name, ""), _meant(texts)


def _is_met_if_swapped(node: exp.Between) -> bool:
    swapped = node.copy()
    swapped.set("low", node.args["high"].copy())
    swapped.set("high", node.args["low"].copy())
    formula = formula_of_clause(Clause(swapped))
    return Space(formula).ever(formula)


# The first known word that one of some texts was meant to be.
def _meant(texts: Iterable[str]) -> str:
    words = [str(word) for known in CLOSED.values() for word in known]
    return next(filter(None, (nearest(text, words) for text in texts)), "").strip(" ()")


def _why_not_both(one: Formula, other: Formula) -> tuple[str, str]:
    reads = {name for formula in (one, other) for term in formula.terms() for name in term.reads}
    message = f"{one.text} and {other.text} are never true together"
    if "asset_class" in reads and not reads.isdisjoint(PRICES):
        return f"{message} (only prices of {', '.join(sorted(NEGATIVE_PRICES))} may be 0 or less)", _MEND
    return message, "write OR where either may hold, or mend one of them"


def _dead_clauses(route: Route, formula: Formula, space: Space) -> Iterator[Finding]:
    if not space.ever(formula):
        why, suggestion = _why(formula, space)
        why += ": the rest decides alone"
        yield _finding(route, "warning", "condition.dead_clause", why, suggestion)
        return
    for part in formula.parts:
        yield from _dead_clauses(route, part, space)


# Text is compared letter by letter, which puts '1d' before '1h' and '15m' before '1m'.
def _alphabetical(route: Route, formula: Formula) -> Iterator[Finding]:
    for term in formula.terms():
        name = term.reads[0] if len(term.reads) == 1 else ""
        if name in TEXTS and isinstance(term.node, _LETTERS):
            serious, clause = name in CLOSED, term.node.sql()
            hint = f"name them: {name} IN (…)" if serious else ""
            message = f"{clause} compares letter by letter"
            if name == "timeframe":
                message += ", not by length: '1d' comes before '1h'"
            yield _finding(route, "warning" if serious else "info", "condition.alphabetical", message, hint)
