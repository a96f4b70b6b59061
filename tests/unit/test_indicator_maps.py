"""Values are put into the column of technical indicators beside those that are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from router.indicator_maps import with_values
from router.schema import FRAME_SCHEMA

NAN = float("nan")
NAMES = ("sma_20", "rsi_14", "µ")


def make_maps(*maps: dict[str, float] | None) -> pl.Series:
    return pl.Series("technical_indicators", maps, dtype=FRAME_SCHEMA["technical_indicators"])


def test_values_are_added_to_those_that_are_there():
    maps = make_maps({"own": 1.0, "sma_20": 2.0}, None, None, {"own": 3.0}, {})
    values = np.array([[5.0, NAN, NAN], [NAN, NAN, NAN], [6.0, 7.0, NAN], [NAN, NAN, NAN], [NAN, NAN, NAN]])
    found = with_values(maps, NAMES, values)
    assert found.to_list() == [
        {"own": 1.0, "sma_20": 5.0},
        None,
        {"sma_20": 6.0, "rsi_14": 7.0},
        {"own": 3.0},
        {},
    ]
    assert found.name == maps.name
    assert found.dtype == maps.dtype


def test_column_without_rows_stays_so():
    found = with_values(make_maps(), NAMES, np.empty((0, 3)))
    assert found.dtype == FRAME_SCHEMA["technical_indicators"]
    assert len(found) == 0


numbers = st.floats(allow_nan=False, allow_infinity=False)
maps_of = st.none() | st.dictionaries(st.sampled_from([*NAMES, "own", "日本"]), numbers)


@given(st.lists(st.tuples(maps_of, st.lists(st.just(NAN) | numbers, min_size=3, max_size=3)), max_size=8))
def test_every_map_is_as_if_updated_by_itself(rows: list[tuple[dict[str, float] | None, list[float]]]):
    values = np.array([values for _, values in rows]).reshape(-1, 3)
    found = with_values(make_maps(*(held for held, _ in rows)), NAMES, values).to_list()
    assert found == [updated(held, values) for held, values in rows]


def updated(held: dict[str, float] | None, values: list[float]) -> dict[str, Any] | None:
    new = {name: value for name, value in zip(NAMES, values, strict=True) if value == value}
    return held if not new else {**(held or {}), **new}
