"""Where rows stand among the bars of their series, beside a model that takes one row at a time."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.placing import place
from router.schema import FRAME_SCHEMA
from router.series import ORDINAL, History, Placed, SeriesPolicy, Standing
from tests.make import MINUTE, START, as_batch, make_values

MINUTE_US = 60_000_000


def make_rows(*bars: tuple[Any, ...]) -> pl.DataFrame:
    """Return bars, each given as minute, close, and perhaps changes of other fields."""
    rows = [
        make_values(0, timestamp=START + bar[0] * MINUTE, close=42_000.5 + bar[1] / 10, **dict(*bar[2:]))
        for bar in bars
    ]
    return pl.DataFrame(rows, schema=FRAME_SCHEMA)


def minutes(frame: pl.DataFrame) -> list[int]:
    return [int((moment - START) / MINUTE) for moment in frame["timestamp"]]


def completed(placed: Placed) -> list[tuple[int, int, float, bool]]:
    """Return (row, minute, close, revised) of whatever was completed."""
    found = placed.completed
    bars = placed.bars[found.bars]
    return list(
        zip(found.rows.tolist(), minutes(bars), bars["close"].to_list(), found.revised.tolist(), strict=True)
    )


def in_order(placed: Placed) -> list[int]:
    return minutes(placed.bars[placed.order])


class Model:
    """One series, its bars in a dictionary by minute."""

    def __init__(self, policy: SeriesPolicy) -> None:
        self.policy = policy
        self.bars: dict[int, dict[str, Any]] = {}
        self.closed: list[int] = []

    def take(self, minute: int, bar: dict[str, Any]) -> tuple[str, list[tuple[int, float, bool]]]:
        lateness = self.policy.allowed_lateness // MINUTE_US
        newest = max(self.bars, default=minute)
        if self.bars.get(minute) == bar:
            return "repeat", []
        if minute < newest - lateness or (self.closed and minute < self.closed[-1]):
            return "late", []
        events = [(minute, bar["close"], True)] if minute in self.closed else []
        self.bars[minute] = bar
        newest = max(self.bars)
        watermark = newest - lateness
        if not lateness and self.bars[newest]["is_realtime"]:
            watermark -= 1
        for waiting in sorted(self.bars):
            if waiting <= watermark and waiting not in self.closed:
                self.closed.append(waiting)
                events.append((waiting, self.bars[waiting]["close"], False))
        return "placed", events


arrivals = st.lists(
    st.tuples(st.sampled_from("AB"), st.integers(0, 12), st.integers(0, 1), st.booleans()), max_size=40
)


@given(arrivals, st.integers(0, 3), st.lists(st.integers(1, 9), max_size=8), st.booleans())
def test_placing_is_that_of_a_model_however_the_rows_are_cut(
    rows: list[tuple[str, int, int, bool]], lateness: int, cuts: list[int], ascending: bool
) -> None:
    rows = sorted(rows, key=lambda row: row[1]) if ascending else rows
    policy = SeriesPolicy(bars=30, allowed_lateness=lateness * MINUTE_US)
    models: dict[str, Model] = defaultdict(lambda: Model(policy))
    expected, late = [], []
    bars = [
        make_values(0, symbol=s, timestamp=START + m * MINUTE, close=42_000.5 + c / 10, is_realtime=live)
        for s, m, c, live in rows
    ]
    for number, ((symbol, minute, _, _), bar) in enumerate(zip(rows, bars, strict=True)):
        verdict, events = models[symbol].take(minute, bar)
        expected += [(number, *event) for event in events]
        late += [number] if verdict == "late" else []

    history, found, found_late, start = History.empty(), [], [], 0
    for size in [*cuts, len(rows)]:
        frame = pl.DataFrame(bars[start : start + size], schema=FRAME_SCHEMA)
        placed = place(history, frame, policy)
        found += [(row + start, *event) for row, *event in completed(placed)]
        found_late += [row + start for row in placed.late]
        history = placed.after()
        start += len(frame)
    assert found == expected
    assert found_late == late
    for symbol, model in models.items():
        window = history.frame.filter(pl.col("symbol") == symbol)
        assert minutes(window) == sorted(model.bars)
        assert int(window[ORDINAL].count()) == len(model.closed)


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.integers(0, 3), st.integers(1, 19))
def test_bars_are_counted_from_the_last_gap(at: list[int], max_gap: int, cut: int) -> None:
    policy = SeriesPolicy(bars=5, max_gap=max_gap)
    bars = make_rows(*((minute, 0) for minute in sorted(at)))
    counts, last = [], None
    for minute in sorted(at):
        goes_on = last is not None and minute - last - 1 <= max_gap
        counts.append(counts[-1] + 1 if goes_on else 0)
        last = minute
    first = place(History.empty(), bars[:cut], policy)
    history = first.after()
    second = place(history, bars[cut:], policy)
    assert len(history.frame) <= policy.bars
    assert first.ordinals.tolist() + second.ordinals.tolist()[len(history.frame) :] == counts


def test_a_bar_behind_the_newest_is_late_and_says_what_would_have_let_it_in() -> None:
    placed = place(History.empty(), make_rows((0, 0), (2, 0), (1, 0), (3, 0)), SeriesPolicy(5))
    assert list(placed.late) == [2]
    assert placed.late[2] == (
        "the bar of 2024-01-01T00:01:00+00:00 came when its series stood at 2024-01-01T00:02:00+00:00: "
        "allowed_lateness of its route is 0 s"
    )
    assert in_order(placed) == [0, 2, 3]


def test_a_late_bar_within_the_allowed_lateness_takes_its_place() -> None:
    placed = place(
        History.empty(), make_rows((0, 0), (2, 0), (1, 0), (3, 0), (4, 0)), SeriesPolicy(5, 2 * MINUTE_US)
    )
    assert not placed.late
    assert in_order(placed) == [0, 1, 2]
    assert [(row, minute) for row, minute, *_ in completed(placed)] == [(1, 0), (3, 1), (4, 2)]


def test_a_bar_that_comes_again_as_it_was_changes_nothing() -> None:
    placed = place(History.empty(), make_rows((0, 0), (1, 0), (0, 0), (1, 0), (2, 0)), SeriesPolicy(5))
    assert not placed.late
    assert [row for row, *_ in completed(placed)] == [0, 1, 4]


def test_a_revision_of_the_newest_bar_replaces_it() -> None:
    placed = place(History.empty(), make_rows((0, 0), (1, 0), (1, 5), (2, 0)), SeriesPolicy(5))
    assert completed(placed) == [
        (0, 0, 42_000.5, False),
        (1, 1, 42_000.5, False),
        (2, 1, 42_001.0, True),
        (3, 2, 42_000.5, False),
    ]
    assert placed.bars[placed.order]["close"].to_list() == [42_000.5, 42_001.0, 42_000.5]


def test_a_live_bar_is_complete_when_another_follows_it() -> None:
    live = {"is_realtime": True}
    rows = make_rows((0, 0, live), (1, 0, live), (1, 1, live), (1, 2), (2, 0, live))
    placed = place(History.empty(), rows, SeriesPolicy(5))
    assert completed(placed) == [(1, 0, 42_000.5, False), (3, 1, 42_000.7, False)]


def test_two_sources_are_two_series() -> None:
    rows = make_rows((1, 0), (0, 0, {"source": "other"}), (2, 0), (1, 0, {"source": "other"}))
    placed = place(History.empty(), rows, SeriesPolicy(5))
    assert not placed.late
    assert sorted(placed.ordinals.tolist()) == [0, 0, 1, 1]


def test_windows_hold_no_more_bars_than_asked_for() -> None:
    history = History.empty()
    for start in range(0, 50, 7):
        rows = make_rows(*((minute, 0) for minute in range(start, start + 7)))
        history = place(history, rows, SeriesPolicy(10)).after()
    assert minutes(history.frame) == list(range(46, 56))


@pytest.mark.parametrize("lateness", [0, 1])
def test_neighbours_end_with_the_row_they_are_given_for(lateness: int) -> None:
    rows = make_rows((0, 0), (1, 0), (2, 0), (2, 1), (3, 0))
    standing = Standing(place(History.empty(), rows, SeriesPolicy(3, lateness * MINUTE_US)))
    seen = {}
    for piece in standing.neighbours():
        for row, at in zip(piece.rows.tolist(), piece.at.tolist(), strict=True):
            assert piece.bars["timestamp"].is_sorted()
            assert piece.bars.row(at)[:5] == rows.row(row)[:5]
            seen[row] = minutes(piece.bars[: at + 1])[-3:]
    assert seen == {0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 2], 4: [1, 2, 3]}


@pytest.mark.parametrize("lateness", [0, 1])
def test_neighbours_say_how_many_bars_came_before_them(lateness: int) -> None:
    policy, history = SeriesPolicy(4, lateness * MINUTE_US, max_gap=1 << 40), History.empty()
    for start in range(0, 40, 5):
        rows = make_rows(*((minute, 0) for minute in range(start, start + 5)))
        placed = place(history, rows, policy)
        for piece in Standing(placed).neighbours():
            assert minutes(piece.bars) == list(range(piece.before, start + 5))
        history = placed.after()


def test_rows_that_follow_each_other_share_their_neighbours_though_others_of_the_series_do_not() -> None:
    rows = make_rows((0, 0), (1, 0), (3, 0), (2, 0), (3, 5), (4, 0), (4, 0), (5, 0), (6, 0))
    standing = Standing(place(History.empty(), rows, SeriesPolicy(9, 3 * MINUTE_US)))
    assert [piece.rows.tolist() for piece in standing.neighbours()] == [[0, 1, 2], [3, 4, 5], [6], [7, 8]]


def test_a_batch_keeps_its_standing_when_it_is_cut_filtered_and_joined() -> None:
    frame = make_rows(*((minute, 0) for minute in range(6)))
    placed = place(History.empty(), frame, SeriesPolicy(5))
    batch = as_batch(frame).with_standing(Standing(placed))
    kept = batch.filter(np.array([True, False, True, True, False, True]))
    chunks = list(kept.chunks(3))
    assert chunks[1].standing is not None
    assert chunks[1].standing.completed().places.tolist() == [5]
    joined = type(batch).concat(chunks)
    assert joined.standing is not None
    assert joined.standing.completed().rows.tolist() == [0, 1, 2, 3]
    assert joined.standing.completed().places.tolist() == [0, 2, 3, 5]
    assert [row for piece in joined[2:].standing.neighbours() for row in piece.rows] == [0, 1]


def test_days_of_23_and_25_hours_miss_nothing() -> None:
    moments = [START + timedelta(hours=h) for h in (0, 24, 49, 72, 120)]
    rows = pl.DataFrame([make_values(0, timestamp=m, timeframe="1d") for m in moments], schema=FRAME_SCHEMA)
    assert place(History.empty(), rows, SeriesPolicy(9)).ordinals.tolist() == [0, 1, 2, 3, 0]
