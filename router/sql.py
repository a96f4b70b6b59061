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
import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError, TokenError

from router.errors import ConditionError
from router.names import nearest
from router.schema import COLUMNS, TIMEFRAMES, AssetClass

MAX_CHARACTERS: Final = 4_096
MAX_DEPTH: Final = 32
MAX_NODES: Final = 512

#: Words that begin a statement or a subquery, and the semicolon between two.
_STATEMENT_WORDS: Final = frozenset(
    [
        *(";", "SELECT", "WITH", "FROM", "INSERT", "UPDATE", "DELETE", "MERGE", "DROP", "CREATE", "ALTER"),
        *("TRUNCATE", "COPY", "ATTACH", "PRAGMA", "CALL", "EXEC"),
    ]
)
_QUOTED: Final = (TokenType.STRING, TokenType.IDENTIFIER)
#: Columns that hold one of a few words: a text that is none of them would never match.
_WORDS: Final[dict[str, list[str]]] = {"asset_class": list(AssetClass), "timeframe": list(TIMEFRAMES)}
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


def translate(text: str) -> pl.Expr:
    """Return the Polars expression of a condition in SQL text.

    Texts compared with `timestamp` are ISO dates or times, UTC unless they name a zone. Division and
    remainder by zero are null. A remainder has the sign of the divisor.

    Raises:
        ConditionError: ``condition.syntax``, ``condition.forbidden``, ``condition.unknown_field`` or
            ``condition.type``; types of whole expressions are the caller's to check.
    """
    tree = _parse(text)
    _check_size(tree)
    return _expr(tree)


def _syntax(message: str) -> ConditionError:
    return ConditionError("condition.syntax", "", message)


def _parse(text: str) -> exp.Expr:
    if len(text) > MAX_CHARACTERS:
        raise _syntax(f"{len(text):,} characters are more than {MAX_CHARACTERS:,}")
    if not text.strip():
        raise _syntax("the text is empty")
    try:
        _check_tokens(text)
        return sqlglot.parse_one(text, into=exp.Condition)
    except TokenError as error:
        raise _syntax(f"a quote is not closed in {text!r}") from error
    except ParseError as error:
        found = error.errors[0]
        raise _syntax(f"cannot be read near {found['highlight']!r}, character {found['col']}") from error
    except RecursionError as error:
        raise _syntax("nested too deep") from error


# Before parsing: the parser recurses at every parenthesis, and reads whole statements.
def _check_tokens(text: str) -> None:
    depth = 0
    for token in sqlglot.tokenize(text):
        if token.token_type not in _QUOTED and token.text.upper() in _STATEMENT_WORDS:
            raise ConditionError(
                "condition.forbidden",
                "",
                f"{token.text!r} has no place in a condition, which reads columns of one point",
            )
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth > MAX_DEPTH:
            raise _syntax(f"more than {MAX_DEPTH} open parentheses")


def _check_size(tree: exp.Expr) -> None:
    todo, seen = [(tree, 1)], 0
    while todo:
        node, depth = todo.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            raise _syntax(f"nested deeper than {MAX_DEPTH} or longer than {MAX_NODES} terms")
        # A chain of ANDs is one level, however long.
        todo += [
            (child, depth + (type(child) not in _CHAINS or type(child) is not type(node)))
            for child in node.iter_expressions()
        ]


def _expr(node: exp.Expr) -> pl.Expr:
    rule = _RULES.get(type(node))
    if rule is None:
        raise _refusal(node)
    for name, value in node.args.items():
        if value not in (None, False, []) and name not in rule.args:
            raise _refusal(value if isinstance(value, exp.Query) else node)
    return rule.build(node)


def _refusal(node: exp.Expr) -> ConditionError:
    if isinstance(node, exp.Column):
        return _syntax(
            f"write a column by its name alone, not {node.sql()}; an indicator as technical_indicators['rsi']"
        )
    if isinstance(node, exp.Null):
        return _syntax("nothing is equal to NULL: write IS NULL")
    if isinstance(node, exp.Func):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name().lower()
        return ConditionError(
            "condition.forbidden", "", f"{name} is not declared; functions are abs, coalesce, lower, upper"
        )
    if isinstance(node, exp.Query | exp.SubqueryPredicate):
        return ConditionError(
            "condition.forbidden", "", "a condition has no subqueries: it reads columns of one point"
        )
    return _syntax(f"{node.sql()!r} is not one of the declared operators")


# -- what may be said ---------------------------------------------------------------------------


class _Rule(NamedTuple):
    build: Callable[[Any], pl.Expr]
    args: tuple[str, ...] = ("this", "expression")


def _column(node: exp.Column) -> pl.Expr:
    if node.name not in COLUMNS:
        hint = nearest(node.name, COLUMNS) or (" (text stands in single quotes)" if node.this.quoted else "")
        raise ConditionError("condition.unknown_field", "", f"a point has no field {node.name!r}{hint}")
    return pl.col(node.name)


def _indicator(node: exp.Bracket) -> pl.Expr:
    keys = node.expressions
    if node.this.name != "technical_indicators" or len(keys) != 1 or not _is_text(keys[0]):
        raise _syntax(f"only technical_indicators['name'] takes brackets, not {node.sql()}")
    return _column(node.this).map.get(keys[0].name)


def _value(node: exp.Expr, column: str = "") -> Any:
    node = node.unnest()
    if _is_text(node):
        return _text_for(column, node.name)
    if isinstance(node, exp.Literal):
        number = float(node.name)
        if not math.isfinite(number):
            raise _syntax(f"{node.name} is larger than any number a point can hold")
        return number
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return -_value(node.this)
    raise _syntax(f"a list after IN, and what LIKE compares with, holds literals only, not {node.sql()}")


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string


