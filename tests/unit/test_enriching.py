"""Points get indicators of the bars before them, by a transform or by their own method, or a reason."""

from __future__ import annotations

import copy
import functools
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import talib

import router.enriching
from destinations import MemoryDestination
from router import (
    DataRouter,
    Indicators,
    NormalizedDataPoint,
    PointBatch,
    Route,
    TransformError,
    admit,
    explain,
)
from router.indicators import DEFAULT
from router.placing import place
from router.route_tests import RouteTest
from router.run_tests import run_test
from router.series import History, SeriesPolicy, Standing
from router.table import RouteTable
from router.transform_history import transform_history
from tests.make import make_batch, make_point

EQUITIES = Path(__file__).parents[2] / "examples/data/equity_1d.csv"


@pytest.fixture(scope="module")
def aapl() -> PointBatch:
    return admit(pl.read_csv(EQUITIES).filter(pl.col("symbol") == "AAPL")[:900]).batch


def delivered(
    transform: Any, bars: PointBatch, step: int = 50
) -> tuple[list[NormalizedDataPoint], list[Any]]:
    """Return what a route with a transform delivers of bars that come a few at a time, and what failed."""
    kept, errors = MemoryDestination(), []
    routes = [Route(route_id="r", condition="true", destination=kept, transform=transform)]
    router = DataRouter(routes, enable_parallel=False)
    for start in range(0, len(bars), step):
        errors += router.route(bars[start : start + step])["errors"]
    return kept.points, errors


def numbers_of(points: list[NormalizedDataPoint], name: str) -> list[float]:
    return [(point.technical_indicators or {}).get(name, float("nan")) for point in points]


def standing(batch: PointBatch, bars: int = 2000) -> PointBatch:
    policy = SeriesPolicy(bars, max_gap=1 << 40)
    return batch.with_standing(Standing(place(History.empty(), batch.frame, policy)))


# -- as a transform ---------------------------------------------------------------------------


def enrich(point: NormalizedDataPoint) -> NormalizedDataPoint:
    return point.enrich_with_indicators("sma_20", "rsi_14")


class Enricher:
    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, point: NormalizedDataPoint) -> NormalizedDataPoint:
        return point.enrich_with_indicators(*self.names)

    def enrich(self, point: NormalizedDataPoint) -> NormalizedDataPoint:
        return point.enrich_with_indicators(*self.names)


def by_batch(batch: PointBatch) -> PointBatch:
    return batch.enrich_with_indicators("sma_20", "rsi_14")


def some(count: int, point: NormalizedDataPoint) -> NormalizedDataPoint | None:
    return point.enrich_with_indicators("sma_20", "rsi_14") if count else None


@pytest.mark.parametrize(
    "transform",
    [
        Indicators("sma_20", "rsi_14"),
        enrich,
        lambda dp: dp.enrich_with_indicators(),
        lambda dp: dp.enrich_with_indicators("sma_20").enrich_with_indicators("rsi_14"),
        functools.partial(some, 1),
        Enricher("sma_20", "rsi_14"),
        Enricher("sma_20", "rsi_14").enrich,
        NormalizedDataPoint.enrich_with_indicators,
        by_batch,
    ],
)
def test_route_gives_every_point_the_indicators_of_its_series(transform: Any, aapl: PointBatch):
    points, errors = delivered(transform, aapl)
    assert errors == []
    closes = aapl.frame["close"].to_numpy()
    for name, expected in {"sma_20": talib.SMA(closes, 20), "rsi_14": talib.RSI(closes, 14)}.items():
        assert np.allclose(numbers_of(points, name), expected, rtol=1e-6, atol=0, equal_nan=True)
    assert points[10].technical_indicators is None
    assert points[25].technical_indicators.keys() >= {"sma_20", "rsi_14"}


def test_all_ways_give_the_same_bytes(aapl: PointBatch):
    ways = [
        Indicators(),
        lambda dp: dp.enrich_with_indicators(),
        lambda dp: dp.enrich_with_indicators(*DEFAULT),
    ]
    one, *others = (delivered(way, aapl, step)[0] for way, step in zip(ways, (900, 37, 300), strict=True))
    assert all(other == one for other in others)
    assert all(point.technical_indicators.keys() >= {"macd_signal", "bollinger_lower"} for point in one[40:])


