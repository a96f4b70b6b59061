"""Indicators of rows among the bars before them do not depend on how the rows were cut into batches."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.admission import admit
from router.indicator_values import Columns, Floats, values_of
from router.indicator_windows import STRIDE, history_for, window_values
from router.indicators import Indicator, indicators
from router.placing import place
from router.schema import FRAME_SCHEMA
from router.series import History, SeriesPolicy
from tests.make import MINUTE, START, make_values

EQUITIES = Path(__file__).parents[2] / "examples/data/equity_1d.csv"

WANTED = indicators(("sma_20", "ema_5", "rsi_5", "macd_3_6_4", "atr_5", "bollinger_20_2", "vwap_5"))
TOLERANCE = 1e-3
POLICY = history_for(WANTED, TOLERANCE)


@pytest.fixture(scope="module")
def aapl() -> pl.DataFrame:
    """Give 1200 bars, so that the library begins anew several times."""
    return admit(pl.read_csv(EQUITIES).filter(pl.col("symbol") == "AAPL")[:1200]).batch.frame


def in_pieces(frame: pl.DataFrame, cuts: list[int], policy: SeriesPolicy = POLICY) -> Floats:
    """Return the values of rows that come in batches cut at some rows, each told what was left before."""
    found, history = [], History.empty()
    edges = [0, *sorted(cuts), len(frame)]
    for start, stop in pairwise(edges):
        placed = place(history, frame[start:stop], policy)
        found.append(window_values(placed, WANTED, TOLERANCE))
        history = placed.after()
    return np.vstack(found)


def by_library(frame: pl.DataFrame) -> Floats:
    bars = Columns.of(frame)
    return np.hstack([values_of(one, bars) for one in WANTED])


def make_minutes(closes: list[float], **changes: object) -> pl.DataFrame:
    rows = [
        make_values(0, timestamp=START + n * MINUTE, open=c, high=c, low=c, close=c, **changes)
        for n, c in enumerate(closes)
    ]
    return pl.DataFrame(rows, schema=FRAME_SCHEMA)


def test_values_are_the_library_s_while_the_window_reaches_the_first_bar(aapl: pl.DataFrame):
    exact = POLICY.bars - STRIDE + 1
    found = in_pieces(aapl, [100, 101, 350])
    assert np.array_equal(found[:exact], by_library(aapl)[:exact], equal_nan=True)


def test_values_are_the_library_s_within_the_tolerance(aapl: pl.DataFrame):
    found, expected = in_pieces(aapl, [500]), by_library(aapl)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    sizes = np.maximum(np.abs(expected), 1e-6 * aapl["close"].to_numpy()[:, np.newaxis])
    assert np.nanmax(np.abs(found - expected) / sizes) < TOLERANCE


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 1199), unique=True, max_size=12))
def test_values_do_not_depend_on_the_batches(cuts: list[int]):
    frame = admit(pl.read_csv(EQUITIES).filter(pl.col("symbol") == "AAPL")[:1200]).batch.frame
    assert np.array_equal(in_pieces(frame, cuts), in_pieces(frame, []), equal_nan=True)


@pytest.mark.parametrize("lateness", [0, 3])
def test_values_do_not_depend_on_the_batches_when_bars_are_revised_or_late(aapl: pl.DataFrame, lateness: int):
    rng = np.random.default_rng(3)
    frame = aapl[:400].with_columns(is_realtime=pl.Series(rng.random(400) < 0.5))
    order = np.argsort(np.arange(400) + rng.integers(0, lateness + 1, 400), kind="stable")
    again = np.sort(np.append(np.arange(400), rng.integers(0, 400, 60)))  # a realtime bar comes twice
    rows = frame[order][again].with_columns(
        close=pl.col("close") + pl.Series(np.where(np.diff(again, prepend=-1) == 0, 0.001, 0.0))
    )
    policy = SeriesPolicy(POLICY.bars, lateness * 5 * 86_400_000_000, POLICY.max_gap)
    whole = in_pieces(rows, [], policy)
    assert np.isfinite(whole).any(axis=1).sum() > 300
    for cuts in ([200], [7, 8, 9, 300, 301], list(range(1, len(rows)))):
        assert np.array_equal(in_pieces(rows, cuts, policy), whole, equal_nan=True)


def test_series_that_come_mixed_have_the_values_they_have_alone(aapl: pl.DataFrame):
    other = aapl.with_columns(symbol=pl.lit("ELSE"), close=pl.col("close") * 2, high=pl.col("high") * 2)
    mixed = pl.concat([aapl.with_row_index(), other.with_row_index()]).sort("index", maintain_order=True)
    found = in_pieces(mixed.drop("index"), [333])
    assert np.array_equal(found[0::2], in_pieces(aapl, []), equal_nan=True)
    assert np.array_equal(found[1::2], in_pieces(other, []), equal_nan=True)


def test_row_that_came_too_late_has_no_value():
    rows = make_minutes([float(n) for n in range(1, 40)])
    late = pl.concat([rows, rows[5:6].with_columns(close=pl.lit(9.0), high=pl.lit(9.0))])
    assert np.isnan(in_pieces(late, [])[-1]).all()


def test_window_that_is_shorter_than_its_series_gives_only_values_it_has_the_history_for(aapl: pl.DataFrame):
    few = place(History.empty(), aapl[:300], SeriesPolicy(30, max_gap=POLICY.max_gap)).after()
    found = window_values(place(few, aapl[300:301], POLICY), WANTED, TOLERANCE)[0]
    expected = by_library(aapl)[300]
    names = [name for one in WANTED for name in one.values]
    known = {name for name, value in zip(names, found, strict=True) if not np.isnan(value)}
    enough = {name for one in WANTED for name in one.values if one.warm_up(TOLERANCE) <= 31}
    assert known == enough >= {"sma_20", "vwap_5", "bollinger_upper"}
    assert "rsi_5" not in known
    kept = ~np.isnan(found)
    assert found[kept] == pytest.approx(expected[kept], rel=TOLERANCE)


def test_rsi_has_no_value_when_all_moves_are_too_long_ago():
    rsi = Indicator.of("rsi_5")
    assert rsi.standstill is not None
    moving = [100.0 + (n * 7 % 5) for n in range(400)]
    frame = make_minutes([*moving, *[moving[-1]] * 60])
    placed = place(History.empty(), frame, history_for((rsi,), TOLERANCE))
    known = ~np.isnan(window_values(placed, (rsi,), TOLERANCE)[:, 0])
    assert known[5 : 400 + rsi.standstill].all()
    assert not known[400 + rsi.standstill :].any()


def test_rsi_keeps_its_value_while_the_window_holds_all_of_the_series():
    rsi = Indicator.of("rsi_5")
    frame = make_minutes([100.0, 101.0, 100.5, *[102.0] * 60])
    found = window_values(place(History.empty(), frame, history_for((rsi,), TOLERANCE)), (rsi,), TOLERANCE)
    expected = values_of(rsi, Columns.of(frame))[:, 0]
    assert np.array_equal(found[:, 0], expected, equal_nan=True)


def test_gaps_do_not_break_a_series():
    frame = make_minutes([float(n) for n in range(1, 60)])
    moved = frame.with_columns(timestamp=pl.col("timestamp") + timedelta(days=1))
    both = pl.concat([frame, moved])
    assert np.array_equal(in_pieces(both, [30, 80]), by_library(both), equal_nan=True)
