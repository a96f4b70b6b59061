"""A plan: many conditions as few tests, each made once a batch for all the conditions it is part of."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, reduce
from typing import Final

import polars as pl

from router.batch import PointBatch
from router.conditions import BROKEN, ColumnCondition
from router.evaluation import by_number, by_pattern, by_word, made
from router.rows import Bits, bits_of
from router.schema import TEXTS
from router.tables import empty_frame
from router.thresholds import OPPOSITES, Compare, Threshold, threshold_of

#: From so many words, numbers or patterns on that one value is compared with, Polars is not asked for each.
_MANY: Final = 4
_EVERY_ROW: Final = 0
_Join = Callable[[Bits, Bits], Bits]


class Plan:
    """Conditions, taken apart at AND, OR and NOT into tests that differ.

    NOT is moved down to the tests: one that is null holds no more than its opposite does. So the rows for
    which a condition holds are intersections and unions of rows for which tests hold, and nothing else.
    Each set of rows has a place, behind those it is made of.

    Attributes:
        tests: What is evaluated on the columns of a batch, by place.
        words: What is looked for in a column of text, with the places, by column.
        numbers: What a value of each point is compared with, with the places, by value and comparison.
        patterns: Tests of one column of text, by place, by column; they are made once a word.
    """

    def __init__(self, exprs: Sequence[pl.Expr]) -> None:
        """Take Boolean expressions over the columns of a point."""
        self.tests: dict[int, pl.Expr] = {}
        self.words: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self.numbers: dict[tuple[int, Compare], dict[float, int]] = {}
        self.patterns: dict[str, dict[int, pl.Expr]] = {}
        self._values: dict[int, pl.Expr] = {}
        self._places: dict[Hashable, int] = {"every row": _EVERY_ROW}
        self._joins: dict[int, tuple[_Join, tuple[int, ...]]] = {}
        self._results = [self._place_of(expr) for expr in exprs]
        self._keep_many_words()
        self._keep_many_numbers()
        self._gather_patterns()

    def decide(self, batch: PointBatch) -> list[Bits | None]:
        """Return the rows for which each condition holds, in order; None where one of its tests raised."""
        rows: dict[int, Bits | None] = {_EVERY_ROW: (1 << len(batch)) - 1}
        for column, places in self.words.items():
            rows |= by_word(batch, column, places)
        for column, patterns in self.patterns.items():
            rows |= by_pattern(batch, column, patterns)
        tests = {place: test for place, test in self.tests.items() if place not in rows}
        columns = made(batch.frame, tests | self._values)
        for place in tests:
            rows[place] = None if (verdicts := columns[place]) is None else bits_of(verdicts)
        for (value, compare), among in self.numbers.items():
            rows |= by_number(columns[value], compare, among)
        for place, (join, parts) in self._joins.items():
            known = [bits for part in parts if (bits := rows[part]) is not None]
            rows[place] = reduce(join, known) if len(known) == len(parts) else None
        return [rows[place] for place in self._results]

    # Few words are tests like any other.
    def _keep_many_words(self) -> None:
        for column, places in self.words.items():
            for word, place in places.items() if len(places) < _MANY else ():
                self._test(place, pl.col(column) == word)
        self.words = {column: places for column, places in self.words.items() if len(places) >= _MANY}

    # Many numbers are no tests, and only values compared with many are made.
    def _keep_many_numbers(self) -> None:
        self.numbers = {key: places for key, places in self.numbers.items() if len(places) >= _MANY}
        self._values = {value: self._values[value] for value, _ in self.numbers}
        for places in self.numbers.values():
            for place in places.values():
                del self.tests[place]

    def _gather_patterns(self) -> None:
        columns = {place: name for place, test in self.tests.items() if (name := _only_text(test))}
        for column, count in Counter(columns.values()).items():
            if count >= _MANY:
                self.patterns[column] = {p: self.tests[p] for p, name in columns.items() if name == column}

    # What cannot be taken apart, for it is too deep or an AND of numbers, is one test.
    def _place_of(self, expr: pl.Expr) -> int:
        try:
            return self._place(expr.meta.undo_aliases(), holds=True)
        except BROKEN:
            return self._place_of_test(expr)

    # Where the rows stand for which an expression is true; or false, if it is not to hold.
    def _place(self, expr: pl.Expr, *, holds: bool) -> int:
        for combine, join, opposite in _CHAINS:
            if parts := _parts(expr, combine):
                places = {self._place(part, holds=holds) for part in parts}
                return self._joined(join if holds else opposite, sorted(places))
        if (denied := _denied(expr)) is not None:
            return self._place(denied, holds=not holds)
        if (compared := _compared(expr)) is not None:
            return self._place_of_words(*compared, holds=holds)
        if (threshold := threshold_of(expr)) is not None:
            return self._place_of_number(expr, threshold, holds=holds)
        return self._place_of_test(_boolean(expr if holds else ~expr))

    def _place_of_words(self, column: str, words: set[str], *, holds: bool) -> int:
        places = [self._new((column, word)) for word in sorted(words)]
        self.words[column] |= zip(sorted(words), places, strict=True)
        among = self._joined(operator.or_, sorted(places))
        return among if holds else self._joined(operator.xor, [_EVERY_ROW, among])

    def _place_of_number(self, expr: pl.Expr, threshold: Threshold, *, holds: bool) -> int:
        value = self._new(_key(threshold.value))
        compare = threshold.compare if holds else OPPOSITES[threshold.compare]
        place = self._new((value, compare, threshold.number))
        self._values[value] = threshold.value.alias(str(value))
        self.numbers.setdefault((value, compare), {})[threshold.number] = place
        self._test(place, expr if holds else ~expr)
        return place

    def _place_of_test(self, expr: pl.Expr) -> int:
        place = self._new(_key(expr))
        self._test(place, expr)
        return place

    def _test(self, place: int, expr: pl.Expr) -> None:
        self.tests[place] = expr.alias(str(place))

    def _joined(self, join: _Join, places: Sequence[int]) -> int:
        if len(places) == 1:
            return places[0]
        place = self._new((join, *places))
        self._joins[place] = (join, tuple(places))
        return place

    def _new(self, key: Hashable) -> int:
        return self._places.setdefault(key, len(self._places))


@lru_cache(maxsize=16)
def plan_of(conditions: tuple[ColumnCondition, ...]) -> Plan:
    """Return the plan of some conditions, the same one for the same conditions."""
    return Plan([condition.expr for condition in conditions])


# -- how expressions are built, read by building them again -----------------------------------------

_CHAINS: Final = (
    (operator.and_, operator.and_, operator.or_),
    (operator.or_, operator.or_, operator.and_),
)
_EMPTY: Final = empty_frame()


# The terms of a chain of ANDs, or of ORs; none if the expression is no such chain.
def _parts(expr: pl.Expr, combine: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> list[pl.Expr]:
    parts, todo = [], [expr]
    while todo:
        one = todo.pop()
        pair = _inputs(one)
        if len(pair) == 2 and combine(*pair).meta.eq(one):
            todo += pair
        else:
            parts.append(one)
    return parts if len(parts) > 1 else []


def _inputs(expr: pl.Expr) -> list[pl.Expr]:
    return expr.meta.pop()[::-1]


def _boolean(expr: pl.Expr) -> pl.Expr:
    if _EMPTY.select(expr).dtypes != [pl.Boolean()]:
        raise TypeError("AND and OR of numbers join their bits")
    return expr


# What an expression is the opposite of.
def _denied(expr: pl.Expr) -> pl.Expr | None:
    match _inputs(expr):
        case [one] if (~one).meta.eq(expr):
            return one
        case [one, other] if (one != other).meta.eq(expr) and _compared(one == other):
            return one == other
    return None


# The column of text that an expression looks for words in, and the words.
def _compared(expr: pl.Expr) -> tuple[str, set[str]] | None:
    match sorted(_inputs(expr), key=lambda one: one.meta.is_literal()):
        case [column, literal] if _is_text(column) and literal.meta.is_literal():
            values = pl.select(literal).to_series()
            if len(values) != 1 or values.dtype not in (pl.String, pl.List(pl.String)):
                return None
            one_of = values.dtype != pl.String
            forms = [column.is_in(literal)] if one_of else [column == literal, literal == column]
            words = set(values.explode() if one_of else values)
            if None not in words and any(form.meta.eq(expr) for form in forms):
                return column.meta.output_name(), words
    return None


# The column of text that is all an expression reads, row by row.
def _only_text(expr: pl.Expr) -> str | None:
    roots = {*expr.meta.root_names()}
    try:
        by_row = expr.meta.is_row_separable() and expr.meta.is_length_preserving()
    except BROKEN:
        return None
    return roots.pop() if by_row and len(roots) == 1 and roots <= {*TEXTS} else None


def _is_text(expr: pl.Expr) -> bool:
    return expr.meta.is_column() and expr.meta.output_name() in TEXTS


# Equal expressions are one test; what cannot be written down is equal to nothing.
def _key(expr: pl.Expr) -> Hashable:
    try:
        return expr.meta.serialize()
    except BROKEN:
        return object()
