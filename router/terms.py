"""The terms of conditions, and a few values of what they read that speak for all values there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, product
from math import inf, nextafter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from sqlglot import exp

from router.check_names import check_name
from router.check_times import EARLIEST, LATEST
from router.clauses import Clause, split
from router.conditions import BROKEN, PointCondition
from router.errors import PointError
from router.route import Route
from router.schema import FRAME_SCHEMA, NEGATIVE_PRICES, POINT_SCHEMA, PRICES, TIMEFRAMES, AssetClass
from router.sql import stamp, translate_tree
from router.sql_tree import parse

#: What terms say: AND is the least of these, OR the greatest, and NOT what is missing to `TRUE`.
Truth = npt.NDArray[np.int8]
Key = tuple[str, str | bytes]
FALSE, NULL, TRUE = 0, 1, 2
_TRUTHS: Final = {False: FALSE, None: NULL, True: TRUE}
#: In place of a verdict: it may be any, as far as anybody looked.
FREE: Final = -1

#: Columns of few words, and all of them.
CLOSED: Final[dict[str, list[Any]]] = {
    "timeframe": list(TIMEFRAMES),
    "asset_class": [member.value for member in AssetClass],
    "is_realtime": [False, True],
}
NAMES: Final = ("symbol", "source")
#: Least and greatest of what a valid point may hold.
BOUNDS: Final[dict[str, tuple[float, float]]] = {"volume": (0.0, inf), "data_quality_score": (0.0, 1.0)}
#: Which price is never above which other.
ORDERED: Final = (("low", "open"), ("low", "close"), ("low", "high"), ("open", "high"), ("close", "high"))

_INDICATORS: Final = "technical_indicators"
_ANYTHING: Final = ("anything",)
_NULLABLE: Final = ("volume", _INDICATORS)
_SOME_NAMES: Final = ("AAPL", "BTC/USDT", "EURUSD", *(f"N{n}" for n in range(600)))
_ORDERS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
_EQUALITY: Final = (exp.EQ, exp.NEQ, exp.In, exp.Is, exp.Null, exp.Not, exp.Paren, exp.Literal)
_COMPARISON: Final = (*_EQUALITY, *_ORDERS, exp.Between, exp.Boolean)
_OF_NUMBERS: Final = (*_COMPARISON, exp.Neg, exp.Abs, exp.Coalesce)
_FOLDS: Final = {exp.Lower: str.lower, exp.Upper: str.upper}


@dataclass(frozen=True, slots=True)
class Term:
    """A clause without parts.

    Attributes:
        key: Terms of one key are one term.
        expr: How it is evaluated.
        node: Its tree; None: it is a Polars expression.
        reads: The variables it reads, by name: columns, and indicators as ``technical_indicators['rsi']``.
    """

    key: Key
    expr: pl.Expr
    node: exp.Expr | None
    reads: tuple[str, ...]

    def hangs_on(self) -> tuple[str, ...]:
        """Return the variables whose representatives decide it; none: it is constant, or free."""
        closed = all(name in CLOSED for name in self.reads)
        return self.reads if closed or self._is_of_one_variable() else ()

    def verdicts(self, values: Mapping[str, Sequence[Any]]) -> Truth:
        """Return what it says of every combination of the representatives of what it hangs on, or `FREE`."""
        names = self.hangs_on()
        if len(names) != len(self.reads):
            return self._of_two_prices()
        found = _evaluated(self.expr, {name: values[name] for name in names})
        if names and names[0] in NAMES and not self._consists_of(_EQUALITY):
            found[-1] = FALSE if self._never_folds() else FREE  # of names that nobody wrote down
        return found

    def literals(self) -> list[exp.Literal]:
        """Return the texts and numbers written in it; the names of indicators are none."""
        found = [] if self.node is None else self.node.find_all(exp.Literal)
        return [literal for literal in found if not _is_read(literal)]

    def _is_of_one_variable(self) -> bool:
        if self.node is None or len(self.reads) != 1 or self.reads[0] == _INDICATORS:
            return False
        (name,) = self.reads
        return name in NAMES or self._consists_of(_COMPARISON if name == "timestamp" else _OF_NUMBERS)

    def _consists_of(self, kinds: tuple[type[exp.Expr], ...]) -> bool:
        assert self.node is not None
        return all(isinstance(node, kinds) or _is_read(node) for node in self.node.walk())

    # Of two prices side by side it is known which may be the lesser one.
    def _of_two_prices(self) -> Truth:
        sides = [] if self.node is None else [side.unnest() for side in self.node.iter_expressions()]
        bare = len(sides) == 2 and all(isinstance(side, exp.Column) for side in sides)
        order = next((pair for pair in ORDERED if set(pair) == set(self.reads)), None)
        if not bare or order is None or not isinstance(self.node, _ORDERS):
            return np.array(FREE, np.int8)
        less, more = order
        known = {int(said) for (said,) in _evaluated(self.expr, {more: [1.0, 2.0], less: [1.0]})}
        return np.array(known.pop() if len(known) == 1 else FREE, np.int8)

    # LOWER(symbol) = 'BTC' and its like: no text in lower case is equal to one that is not.
    def _never_folds(self) -> bool:
        if not isinstance(self.node, exp.EQ | exp.In):
            return False
        folds = [fold for kind, fold in _FOLDS.items() if isinstance(self.node.this, kind)]
        ascii_only = all(literal.name.isascii() for literal in self.literals())
        return bool(folds) and ascii_only and all(folds[0](one.name) != one.name for one in self.literals())


@dataclass(frozen=True, slots=True)
class Formula:
    """A condition, or a part of one, as what it is made of.

    Attributes:
        text: What it says.
        join: How its parts are joined: ``and``, ``or``, ``not``; empty: it is a term.
        parts: What it is made of.
        term: The term that it is; None: it has parts.
        negated: It is true where the term is false.
    """

    text: str
    join: str = ""
    parts: tuple[Formula, ...] = ()
    term: Term | None = None
    negated: bool = False

    def terms(self) -> Iterator[Term]:
        """Yield the terms within it, from left to right."""
        if self.term is not None:
            yield self.term
        for part in self.parts:
            yield from part.terms()


def formula_of(route: Route) -> Formula:
    """Return the condition of a route; a callable is a term of which nothing is known."""
    text = route.compiled.text
    if isinstance(route.condition, str):
        return formula_of_clause(split(parse(route.condition)))
    if isinstance(route.compiled, PointCondition):
        unknown = Term(("python", f"{id(route.compiled.function)}"), pl.lit(None), None, _ANYTHING)
        return Formula(text, term=unknown)
    expr = route.compiled.expr
    constant = () if expr.meta.is_literal() else _ANYTHING
    reads = tuple(sorted(set(expr.meta.root_names()))) or constant
    return Formula(text, term=Term(("polars", _bytes_of(expr)), expr, None, reads))


def formula_of_clause(clause: Clause) -> Formula:
    """Return a condition in SQL, or a part of one, with its terms."""
    if clause.parts:
        return Formula(clause.text, clause.join, tuple(map(formula_of_clause, clause.parts)))
    negated = isinstance(clause.node, exp.Not)
    node = clause.node.this.unnest() if negated else clause.node
    term = Term(("sql", node.sql()), translate_tree(node), node, _reads(node))
    return Formula(clause.text, term=term, negated=negated)


def representatives(terms: Iterable[Term]) -> dict[str, list[Any]]:
    """Return, for each variable that terms hang on, values of which one speaks for any that a point may hold.

    Of numbers and times these are the constants it is compared with and one of every gap between two; all
    prices share them. Of names, the texts written down and then one that is not.
    """
    by_name: dict[str, list[Term]] = {}
    for term in terms:
        for name in term.hangs_on():
            by_name.setdefault(name, []).append(term)
    prices = _numbers([term for name in PRICES for term in by_name.get(name, ())], -inf, inf)
    return {
        name: prices if name in PRICES else _representatives(name, found)
        for name, found in sorted(by_name.items())
    }


def _representatives(name: str, terms: Sequence[Term]) -> list[Any]:
    if name in CLOSED:
        return _words(name, terms)
    if name in NAMES:
        return _names(terms)
    if name == "timestamp":
        return _times(terms)
    nullable = name.startswith(_NULLABLE)
    return [*_numbers(terms, *BOUNDS.get(name, (-inf, inf))), *([None] if nullable else [])]


# Words of which all terms say the same are one; all of them stay where a term reads two columns.
def _words(name: str, terms: Sequence[Term]) -> list[Any]:
    everything = CLOSED[name]
    if any(len(term.reads) > 1 for term in terms):
        return everything
    said = [_evaluated(term.expr, {name: everything}) for term in terms]
    negative = [name == "asset_class" and word in NEGATIVE_PRICES for word in everything]
    kinds: dict[tuple[Any, ...], Any] = {}
    for word, *kind in zip(everything, negative, *said, strict=True):
        kinds.setdefault(tuple(kind), word)
    return list(kinds.values())


def _names(terms: Sequence[Term]) -> list[str]:
    plain = [term for term in terms if not isinstance(term.node, exp.Like | exp.ILike)]
    written = [literal.name for term in plain for literal in term.literals()]
    valid = [name for name in dict.fromkeys(written) if is_name(name)]
    return [*valid, next(name for name in _SOME_NAMES if name not in valid)]


def is_name(text: str) -> bool:
    """Return whether a symbol or a source may be this text."""
    try:
        return check_name(text, "symbol") == text
    except PointError:
        return False


def _times(terms: Sequence[Term]) -> list[datetime]:
    written = {stamp(literal.name) for term in terms for literal in term.literals()}
    known = sorted({EARLIEST, LATEST, *(time for time in written if EARLIEST <= time <= LATEST)})
    gaps = [low + (high - low) / 2 for low, high in pairwise(known) if high - low > timedelta(microseconds=1)]
    return sorted([*known, *gaps])


def _numbers(terms: Sequence[Term], least: float, greatest: float) -> list[float]:
    written = [float(literal.name) for term in terms for literal in term.literals()]
    signed = {0.0, 1.0, least, greatest, *written, *(-number for number in written)}
    known = sorted(number for number in signed if least <= number <= greatest)
    gaps = [_between(low, high) for low, high in pairwise(known)]
    return sorted(number for number in {*known, *gaps} if abs(number) < inf)


# A number in a gap; one of its ends if it holds none.
def _between(low: float, high: float) -> float:
    middle = high - 1 if low == -inf else low + 1 if high == inf else low + (high - low) / 2
    return middle if low < middle < high else min(nextafter(low, inf), high)


# Two functions of a user's own look alike as text.
def _bytes_of(expr: pl.Expr) -> bytes:
    try:
        return expr.meta.serialize()
    except BROKEN:
        return f"{id(expr)}".encode()


def _reads(node: exp.Expr) -> tuple[str, ...]:
    found = {
        term.sql() if isinstance(term, exp.Bracket) else term.name
        for term in node.find_all(exp.Column, exp.Bracket)
        if not isinstance(term.parent, exp.Bracket)
    }
    return tuple(sorted(found))


# A column, an indicator, and what these are spelled with.
def _is_read(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column | exp.Identifier | exp.Bracket) or isinstance(node.parent, exp.Bracket)


def _evaluated(expr: pl.Expr, values: Mapping[str, Sequence[Any]]) -> Truth:
    shape = [len(cells) for cells in values.values()]
    rows = zip(*product(*values.values()), strict=True)
    columns = [_column(name, list(cells)) for name, cells in zip(values, rows, strict=False)]
    frame = pl.DataFrame([pl.Series("row", range(int(np.prod(shape)))), *columns])
    try:
        said = frame.select("row", said=expr)["said"]
    except BROKEN:
        return np.full(shape, FREE, np.int8)
    return np.array([_TRUTHS[verdict] for verdict in said.to_list()], np.int8).reshape(shape)


def indicator(name: str) -> str | None:
    """Return the name of the indicator that a variable is; None: it is a column."""
    if not name.startswith(f"{_INDICATORS}["):
        return None
    return name[len(_INDICATORS) + 2 : -2].replace("''", "'")


def _column(name: str, cells: list[Any]) -> pl.Series:
    key = indicator(name)
    if key is None:
        return pl.Series(name, cells, FRAME_SCHEMA[name])
    pairs = [None if cell is None else [(key, cell)] for cell in cells]
    array = pa.array(pairs, POINT_SCHEMA.field(_INDICATORS).type)
    return pl.Series(_INDICATORS, pl.from_arrow(array))
