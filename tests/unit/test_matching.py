"""Matching finds the rows each route takes; what raises costs only itself."""

import numpy as np
import polars as pl
import pytest

from router.matching import Failure, match
from router.route import Route
from router.rows import Rows
from router.table import RouteTable
from tests.make import make_days


class Nowhere:
    name = None

    def open(self): ...
    def write_batch(self, batch): ...
    def close(self): ...


def make_table(*conditions, default=None, disabled=()):
    routes = [
        Route(route_id=f"r{i}", condition=condition, destination=Nowhere(), enabled=i not in disabled)
        for i, condition in enumerate(conditions)
    ]
    return RouteTable(routes, default)


def is_number(point):
    return int(point.symbol) > 0


AS_NUMBER = pl.col("symbol").cast(pl.Int64) > 0


def test_each_route_gets_the_rows_it_matched():
    found = match(
        make_table("symbol = 'A'", pl.col("symbol") != "C", lambda p: p.symbol == "C"), make_days([*"ABAC"])
    )
    assert found.selections == {"r0": Rows([0, 2]), "r1": Rows([0, 1, 2]), "r2": Rows([3])}
    assert (found.routed, len(found.unmatched), len(found.failed_only), found.failures) == (4, 0, 0, [])


def test_route_that_matched_nothing_is_absent():
    found = match(make_table("symbol = 'A'", "symbol = 'Z'"), make_days(["A", "B"]))
    assert list(found.selections) == ["r0"]
    assert (found.routed, found.unmatched) == (1, Rows([1]))


def test_condition_without_columns_takes_every_row():
    found = match(make_table("true", "false", pl.lit(value=True)), make_days(["A", "B"]))
    assert found.selections == {"r0": Rows([0, 1]), "r2": Rows([0, 1])}


def test_disabled_route_matches_nothing_and_its_condition_is_not_asked():
    found = match(make_table(is_number, AS_NUMBER, "true", disabled={0, 1}), make_days(["A"]))
    assert (found.selections, found.failures) == ({"r2": Rows([0])}, [])


def test_rows_without_a_match_go_to_the_default_destination():
    found = match(make_table("symbol = 'A'", default=Nowhere()), make_days([*"ABAC"]))
    assert found.selections == {"r0": Rows([0, 2]), "default": Rows([1, 3])}
    assert (found.routed, found.unmatched) == (2, Rows([1, 3]))


def test_table_without_routes_sends_everything_to_the_default_destination():
    assert match(make_table(default=Nowhere()), make_days(["A", "B"])).selections == {"default": Rows([0, 1])}


def test_empty_batch_matches_nothing():
    found = match(make_table("true", is_number, default=Nowhere()), make_days([]))
    assert (found.selections, found.routed, found.failures) == ({}, 0, [])


@pytest.mark.parametrize("condition", [is_number, AS_NUMBER])
def test_condition_that_raises_fails_for_those_rows_alone(condition):
    found = match(
        make_table(condition, "symbol = '5'", default=Nowhere()), make_days(["5", "x", "0", "7", "y"])
    )
    assert found.selections == {"r0": Rows([0, 3]), "r1": Rows([0]), "default": Rows([2])}
    assert [(failure.route_id, failure.row) for failure in found.failures] == [("r0", 1), ("r0", 4)]
    assert (found.unmatched, found.failed_only, found.routed) == (Rows([2]), Rows([1, 4]), 2)


def test_failure_says_what_was_raised():
    failures = match(make_table(is_number, AS_NUMBER), make_days(["x"])).failures
    assert failures[0].message.startswith("ValueError: invalid literal for int()")
    assert failures[1].message.startswith("InvalidOperationError: conversion from")
    assert "\n" not in failures[1].message


def test_row_that_failed_one_route_and_matched_another_is_routed():
    found = match(make_table(is_number, "true", default=Nowhere()), make_days(["x"]))
    assert (found.routed, len(found.failed_only), list(found.selections)) == (1, 0, ["r1"])


@pytest.mark.parametrize(("verdict", "rows"), [(None, 0), (np.True_, 1), (np.False_, 0), (True, 1)])
def test_verdict_of_a_callable_counts(verdict, rows):
    assert match(make_table(lambda point: verdict), make_days(["A"])).routed == rows


def test_verdict_of_another_kind_is_a_failure():
    failures = match(make_table(lambda point: "yes"), make_days(["A"])).failures
    assert failures == [Failure("r0", 0, "TypeError: condition returned str, not bool")]


def test_null_is_no_match_in_columns():
    found = match(make_table("volume > 1", "not volume > 1", "volume is null"), make_days(["A"], volume=None))
    assert list(found.selections) == ["r2"]