def _text_for(column: str, text: str) -> str | datetime:
    if column == "timestamp":
        return _stamp(text)
    known = _WORDS.get(column, [text])
    if text not in known:
        raise ConditionError(
            "condition.unknown_value",
            "",
            f"no {column} is {text!r}{nearest(text, known)}; known: {', '.join(known)}",
        )
    return text


def _stamp(text: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text if _STAMP.fullmatch(text) else "")
        return stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConditionError(
            "condition.type", "", f"timestamp is compared with {text!r}, not an ISO date or time"
        ) from None


# The operands of one comparison; a text beside a column is read as that column's values are.
def _operands(*nodes: exp.Expr) -> list[pl.Expr]:
    bare = [node.unnest() for node in nodes]
    if any(isinstance(node, _COMPARISONS) for node in nodes):
        raise _syntax("comparisons do not chain: write close > 1 AND close < 3")
    column = next((node.name for node in bare if isinstance(node, exp.Column)), "")
    return [pl.lit(_value(node, column)) if _is_text(node) else _expr(node) for node in bare]


def _compare(compare: Callable[[Any, Any], Any]) -> _Rule:
    return _Rule(lambda node: compare(*_operands(node.this, node.expression)))


def _arithmetic(compute: Callable[[Any, Any], Any]) -> _Rule:
    return _Rule(lambda node: compute(_expr(node.this), _expr(node.expression)), ("this", "expression"))


def _divide(compute: Callable[[Any, Any], Any]) -> _Rule:
    def build(node: exp.Binary) -> pl.Expr:
        divisor = _expr(node.expression)
        return compute(_expr(node.this), pl.when(divisor != 0).then(divisor))  # type: ignore[no-any-return]

    return _Rule(build)


def _between(node: exp.Between) -> pl.Expr:
    value, low, high = _operands(node.this, node.args["low"], node.args["high"])
    return (value >= low) & (value <= high)


def _in(node: exp.In) -> pl.Expr:
    column = node.this.unnest()
    values = [
        _value(item, column.name if isinstance(column, exp.Column) else "") for item in node.expressions
    ]
    if not values:
        raise _syntax("the list after IN is empty")
    if len({type(value) for value in values}) > 1:
        raise ConditionError("condition.type", "", "the list after IN mixes text and numbers")
    return _expr(column).is_in(values)


def _like(flags: str) -> _Rule:
    def build(node: exp.Binary) -> pl.Expr:
        wild = {"%": ".*", "_": "."}
        pattern = "".join(wild.get(c) or pl.escape_regex(c) for c in str(_value(node.expression)))
        return _expr(node.this).str.contains(f"(?{flags})^(?:{pattern})$")

    return _Rule(build)


def _is(node: exp.Is) -> pl.Expr:
    if isinstance(node.expression, exp.Null):
        return _expr(node.this).is_null()
    return _expr(node.this).eq_missing(pl.lit(_value(node.expression)))


# Pairs of pairs, so that a long chain does not become a deep expression.
def _chain(join: Callable[[Any, Any], Any]) -> _Rule:
    def build(node: exp.Connector) -> pl.Expr:
        terms = [_expr(term) for term in node.flatten()]
        while len(terms) > 1:
            terms = [
                join(*terms[i : i + 2]) if i + 1 < len(terms) else terms[i] for i in range(0, len(terms), 2)
            ]
        return terms[0]

    return _Rule(build)


def _each(nodes: Iterable[exp.Expr]) -> list[pl.Expr]:
    return [_expr(node) for node in nodes]


_CHAINS: Final = (exp.And, exp.Or)
_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)

_RULES: Final[dict[type[exp.Expr], _Rule]] = {
    exp.And: _chain(operator.and_),
    exp.Or: _chain(operator.or_),
    exp.Not: _Rule(lambda node: ~_expr(node.this)),
    exp.Paren: _Rule(lambda node: _expr(node.this)),
    exp.EQ: _compare(operator.eq),
    exp.NEQ: _compare(operator.ne),
    exp.LT: _compare(operator.lt),
    exp.LTE: _compare(operator.le),
    exp.GT: _compare(operator.gt),
    exp.GTE: _compare(operator.ge),
    exp.Add: _arithmetic(operator.add),
    exp.Sub: _arithmetic(operator.sub),
    exp.Mul: _arithmetic(operator.mul),
    exp.Div: _divide(operator.truediv),
    exp.Mod: _divide(operator.mod),
    exp.Neg: _Rule(lambda node: -_expr(node.this)),
    exp.Between: _Rule(_between, ("this", "low", "high")),
    exp.In: _Rule(_in, ("this", "expressions")),
    exp.Like: _like("s"),
    exp.ILike: _like("si"),
    exp.Is: _Rule(_is),
    exp.Boolean: _Rule(lambda node: pl.lit(_value(node))),
    exp.Literal: _Rule(lambda node: pl.lit(_value(node)), ("this", "is_string")),
    exp.Column: _Rule(_column, ("this",)),
    exp.Bracket: _Rule(_indicator, ("this", "expressions")),
    exp.Abs: _Rule(lambda node: _expr(node.this).abs()),
    exp.Lower: _Rule(lambda node: _expr(node.this).str.to_lowercase()),
    exp.Upper: _Rule(lambda node: _expr(node.this).str.to_uppercase()),
    exp.Coalesce: _Rule(
        lambda node: pl.coalesce(_each([node.this, *node.expressions])), ("this", "expressions")
    ),
}
