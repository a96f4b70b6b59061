from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.rows import Rows

ROW_SETS = st.sets(st.integers(0, 300)).map(sorted)


@settings(max_examples=60)
@given(ROW_SETS, st.integers(0, 70_000))
def test_rows_come_back_from_their_encoded_form(positions: list[int], offset: int) -> None:
    rows = Rows([position + offset for position in positions])
    assert Rows.decode(rows.encode()) == rows


@settings(max_examples=60)
@given(ROW_SETS, st.integers(0, 70_000))
def test_rows_given_as_bits_are_the_same_rows(positions: list[int], offset: int) -> None:
    rows = Rows([position + offset for position in positions])
    again = Rows.of_bits(sum(1 << int(position) for position in rows.positions))
    assert (again.bits, len(again), again.encode()) == (rows.bits, len(rows), rows.encode())
    assert again == rows
    assert hash(again) == hash(rows)


@settings(max_examples=60)
@given(ROW_SETS, ROW_SETS)
def test_rows_are_sets(left: list[int], right: list[int]) -> None:
    a, b = Rows(left), Rows(right)
    assert (a | b).positions.tolist() == sorted({*left, *right})
    assert (a - b).positions.tolist() == sorted({*left} - {*right})
    assert a.within(b).tolist() == [position in right for position in left]


@settings(max_examples=60)
@given(ROW_SETS)
def test_ranges_are_maximal_and_cover_the_rows(positions: list[int]) -> None:
    ranges = Rows(positions).ranges().tolist()
    assert [row for start, stop in ranges for row in range(start, stop)] == positions
    assert all(stop < start for (_, stop), (start, _) in pairwise(ranges))


@pytest.mark.parametrize(
    ("positions", "form", "size"),
    [
        (range(10_000), b"a", 5),
        ([], b"a", 5),
        (range(5, 10_000), b"r", 9),
        ([3, 99, 1000], b"p", 8),
        ([3, 99, 100_000], b"p", 14),
        (range(0, 10_000, 2), b"b", 1 + 1250),
    ],
)
def test_rows_are_encoded_in_the_smallest_form(positions: list[int], form: bytes, size: int) -> None:
    encoded = Rows(positions).encode()
    assert (encoded[:1], len(encoded)) == (form, size)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown form"):
        Rows.decode(b"z")


def test_rows_of_a_mask_are_where_it_is_true() -> None:
    assert Rows.of_mask([True, False, True]) == Rows([0, 2])


def test_rows_are_hashable_values_that_show_their_ranges() -> None:
    assert len({Rows([1, 2]), Rows(np.array([1, 2])), Rows([1])}) == 2
    assert repr(Rows([0, 1, 2, 5])) == "Rows(0-2, 5)"
    assert repr(Rows(range(0, 20, 2))) == "Rows(0, 2, 4, 6, …)"


def test_slices_count_rows_not_numbers() -> None:
    assert Rows([4, 7, 9, 12]).slice(1, 3) == Rows([7, 9])
