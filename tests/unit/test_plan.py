"""A plan decides for many conditions at once what each decides by itself."""

from __future__ import annotations

import math
import operator
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.batch import PointBatch
from router.conditions import compile_condition
from router.errors import ConditionError
from router.plan import Plan
from router.sql import translate
from router.thresholds import OPPOSITES
from tests.make import make_batch, make_days, make_values

SYMBOLS = ["BTC/USDT", "ETH", "\u00e9", "e\u0301", "x" * 40, "\N{WHITE SMILING FACE}"]
WORDS = [*SYMBOLS, "nowhere", "", "eth"]
NUMBERS = [-1.5, 0.0, 1.0, 2.5, 1e300]
QUOTED = [f"'{word}'" for word in WORDS]


NUMERIC = [
    *("close > {}", "{} <= close", "volume = {}", "volume <> {}", "volume is null", "close - open > {}"),
    *(
        "volume / open < {}",
        "technical_indicators['rsi'] >= {}",
        "coalesce(volume, 0) = {}",
        "close in ({}, 1)",
    ),
    *("close between {} and 2", "volume not between 0 and {}", "is_realtime is not true and low < {}"),
]
TEXTUAL = [
    *(
        "symbol = {}",
        "{} = symbol",
        "symbol <> {}",
        "symbol in ({}, 'ETH')",
        "symbol not in ({})",
        "symbol > {}",
    ),
    *(
        "source = {}",
        "symbol like {}",
        "lower(symbol) = {}",
        "coalesce(symbol, 'a') <> {}",
        "symbol = source",
    ),
]
EXPRS = [
    pl.col("is_realtime"),
    pl.lit(value=True),
    pl.lit(None, dtype=pl.Boolean) & (pl.col("volume") > 1),
    pl.lit(None) | (pl.col("volume") > 1),
    pl.col("symbol").is_in(["ETH", None]),
    ~pl.col("symbol").is_in(["ETH", None]),
    ~pl.col("symbol").is_in([]),
    ~(pl.col("symbol") == pl.lit(None, dtype=pl.String)),
    pl.col("symbol") == pl.Series(["ETH"]),
    pl.col("symbol") == pl.Series(["ETH", "nowhere"]),
    pl.col("symbol").eq_missing("ETH"),
    pl.lit("ETH").is_in(pl.col("symbol").implode()),
    pl.col("close").cast(pl.Int32).and_(1) == 1,
    (pl.col("close") > 1) ^ (pl.col("volume") > 1),
    ~((pl.col("close") > 1) ^ (pl.col("volume") > 1)),
    pl.all_horizontal(pl.col("is_realtime"), pl.col("volume") > 1),
    ((pl.col("volume") > 1) & pl.col("is_realtime")).alias("timestamp"),
    pl.when(pl.col("is_realtime")).then(pl.col("volume") > 1),
    pl.col("technical_indicators").map.get("rsi") == float("nan"),
    pl.col("volume").is_between(0, 2) | ~pl.col("volume").is_between(0, 1),
    pl.col("symbol").map_elements(str.islower, return_dtype=pl.Boolean),
]


VALUES = [
    *(pl.col("volume"), pl.col("low") - pl.col("open"), (pl.col("close") / pl.col("open") - 1).abs()),
    *(pl.col("technical_indicators").map.get("rsi"), pl.col("volume").fill_null(0), pl.lit(1.0)),
    *(
        pl.when(pl.col("is_realtime")).then("volume"),
        pl.col("volume").cast(pl.Float32),
        pl.col("is_realtime"),
    ),
]
ODD = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 2.0**53, 2.0**53 + 2, 1e300]
LITERALS = [*map(pl.lit, [*NUMBERS, *ODD, 0, 1, 2**53 + 1, -(2**62), 2**70, True, None])]
LITERALS += [pl.lit(1.1, dtype=pl.Float32), pl.lit(Decimal("2.5")), pl.lit(pl.Series([2.5]))]
RANDOM = st.floats() | st.integers(-(2**64), 2**64)


def quoted(text: str) -> st.SearchStrategy[pl.Expr]:
    values = QUOTED if text in TEXTUAL else list(map(str, NUMBERS))
    return st.sampled_from(values).map(lambda value: translate(text.format(value)))


TESTS = st.sampled_from([*NUMERIC, *TEXTUAL]).flatmap(quoted) | st.sampled_from(EXPRS)


def usable(expr: pl.Expr) -> bool:
    """Return whether a route may have this condition."""
    try:
        compile_condition(expr, "r")
    except ConditionError:
        return False
    return True


