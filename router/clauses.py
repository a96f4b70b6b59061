"""A condition taken apart: its clauses, the values they read in one point, and what each said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import polars as pl
from sqlglot import exp

from router.batch import PointBatch
from router.conditions import BROKEN, PointCondition, said
from router.route import Route
from router.sql import translate_tree
from router.sql_tree import parse

Verdict = Literal["true", "false", "null", "error"]

_JOINS: Final[dict[type[exp.Expr], str]] = {exp.And: "and", exp.Or: "or", exp.Not: "not"}
_VERDICTS: Final[dict[bool | None, Verdict]] = {True: "true", False: "false", None: "null"}


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition, or a part of one.

    Attributes:
        node: Its tree.
        join: How its parts are joined: ``and``, ``or``, ``not``; empty: it has none.
        parts: The clauses it is made of.
    """

    node: exp.Expr
    join: str = ""
    parts: tuple[Clause, ...] = ()

    @property
    def text(self) -> str:
        """What it says, in SQL."""
        return text_of(self.node)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a clause said of one point.

    Attributes:
        text: The clause; ``and``, ``or`` or ``not`` where it has parts.
        verdict: ``true``, ``false``, ``null`` (an absent value decides nothing) or ``error``.
        values: What it read, by name: columns, and terms that are computed from them.
        error: What it raised; empty: nothing.
        clauses: What its parts said.
    """

    text: str
    verdict: Verdict
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    clauses: tuple[Seen, ...] = ()


def split(tree: exp.Expr) -> Clause:
    """Take a condition apart at AND, OR and NOT; ``x NOT IN (...)`` stays one clause."""
    node = tree.unnest()
    join = _JOINS.get(type(node), "")
    if not join or (join == "not" and type(node.this.unnest()) not in _JOINS):
        return Clause(node)
    terms = [node.this] if join == "not" else node.flatten()
    return Clause(node, join, tuple(map(split, terms)))


def text_of(node: exp.Expr) -> str:
    """Return a clause in SQL, with NOT where people write it: ``volume IS NOT NULL``."""
    inner = node.this
    if not isinstance(node, exp.Not) or not isinstance(inner, exp.Is | exp.In | exp.Between):
        return node.sql()
    first, whole = inner.this.sql(), inner.sql()
    rest = whole[len(first) + 1 :]
    return f"{first} {rest.replace('IS', 'IS NOT', 1) if isinstance(inner, exp.Is) else f'NOT {rest}'}"


def see(route: Route, batch: PointBatch) -> Seen:
    """Return what each clause of a route's condition said of the one point of a batch.

    Clauses are evaluated as matching evaluates the whole: by the same expressions, on the same columns.
    """
    if isinstance(route.compiled, PointCondition):
        return _called(route.compiled, batch)
    if isinstance(route.condition, str):
        return _see(split(parse(route.condition)), batch)
    verdict, error = _evaluated(route.compiled.expr, batch)
    names = dict.fromkeys(route.compiled.expr.meta.root_names())
    return Seen(route.compiled.text, verdict, _columns(names, batch), error)


def _see(clause: Clause, batch: PointBatch) -> Seen:
    verdict, error = _evaluated(translate_tree(clause.node), batch)
    if clause.parts:
        parts = tuple(_see(part, batch) for part in clause.parts)
        return Seen(clause.join, verdict, error=error, clauses=parts)
    return Seen(clause.text, verdict, _values(clause.node, batch), error)


def _called(condition: PointCondition, batch: PointBatch) -> Seen:
    try:
        return Seen(f"{condition.text}(point)", _VERDICTS[condition.decide(batch[0])])
    except BROKEN as error:
        return Seen(f"{condition.text}(point)", "error", error=said(error))


def _evaluated(expr: pl.Expr, batch: PointBatch) -> tuple[Verdict, str]:
    try:
        return _VERDICTS[_value(expr, batch)], ""
    except BROKEN as error:
        return "error", said(error)


# The timestamp goes along so that an expression without columns has a row as well.
def _value(expr: pl.Expr, batch: PointBatch) -> Any:
    return batch.frame.select("timestamp", value=expr)["value"].item()


def _columns(names: Iterable[str], batch: PointBatch) -> dict[str, Any]:
    point = batch.to_dicts()[0]
    return {name: point[name] for name in names}


# The columns a clause reads, then the sides of it that are computed.
def _values(node: exp.Expr, batch: PointBatch) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for term in node.find_all(exp.Column, exp.Bracket, bfs=False):
        if isinstance(term, exp.Bracket):
            read[term.sql()] = _value(translate_tree(term), batch)
        elif not isinstance(term.parent, exp.Bracket):
            read |= _columns([term.name], batch)
    compared = node.this.unnest() if isinstance(node, exp.Not) else node
    return read | {
        side.sql(): _value(translate_tree(side), batch)
        for side in (term.unnest() for term in compared.iter_expressions())
        if isinstance(side, exp.Binary | exp.Func | exp.Neg) and any(side.find_all(exp.Column))
    }
