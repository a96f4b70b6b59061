"""Conditions are checked once, and decide about points."""

import functools
import pickle
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from router.conditions import ColumnCondition, PointCondition, compile_condition, name_of
from router.errors import ConditionError
from router.points import NormalizedDataPoint


def make_point(**changes):
    base = {
        "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
        **{"open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5},
        **{"symbol": "BTC/USDT", "asset_class": "crypto", "timeframe": "1d", "source": "a"},
    }
    return NormalizedDataPoint(**{**base, **changes})


def is_daily(point):
    return point.timeframe == "1d"


class IsDaily:
    def __call__(self, point):
        return is_daily(point)


async def is_slow(point):
    return True


def test_text_and_expression_decide_by_column_and_keep_what_was_written():
    text, expr = compile_condition("close > 1", "r"), compile_condition(pl.col("close") > 1, "r")
    assert isinstance(text, ColumnCondition)
    assert isinstance(expr, ColumnCondition)
    assert (text.text, expr.text) == ("close > 1", str(pl.col("close") > 1))
    assert text.decide(make_point()) is expr.decide(make_point()) is True
    assert text.decide(make_point(low=0.5, close=0.5)) is False


def test_null_is_no_match():
    assert compile_condition("volume > 1", "r").decide(make_point(volume=None)) is False
    assert compile_condition(lambda point: None, "r").decide(make_point()) is False


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (is_daily, "is_daily"),
        (IsDaily(), "IsDaily"),
        (functools.partial(is_daily), "is_daily"),
        (str.isupper, "str.isupper"),
    ],
)
def test_callable_is_shown_by_its_name(function, name):
    assert name_of(function) == name
    condition = compile_condition(function, "r")
    assert isinstance(condition, PointCondition)
    assert condition.text == name


@pytest.mark.parametrize("verdict", [True, np.True_])
def test_callable_decides_by_true_and_false(verdict):
    assert compile_condition(lambda point: verdict, "r").decide(make_point()) is True


@pytest.mark.parametrize("verdict", ["yes", 1, [], 0.0])
def test_callable_that_gives_anything_else_is_an_error(verdict):
    with pytest.raises(TypeError, match=f"condition returned {type(verdict).__name__}, not bool"):
        compile_condition(lambda point: verdict, "r").decide(make_point())


@pytest.mark.parametrize(
    ("condition", "code", "message"),
    [
        ("close", "condition.type", "gives Float64, not true or false"),
        ("tmeframe = '1d'", "condition.unknown_field", "timeframe"),
        ("not close", "condition.type", "not supported"),
        (pl.col("closed") > 1, "condition.unknown_field", "did you mean 'close'"),
        (pl.col("close"), "condition.type", "gives Float64"),
        (pl.col("close") > "abc", "condition.type", "cannot compare string"),
        (pl.col("open", "close") > 1, "condition.type", "gives Boolean, Boolean"),
        (pl.col("close") > pl.col("close").mean(), "condition.not_rowwise", "other rows"),
        (pl.col("close").max() > 1, "condition.not_rowwise", "other rows"),
        (pl.col("close").diff() > 0, "condition.not_rowwise", "other rows"),
        (pl.col("symbol").is_unique(), "condition.not_rowwise", "other rows"),
        (is_slow, "condition.type", "is_slow is a coroutine function"),
        (True, "condition.type", "SQL text, a Polars expression or a callable, not True"),
        (None, "condition.type", "not None"),
    ],
)
def test_condition_is_refused_with_its_code_place_and_reason(condition, code, message):
    with pytest.raises(ConditionError) as refusal:
        compile_condition(condition, "csv.condition")
    assert (refusal.value.code, refusal.value.where) == (code, "csv.condition")
    assert message in refusal.value.message
    assert pickle.loads(pickle.dumps(refusal.value)).args == refusal.value.args


@pytest.mark.parametrize(
    "expr",
    [
        pl.lit(value=True),
        pl.col("symbol").cast(pl.Int64) > 3,
        pl.col("technical_indicators").map.get("rsi") > 3,
    ],
)
def test_expression_over_one_row_is_taken(expr):
    assert compile_condition(expr, "r").text == str(expr)
