"""SQL text to a Polars expression, through a table of what may be said.

Polars' own `sql_expr` opens files named in the text while it parses. Here every node of the parsed
text is looked up in `_RULES`: what has no rule is refused, so a condition can read a point's columns
and nothing else.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import polars as pl
from sqlglot import exp

from router.errors import ConditionError
from router.names import nearest
from router.schema import COLUMNS, PRICES, TEXTS, TIMEFRAMES, AssetClass
from router.sql_tree import parse, syntax_error

#: Columns that hold one of a few words: a text that is none of them would never match.
_WORDS: Final[dict[str, list[str]]] = {
    "asset_class": [a.value for a in AssetClass],
    "timeframe": list(TIMEFRAMES),
}
_COLUMN_KINDS: Final = {
    "timestamp": "a time",
    **dict.fromkeys((*PRICES, "volume", "data_quality_score"), "a number"),
    **dict.fromkeys(TEXTS, "text"),
    "is_realtime": "true or false",
    "technical_indicators": "numbers by name",
}
_FUNCTIONS: Final = ("abs", "coalesce", "lower", "upper")
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


def translate(text: str) -> pl.Expr:
    """Return the Polars expression of a condition in SQL text.

    Texts compared with `timestamp` are ISO dates or times, UTC unless they name a zone. Division and
    remainder by zero are null. A remainder has the sign of the divisor.

    Raises:
        ConditionError: ``condition.syntax``, ``condition.forbidden``, ``condition.unknown_field`` or
            ``condition.type``; types of whole expressions are the caller's to check.
    """
    return translate_tree(parse(text))


def translate_tree(tree: exp.Expr) -> pl.Expr:
    """Return the Polars expression of a parsed condition, or of any term within one.

    Raises:
        ConditionError: As `translate`.
    """
    return _expr(tree)


def _type_error(message: str) -> ConditionError:
    return ConditionError("condition.type", "", message)


def _expr(node: exp.Expr) -> pl.Expr:
    return _rule(node).build(node)


def _rule(node: exp.Expr) -> _Rule:
    rule = _RULES.get(type(node))
    if rule is None:
        raise _refusal(node)
    for name, value in node.args.items():
        if value not in (None, False, []) and name not in rule.args:
            raise _refusal(node)
    return rule


def _refusal(node: exp.Expr) -> ConditionError:
    if isinstance(node, exp.Column):
        return syntax_error(
            f"write a column by its name alone, not {node.sql()}; an indicator as technical_indicators['rsi']"
        )
    if isinstance(node, exp.Null):
        return syntax_error("nothing is equal to NULL: write IS NULL")
    if isinstance(node, exp.Cast):
        return ConditionError(
            "condition.forbidden", "", "cast is not declared: a time is text, as in timestamp >= '2024-01-01'"
        )
    if isinstance(node, exp.Func):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        return ConditionError(
            "condition.forbidden",
            "",
            f"{name} is not declared{nearest(name, _FUNCTIONS)}; functions are {', '.join(_FUNCTIONS)}",
        )
    if isinstance(node, exp.Query | exp.SubqueryPredicate):
        return ConditionError(
            "condition.forbidden", "", "a condition has no subqueries: it reads columns of one point"
        )
    return syntax_error(f"{node.sql(normalize_functions=False)!r} is not one of the declared operators")


# -- terms ----------------------------------------------------------------------------------------


def _column(node: exp.Column) -> pl.Expr:
    return pl.col(_known(node))


def _known(node: exp.Column) -> str:
    if node.name not in COLUMNS:
        hint = "" if _is_beside_text(node) else nearest(node.name, COLUMNS)
        if not hint and (node.this.quoted or _is_beside_text(node)):
            hint = " (text stands in single quotes)"
        raise ConditionError("condition.unknown_field", "", f"a point has no field {node.name!r}{hint}")
    return node.name


# symbol = AAPL is meant as symbol = 'AAPL'.
def _is_beside_text(node: exp.Column) -> bool:
    sides = [] if node.parent is None else node.parent.iter_expressions()
    return any(isinstance(side, exp.Column) and side.name in TEXTS for side in sides)


def _indicator(node: exp.Bracket) -> pl.Expr:
    keys = node.expressions
    if node.this.name != "technical_indicators" or len(keys) != 1 or not _is_text(keys[0]):
        raise syntax_error(f"only technical_indicators['name'] takes brackets, not {node.sql()}")
    return _column(node.this).map.get(keys[0].name)


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string


# The value of a literal; a text beside a column is read as that column's values are.
def _value(node: exp.Expr, column: str = "") -> Any:
    if _is_text(node):
        return _text_for(column, node.name)
    if isinstance(node, exp.Literal):
        number = float(node.name)
        if not math.isfinite(number):
            raise syntax_error(f"{node.name} is larger than any number a point can hold")
        return number
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return -_value(node.this)
    raise syntax_error(f"only literals can stand in a list after IN, and after LIKE, not {node.sql()}")


def _text_for(column: str, text: str) -> str | datetime:
    if column == "timestamp":
        return stamp(text)
    known = _WORDS.get(column, [text])
    if text not in known:
        message = f"no {column} is {text!r}{nearest(text, known)}; known: {', '.join(known)}"
        raise ConditionError("condition.unknown_value", "", message)
    return text


def stamp(text: str) -> datetime:
    """Return the moment that a text compared with `timestamp` names, UTC unless it names a zone.

    Raises:
        ConditionError: ``condition.type``, if it is no ISO date or time.
    """
    try:
        stamp = datetime.fromisoformat(text if _STAMP.fullmatch(text) else "")
        return stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _type_error(f"timestamp is compared with {text!r}, not an ISO date or time") from None


# -- comparisons: both sides are of one kind --------------------------------------------------------


def _kind(node: exp.Expr) -> str:
    node = node.unnest()
    rule = _rule(node)
    if isinstance(node, exp.Column):
        return _COLUMN_KINDS[_known(node)]
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "a number"
    return rule.kind or _kind(node.this)


# The terms without parentheses, and the column that texts among them are read for.
def _terms(*nodes: exp.Expr) -> tuple[list[exp.Expr], str]:
    if any(isinstance(node, _COMPARISONS) for node in nodes):
        raise syntax_error("comparisons do not chain: write close > 1 AND close < 3")
    terms = [node.unnest() for node in nodes]
    column = next((term.name for term in terms if isinstance(term, exp.Column)), "")
    kinds = ["a time" if column == "timestamp" and _is_text(term) else _kind(term) for term in terms]
    for term, kind in zip(terms, kinds, strict=True):
        if kind != kinds[0] and {kind, kinds[0]} != {"a number", "true or false"}:
            raise _type_error(f"{terms[0].sql()} is {kinds[0]} and {term.sql()} is {kind}")
    return terms, column


def _operands(*nodes: exp.Expr) -> list[pl.Expr]:
    terms, column = _terms(*nodes)
    return [pl.lit(_value(term, column)) if _is_text(term) else _expr(term) for term in terms]


def _between(node: exp.Between) -> pl.Expr:
    value, low, high = _operands(node.this, node.args["low"], node.args["high"])
    return (value >= low) & (value <= high)


def _in(node: exp.In) -> pl.Expr:
    (searched, *items), column = _terms(node.this, *node.expressions)
    if not items:
        raise syntax_error("the list after IN is empty")
    return _expr(searched).is_in([_value(item, column) for item in items])


def _is(node: exp.Is) -> pl.Expr:
    if isinstance(node.expression, exp.Null):
        return _expr(node.this).is_null()
    value, other = _operands(node.this, node.expression)
    return value.eq_missing(other)


# -- what may be said ---------------------------------------------------------------------------


class _Rule(NamedTuple):
    build: Callable[[Any], pl.Expr]
    args: tuple[str, ...] = ("this", "expression")
    kind: str = "true or false"  # what it gives; empty: what its first term is


def _compare(compare: Callable[[Any, Any], Any]) -> _Rule:
    return _Rule(lambda node: compare(*_operands(node.this, node.expression)))


def _arithmetic(compute: Callable[[Any, Any], Any]) -> _Rule:
    return _Rule(lambda node: compute(_expr(node.this), _expr(node.expression)), kind="a number")


def _divide(compute: Callable[[Any, Any], Any]) -> _Rule:
    def build(node: exp.Binary) -> pl.Expr:
        divisor = _expr(node.expression)
        return compute(_expr(node.this), pl.when(divisor != 0).then(divisor))  # type: ignore[no-any-return]

    return _Rule(build, kind="a number")


def _like(flags: str) -> _Rule:
    def build(node: exp.Binary) -> pl.Expr:
        (text, pattern), _ = _terms(node.this, node.expression)
        wild = {"%": ".*", "_": "."}
        regex = "".join(wild.get(c) or pl.escape_regex(c) for c in str(_value(pattern)))
        found = _expr(text).str.contains(f"(?{flags})^(?:{regex})$")
        return ~found if node.args.get("negate") else found

    return _Rule(build, ("this", "expression", "negate"))


# Pairs of pairs, so that a long chain does not become a deep expression.
def _chain(join: Callable[[Any, Any], Any]) -> _Rule:
    def build(node: exp.Connector) -> pl.Expr:
        terms = _each(node.flatten())
        while len(terms) > 1:
            pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
            terms = [join(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return terms[0]

    return _Rule(build)


def _negative(node: exp.Neg) -> pl.Expr:
    if isinstance(node.this, exp.Literal) and not node.this.is_string:
        return pl.lit(_value(node))
    return -_expr(node.this)


# What is wrong with several is said at once, under the code of the first.
def _each(nodes: Iterable[exp.Expr]) -> list[pl.Expr]:
    terms, errors = [], []
    for node in nodes:
        try:
            terms.append(_expr(node))
        except ConditionError as error:
            errors.append(error)
    if errors:
        messages = dict.fromkeys(error.message for error in errors)
        raise ConditionError(errors[0].code, "", "; ".join(messages)) from errors[0].__cause__
    return terms


def _coalesce(node: exp.Coalesce) -> pl.Expr:
    return pl.coalesce(_operands(node.this, *node.expressions))


_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)

_RULES: Final[dict[type[exp.Expr], _Rule]] = {
    exp.And: _chain(operator.and_),
    exp.Or: _chain(operator.or_),
    exp.Not: _Rule(lambda node: ~_expr(node.this)),
    exp.Paren: _Rule(lambda node: _expr(node.this), kind=""),
    exp.EQ: _compare(operator.eq),
    exp.NEQ: _compare(operator.ne),
    exp.LT: _compare(operator.lt),
    exp.LTE: _compare(operator.le),
    exp.GT: _compare(operator.gt),
    exp.GTE: _compare(operator.ge),
    exp.Between: _Rule(_between, ("this", "low", "high")),
    exp.In: _Rule(_in, ("this", "expressions")),
    exp.Like: _like("s"),
    exp.ILike: _like("si"),
    exp.Is: _Rule(_is),
    exp.Add: _arithmetic(operator.add),
    exp.Sub: _arithmetic(operator.sub),
    exp.Mul: _arithmetic(operator.mul),
    exp.Div: _divide(operator.truediv),
    exp.Mod: _divide(operator.mod),
    exp.Neg: _Rule(_negative, kind="a number"),
    exp.Abs: _Rule(lambda node: _expr(node.this).abs(), kind="a number"),
    exp.Lower: _Rule(lambda node: _expr(node.this).str.to_lowercase(), kind="text"),
    exp.Upper: _Rule(lambda node: _expr(node.this).str.to_uppercase(), kind="text"),
    exp.Coalesce: _Rule(_coalesce, ("this", "expressions"), kind=""),
    exp.Boolean: _Rule(lambda node: pl.lit(_value(node))),
    exp.Literal: _Rule(lambda node: pl.lit(_value(node)), ("this", "is_string")),
    exp.Column: _Rule(_column, ("this",)),
    exp.Bracket: _Rule(_indicator, ("this", "expressions"), kind="a number"),
}
