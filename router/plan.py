"""A plan: many conditions as few tests, each made once a batch for all the conditions it is part of."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache, reduce
from typing import Any, Final

import numpy as np
import polars as pl

from router.batch import PointBatch
from router.conditions import BROKEN, ColumnCondition
from router.rows import Bits
from router.schema import TEXTS
from router.tables import empty_frame

#: A column compared with fewer words is compared with each; with more, its rows are sorted by word.
_WORTH_SORTING: Final = 8
_EVERY_ROW: Final = 0
_Join = Callable[[Bits, Bits], Bits]


class Plan:
    """Conditions, taken apart at AND, OR and NOT into tests that differ.

    NOT is moved down to the tests: one that is null holds no more than its opposite does. So the rows for
    which a condition holds are intersections and unions of rows for which tests hold, and nothing else.
    Each set of rows has a place, after those it is made of.
    """

    def __init__(self, exprs: Sequence[pl.Expr]) -> None:
        """Take Boolean expressions over the columns of a point."""
        self._places: dict[Hashable, int] = {"every row": _EVERY_ROW}
        self._tests: dict[int, pl.Expr] = {}
        self._words: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self._joins: dict[int, tuple[_Join, tuple[int, ...]]] = {}
        self._results = [self._place(expr.meta.undo_aliases(), holds=True) for expr in exprs]
        for column, words in self._words.items():
            if len(words) < _WORTH_SORTING:
                self._tests |= {
                    place: (pl.col(column) == word).alias(str(place)) for word, place in words.items()
                }
                words.clear()

    def decide(self, batch: PointBatch) -> list[Bits | None]:
        """Return the rows for which each condition holds, in order; None where one of its tests raised."""
        rows: list[Bits | None] = [0] * len(self._places)
        rows[_EVERY_ROW] = (1 << len(batch)) - 1
        for column, places in self._words.items():
            for word, bits in _sorted(batch, column, places) if places else ():
                rows[places[word]] = bits
        for place, bits in zip(self._tests, _made(batch.frame, list(self._tests.values())), strict=True):
            rows[place] = bits
        for place, (join, parts) in self._joins.items():
            joined = [rows[part] for part in parts]
            rows[place] = None if None in joined else reduce(join, joined)
        return [rows[place] for place in self._results]

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
        return self._place_of_test(expr if holds else ~expr)

    def _place_of_words(self, column: str, words: set[str], *, holds: bool) -> int:
        known = self._words[column]
        for word in words:
            known.setdefault(word, self._new((column, word)))
        among = self._joined(operator.or_, sorted(known[word] for word in words))
        return among if holds else self._joined(operator.xor, [_EVERY_ROW, among])

    def _place_of_test(self, expr: pl.Expr) -> int:
        place = self._new(_key(expr))
        self._tests.setdefault(place, expr.alias(str(place)))
        return place

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
        if len(pair) == 2 and combine(*pair).meta.eq(one) and _are_boolean(pair):
            todo += pair
        else:
            parts.append(one)
    return parts if len(parts) > 1 else []


def _inputs(expr: pl.Expr) -> list[pl.Expr]:
    return expr.meta.pop()[::-1]


def _are_boolean(exprs: Sequence[pl.Expr]) -> bool:
    return all(_EMPTY.select(expr).dtypes == [pl.Boolean()] for expr in exprs)


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
        case [column, literal] if column.meta.is_column() and literal.meta.is_literal():
            name = column.meta.output_name()
            forms = (column == literal, literal == column, column.is_in(literal))
            if name in TEXTS and any(form.meta.eq(expr) for form in forms):
                words = _words(literal)
                return (name, words) if words else None
    return None


def _words(literal: pl.Expr) -> set[str]:
    values = pl.select(literal).to_series().to_list()
    words = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return set(words) if len(values) == 1 and all(isinstance(word, str) for word in words) else set()


# Equal expressions are one test; what cannot be written down is equal to nothing.
def _key(expr: pl.Expr) -> Hashable:
    try:
        return expr.meta.serialize()
    except BROKEN:
        return object()


# -- making the tests ------------------------------------------------------------------------------


def true_of(frame: pl.DataFrame, *exprs: pl.Expr) -> list[Bits]:
    """Return the rows for which each Boolean expression is true; null is not. Their names differ.

    Raises:
        Exception: Whatever one of them raised; among it Polars' `PanicException`, which is no `Exception`.
    """
    # The first column goes along so that an expression without columns has as many rows as the frame.
    return [_bits(verdicts) for verdicts in frame.select(pl.first().alias(""), *exprs).get_columns()[1:]]


# Halving finds the tests that raise.
def _made(frame: pl.DataFrame, tests: Sequence[pl.Expr]) -> list[Bits | None]:
    try:
        return [*true_of(frame, *tests)]
    except BROKEN:
        if len(tests) == 1:
            return [None]
    half = len(tests) // 2
    return _made(frame, tests[:half]) + _made(frame, tests[half:])


def _bits(verdicts: pl.Series) -> Bits:
    column = verdicts.to_arrow()
    known, true = column.buffers()
    bits = int.from_bytes(true, "little")
    if known is not None:
        bits &= int.from_bytes(known, "little")
    return bits >> column.offset & ((1 << len(column)) - 1)


# The rows of each of these words that is in the column.
def _sorted(batch: PointBatch, name: str, words: Any) -> Iterator[tuple[str, Bits]]:
    column = batch.dictionary(name)
    codes = column.indices.to_numpy()
    for code, word in enumerate(column.dictionary.to_pylist()):
        if word in words:
            packed = np.packbits(codes == code, bitorder="little")
            yield word, int.from_bytes(packed.tobytes(), "little")