def test_new_values_stand_beside_those_that_were_there(aapl: PointBatch):
    frame = aapl.frame[:30].with_columns(
        technical_indicators=pl.Series(
            [{"own": 1.0, "sma_20": -1.0}] * 30, dtype=pl.Map(pl.String(), pl.Float64())
        )
    )
    for transform in (Indicators("sma_20"), lambda dp: dp.enrich_with_indicators("sma_20")):
        points, _ = delivered(transform, PointBatch(frame))
        assert points[5].technical_indicators == {"own": 1.0, "sma_20": -1.0}
        assert points[25].technical_indicators == {
            "own": 1.0,
            "sma_20": pytest.approx(frame["close"][6:26].mean()),
        }


def test_bar_that_comes_too_late_is_told(aapl: PointBatch):
    points, errors = delivered(
        Indicators("sma_3"), PointBatch(pl.concat([aapl.frame[:9], aapl.frame[4:5]])), 5
    )
    assert len(points) == 10
    changed = aapl.frame[4:5].with_columns(high=pl.col("high") + 1)
    points, errors = delivered(Indicators("sma_3"), PointBatch(pl.concat([aapl.frame[:9], changed])), 5)
    assert len(points) == 9
    assert [(error["type"], error["rows"]) for error in errors] == [("late_error", [4])]


def test_batch_outside_a_delivery_is_all_there_was(aapl: PointBatch):
    expected = talib.EMA(aapl.frame["close"].to_numpy(), 12)
    for enriched in (Indicators("ema_12")(aapl), aapl.enrich_with_indicators("ema_12")):
        assert np.allclose(numbers_of(list(enriched), "ema_12"), expected, rtol=1e-6, equal_nan=True)
        assert enriched.parts == aapl.parts
    assert aapl.frame["technical_indicators"].null_count() == len(aapl)


def test_equal_indicators_are_equal_transforms():
    assert Indicators("rsi") == Indicators("rsi_14") != Indicators("rsi_15")
    assert Indicators("rsi") != Indicators("rsi", tolerance=1e-3)
    assert hash(Indicators("rsi")) == hash(Indicators("rsi_14"))
    assert repr(Indicators("rsi", "sma_5")) == "Indicators('rsi_14', 'sma_5', tolerance=1e-06)"
    assert pickle.loads(pickle.dumps(Indicators("rsi"))) == Indicators("rsi")


# -- a point, and where it stands -------------------------------------------------------------


@pytest.mark.parametrize(
    "lone",
    [
        lambda batch: make_point(),
        lambda batch: make_batch(3)[1],
        lambda batch: batch[5].revised(close=batch[5].high),
        lambda batch: batch[5].model_copy(),
        lambda batch: copy.deepcopy(batch[5]),
        lambda batch: pickle.loads(pickle.dumps(batch[5])),
    ],
)
def test_point_alone_says_what_to_do_instead(lone: Any, aapl: PointBatch):
    with pytest.raises(
        TransformError, match=r"a point alone has no bars before it.*transform=Indicators\('sma_20"
    ):
        lone(standing(aapl)).enrich_with_indicators()


def test_where_a_point_stands_is_no_part_of_it(aapl: PointBatch):
    one, other = standing(aapl)[30], aapl[30]
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    assert one.__dict__ == other.__dict__
    assert one.model_dump_json() == other.model_dump_json()
    assert pickle.dumps(one) == pickle.dumps(other)
    assert one.revised(close=one.high) == other.revised(close=other.high)
    assert PointBatch.of([one]) == PointBatch.of([other])


def test_points_of_slices_and_threads_stand_where_their_batch_does(aapl: PointBatch, monkeypatch: Any):
    calls = []
    real = router.enriching.window_values
    monkeypatch.setattr(router.enriching, "window_values", lambda *a: calls.append(a) or real(*a))
    batch = standing(aapl)
    expected = numbers_of(list(batch.enrich_with_indicators("sma_20")), "sma_20")
    with ThreadPoolExecutor(4) as threads:
        points = threads.map(lambda row: batch[row].enrich_with_indicators("sma_20"), range(len(batch)))
    assert np.array_equal(numbers_of(list(points), "sma_20"), expected, equal_nan=True)
    cut = batch.filter(np.arange(len(batch)) % 2 == 1)[100:].for_route("other")
    assert numbers_of([point.enrich_with_indicators("sma_20") for point in cut], "sma_20") == expected[201::2]
    assert len(calls) == 1


