"""What is said of conditions for all points holds for any point."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from router.batch import PointBatch
from router.cells import Space, TooManyCellsError
from router.clauses import split
from router.conditions import compile_condition
from router.sql_tree import parse
from router.terms import Formula, formula_of_clause
from tests.make_conditions import conditions, points, simple, tangled

ANY = conditions(st.one_of(simple, tangled))
MANY_POINTS = st.lists(points(), min_size=20, max_size=20)


def formula(text: str) -> Formula:
    return formula_of_clause(split(parse(text)))


def true_of(text: str, batch: PointBatch) -> list[bool]:
    return (
        batch.frame.select("symbol", found=compile_condition(text, "").expr)["found"]
        .fill_null(value=False)
        .to_list()
    )


def space(*formulas: Formula) -> Space:
    try:
        return Space(*formulas)
    except TooManyCellsError:
        assume(condition=False)
        raise


@settings(max_examples=100, deadline=None)
@given(ANY, MANY_POINTS)
def test_condition_that_is_called_impossible_is_true_of_no_point(text, some):
    it = formula(text)
    found = true_of(text, PointBatch.of(some))
    assert space(it).ever(it) or not any(found)
    assert not space(it).always(it) or all(found)


@settings(max_examples=100, deadline=None)
@given(ANY, ANY, MANY_POINTS)
def test_conditions_that_are_called_related_are_so_for_every_point(text, other, some):
    batch = PointBatch.of(some)
    one, two = formula(text), formula(other)
    both = space(one, two)
    pairs = list(zip(true_of(text, batch), true_of(other, batch), strict=True))
    assert not both.implies(one, two) or all(second for first, second in pairs if first)
    assert not both.excludes(one, two) or not any(first and second for first, second in pairs)


def is_exact(clause: str) -> bool:
    """Tell clauses of which cells know everything: not those that look at letters of free text."""
    letters = any(word in clause for word in ("like", "lower", " < ", " >= "))
    return not (letters and clause.lstrip("lower(").startswith(("symbol", "source")))


EXACT = conditions(simple.filter(is_exact))


@settings(max_examples=100, deadline=None)
@given(EXACT)
def test_condition_that_is_called_possible_has_a_point(text):
    it = formula(text)
    cells = space(it)
    example = next(cells.points(it), None)
    assert (example is not None) == cells.ever(it)
    assert example is None or compile_condition(text, "").decide(example)