CONDITIONS = st.recursive(
    TESTS,
    lambda inner: (
        inner.map(operator.invert)
        | st.builds(operator.and_, inner, inner)
        | st.builds(operator.or_, inner, inner)
    ),
    max_leaves=8,
).filter(usable)
POINTS = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(SYMBOLS),
        "source": st.sampled_from(WORDS[:3]),
        "open": st.sampled_from(NUMBERS),
        "low": st.sampled_from(NUMBERS),
        "close": st.sampled_from([*NUMBERS, -0.0]),
        "volume": st.sampled_from([*NUMBERS, *ODD, None]) | st.floats(),
        "is_realtime": st.booleans(),
        "technical_indicators": st.sampled_from(
            [None, {}, {"rsi": 1.0}, {"rsi": float("nan")}, {"rsi": None, "macd": 2.5}]
        ),
    }
)


@st.composite
def batches(draw: st.DrawFn) -> PointBatch:
    """Draw batches as they come: from columns or from Arrow, whole, in pieces, or a piece of another."""
    points = draw(st.lists(POINTS, min_size=1, max_size=30))
    batch = make_batch(1)
    batch = PointBatch(
        pl.DataFrame(
            [make_values(row, **point) for row, point in enumerate(points)], schema=batch.frame.schema
        )
    )
    if draw(st.booleans()):
        batch = PointBatch.from_ipc(batch.to_ipc())
    if draw(st.booleans()):
        batch = PointBatch.concat([batch, make_batch(2), batch])
    start = draw(st.integers(0, len(batch) - 1))
    return batch.slice(start, draw(st.integers(start + 1, len(batch))))


def rows_of(frame: pl.DataFrame, expr: pl.Expr) -> int | None:
    """Return the rows for which an expression is true, by itself."""
    try:
        found = frame.select(pl.col("timestamp").alias("beside"), expr.alias("found"))["found"]
    except Exception:
        return None
    return sum(1 << row for row, verdict in enumerate(found.to_list()) if verdict)


def as_alone(exprs: list[pl.Expr], batch: PointBatch) -> list[int | None]:
    """Return what a plan may say of conditions: what each says by itself; None where one of its tests raises.

    Polars may pass over what raises in a whole condition, and matching evaluates that one by itself then.
    """
    return [
        None
        if any(rows_of(batch.frame, test) is None for test in Plan([expr]).tests.values())
        else rows_of(batch.frame, expr)
        for expr in exprs
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=12), batches())
def test_conditions_decide_together_what_each_decides_alone(exprs: list[pl.Expr], batch: PointBatch) -> None:
    assert Plan(exprs).decide(batch) == as_alone(exprs, batch)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(VALUES),
    st.sampled_from([*OPPOSITES]),
    st.lists(st.sampled_from(LITERALS) | RANDOM.map(pl.lit), min_size=4, max_size=12),
    st.lists(CONDITIONS, max_size=3),
    batches(),
)
def test_many_numbers_are_compared_as_polars_compares_each(
    value: pl.Expr, compare: Any, numbers: list[pl.Expr], others: list[pl.Expr], batch: PointBatch
) -> None:
    terms = [made for n in numbers for made in (compare(value, n), ~compare(n, value))]
    exprs = [*terms, *(one & other for one, other in zip(terms, others, strict=False))]
    assert Plan(exprs).decide(batch) == as_alone(exprs, batch)


@pytest.mark.parametrize("compare", OPPOSITES)
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_every_number_is_compared_as_polars_compares_it(value: pl.Expr, compare: Any) -> None:
    volumes = pl.Series("volume", [*NUMBERS, *ODD, None])
    batch = PointBatch(make_days("A" * len(volumes)).frame.with_columns(volumes))
    exprs = [made for n in LITERALS for made in (compare(value, n), ~compare(n, value))]
    assert Plan(exprs).decide(batch) == [rows_of(batch.frame, expr) for expr in exprs]


@pytest.mark.parametrize("compare", OPPOSITES)
def test_every_time_is_compared_as_polars_compares_it(compare: Any) -> None:
    batch = PointBatch.concat([make_days("ABCDEF", is_realtime=True), make_days("AB", is_realtime=False)])
    known = pl.when("is_realtime").then("timestamp")
    times = [*batch.frame["timestamp"], datetime(1, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, 1)]
    exprs = [compare(value, time) for time in times for value in (pl.col("timestamp"), known)]
    for some in (exprs, exprs[:3]):
        assert Plan(some).decide(batch) == [rows_of(batch.frame, expr) for expr in some]


@pytest.mark.parametrize(
    "text", ["volume * 2 {} {}", "{1} {0} close", "not -close {} -{}", "timestamp {} '2024-01-{:02}'"]
)
def test_many_numbers_are_no_tests_of_polars(text: str) -> None:
    plan = Plan([translate(text.format(compare, n)) for compare in ("<", ">=") for n in range(10, 30)])
    assert (len(plan.tests), [*map(len, plan.numbers.values())]) == (0, [20, 20])