def test_windows_kept_for_less_say_so(aapl: PointBatch):
    batch = standing(aapl, bars=100)
    says = r"'ema_200' need 1\d\d\d bars of each series, and 100 are kept.*transform=Indicators\('ema_200'\)"
    for enrich_it in (batch[5].enrich_with_indicators, batch.enrich_with_indicators):
        with pytest.raises(TransformError, match=says):
            enrich_it("ema_200")


# -- whether a transform needs the bars before ------------------------------------------------

NAMES = ("ema_200",)


def helper(point: NormalizedDataPoint) -> NormalizedDataPoint:
    return point.enrich_with_indicators()


def decorated(transform: Any) -> Any:
    @functools.wraps(transform)
    def inner(point: NormalizedDataPoint) -> Any:
        return transform(point)

    return inner


def test_transform_s_need_is_read_off_it():
    default, sma = Indicators().history, Indicators("sma_5").history
    assert transform_history(Indicators("sma_5")) == sma
    assert transform_history(lambda dp: dp.enrich_with_indicators("sma_5")) == sma
    assert transform_history(lambda dp: [p.enrich_with_indicators("sma_5") for p in [dp]]) == sma
    assert transform_history(decorated(lambda dp: dp.enrich_with_indicators("sma_5"))) == sma
    assert (
        transform_history(functools.partial(functools.partial(some, 0), 1))
        == Indicators("sma_20", "rsi").history
    )
    assert transform_history(lambda dp: dp.enrich_with_indicators(*NAMES)) == default
    assert transform_history(lambda dp: getattr(dp, "enrich_with_indicators")()) == default  # noqa: B009
    assert transform_history(Enricher()) == transform_history(Enricher().enrich) == default


@pytest.mark.parametrize(
    "transform", [None, len, str.upper, Enricher, lambda dp: helper(dp), lambda dp: dp, object()]
)
def test_transform_that_does_not_say_so_needs_nothing(transform: Any):
    assert transform_history(transform) is None


def test_helper_that_is_not_seen_is_explained(aapl: PointBatch):
    points, errors = delivered(lambda dp: helper(dp), aapl[:3])
    assert points == []
    assert [error["type"] for error in errors] == ["transform_error"]
    assert "a helper that calls it is not seen" in errors[0]["error"]


RSI = Indicators("rsi_14")


def hidden(batch: PointBatch) -> PointBatch:
    return RSI(batch)


def told(batch: PointBatch) -> PointBatch:
    return RSI(batch)


told.history = RSI.history


def test_part_of_a_stream_is_not_taken_for_all_of_it(aapl: PointBatch):
    points, errors = delivered(hidden, aapl[:60])
    assert points == []
    assert "or give it an attribute, transform.history = Indicators('rsi_14').history" in errors[0]["error"]
    points, errors = delivered(told, aapl[:60])
    assert errors == []
    assert points == list(RSI(aapl[:60]))


def test_what_a_destination_is_given_does_not_hold_on_to_the_windows(aapl: PointBatch):
    points, _ = delivered(Indicators("sma_3"), aapl[:5])
    with pytest.raises(TransformError, match="a point alone"):
        points[4].enrich_with_indicators("sma_3")


def test_names_that_cannot_be_read_off_are_explained(aapl: PointBatch):
    _, errors = delivered(lambda dp: dp.enrich_with_indicators(*NAMES), aapl[:3])
    assert "give the route transform=Indicators('ema_200')" in errors[0]["error"]


def test_names_that_mean_nothing_cost_the_rows_and_say_why(aapl: PointBatch):
    _, errors = delivered(lambda dp: dp.enrich_with_indicators("smma_20"), aapl[:3])
    assert "did you mean 'sma_20'?" in errors[0]["error"]


def test_point_is_explained_and_tested_as_the_first_of_its_series(aapl: PointBatch):
    route = Route(
        route_id="r",
        condition="true",
        destination=MemoryDestination(),
        transform=lambda dp: dp.enrich_with_indicators(),
    )
    table = RouteTable([route])
    assert explain(table, aapl[0].to_json_dict()).routes[0].transform.error == ""
    test = RouteTest(name="t", points={"symbol": "AAPL"}, routes=["r"], payload={"r": {"symbol": "AAPL"}})
    assert run_test(test, table) == []