@pytest.mark.parametrize(
    "batch",
    [
        make_days(SYMBOLS * 100),
        make_days([*SYMBOLS * 100, *map(str, range(100))]).slice(1, 600),
        PointBatch.concat([make_days(SYMBOLS * 60), make_days(SYMBOLS[::-1] * 60, source="e")]),
        PointBatch(make_days([*SYMBOLS * 99, "1"]).frame),
        make_days(map(str, range(600))),
    ],
    ids=["whole", "a piece", "joined", "columns", "a word a row"],
)
def test_tests_of_a_few_words_decide_what_they_decide_of_rows(batch: PointBatch) -> None:
    texts = [*TEXTUAL, "symbol ilike {}", "source like {}", "symbol like 'e%' and source >= {}"]
    exprs = [translate(text.format(word)) for text in texts for word in QUOTED]
    exprs += [pl.col("symbol").cast(pl.Int64) > 0, *filter(usable, EXPRS)]
    plan = Plan(exprs)
    assert len(plan.patterns["symbol"]) > len(QUOTED)
    assert plan.decide(batch) == [rows_of(batch.frame, expr) for expr in exprs]


def test_value_that_raises_fails_its_own_conditions_alone():
    value = pl.col("symbol").cast(pl.Int64) * 1.0
    exprs = [compared for n in range(5) for compared in (value > n, pl.col("close") > n)]
    assert Plan(exprs).decide(make_days(["1", "A"], close=1.5)) == [None, 0b11] * 2 + [None, 0] * 3


@pytest.mark.parametrize("expr", EXPRS, ids=str)
def test_every_kind_of_expression_decides_what_it_decides_alone(expr: pl.Expr) -> None:
    kinds = [(None, True), (0.5, False), (3.0, True)]
    batch = PointBatch.concat([make_days(SYMBOLS, volume=v, is_realtime=now) for v, now in kinds])
    exprs = [*filter(usable, [expr, ~expr]), *(pl.col("symbol") == word for word in WORDS)]
    assert Plan(exprs).decide(batch) == [rows_of(batch.frame, one) for one in exprs]


@pytest.mark.parametrize(
    ("conditions", "tests", "words"),
    [
        (["close > 1", "close > 1", "close > 1 and close > 1"], 1, 0),
        (["close > 1 and volume > 2", "volume > 2 or not close > 1", "not (volume > 2 and close > 1)"], 4, 0),
        (["symbol = 'A'", "symbol <> 'A'", "symbol in ('A', 'B') and close > 1"], 3, 0),
        ([f"symbol = 'S{n}' and timeframe in ('1h', '1d')" for n in range(100)], 2, 100),
        ([f"symbol not in ('S{n}', 'S{n + 1}')" for n in range(100)], 0, 101),
    ],
)
def test_equal_sub_conditions_are_one_test(conditions: list[str], tests: int, words: int) -> None:
    plan = Plan([translate(condition) for condition in conditions])
    assert (len(plan.tests), sum(map(len, plan.words.values()))) == (tests, words)


def test_test_that_raises_fails_its_own_conditions_alone():
    number = pl.col("symbol").cast(pl.Int64) > 0
    exprs = [number, pl.col("close") > 0, number & (pl.col("close") < 0), pl.col("symbol") == "A"]
    assert Plan(exprs).decide(make_days(["1", "A"])) == [None, 0b11, None, 0b10]


def test_expressions_that_cannot_be_compared_are_not_shared():
    odd = [pl.col("close").map_elements(lambda v, n=n: v > n, return_dtype=pl.Boolean) for n in range(3)]
    assert Plan(odd).decide(make_days(["A"], close=1.5, high=3.0)) == [1, 1, 0]


def test_condition_too_deep_to_be_taken_apart_is_decided_as_it_stands():
    deep = reduce(lambda one, n: ~(one & (pl.col("close") > n)), range(400), pl.col("close") > 1)
    batch = make_days(["A", "B"])
    assert Plan([deep, pl.col("symbol") == "B"]).decide(batch) == [rows_of(batch.frame, deep), 0b10]


def test_long_chain_is_taken_apart():
    chain = reduce(operator.or_, [pl.col("symbol") == f"S{n}" for n in range(600)])
    plan = Plan([chain])
    assert (len(plan.tests), plan.decide(make_days(["S599", "T", "S0"]))) == (0, [0b101])


def test_compiled_conditions_are_planned_in_any_kind():
    kinds = ["close > 1", pl.col("close") > 1.0]
    exprs = [compile_condition(kind, "r").expr for kind in kinds]
    assert Plan(exprs).decide(make_days(["A"])) == [1, 1]
