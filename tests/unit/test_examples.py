"""The example routes load, match what they say they do, and say the same in Python and in YAML."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import talib

from destinations import FileDestination, QualityReviewQueue, load_routes, load_routes_file
from destinations.review_records import Filters, State
from router import (
    AssetClass,
    DataRouter,
    NormalizedDataPoint,
    PointBatch,
    Route,
    RouteTable,
    admit,
    match,
)
from router.run_tests import run_test
from tests.make import make_point

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=["", "/somewhere/else"])
def tables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[RouteTable]:
    """Load both example files, without and with a folder for the exports in the environment."""
    monkeypatch.delenv("CANDLEFLEET_EXPORTS", raising=False)
    if request.param:
        monkeypatch.setenv("CANDLEFLEET_EXPORTS", request.param)
    return [load_routes(EXAMPLES / name) for name in ("routes.py", "routes.yaml")]


def described(table: RouteTable) -> dict[str, dict[str, object]]:
    """Return every route without its condition, and with what its destination was made of."""
    found = {}
    for route in table.by_priority():
        given = {
            f.name: getattr(route, f.name) for f in fields(Route) if f.name not in ("condition", "compiled")
        }
        destination = given.pop("destination")
        assert isinstance(destination, FileDestination)
        made_of = (type(destination), destination.path, destination.pattern.text)
        found[route.route_id] = given | {"queue": table.destination_name(route.route_id), "made of": made_of}
    return found


def test_both_files_have_the_same_routes_and_destinations(tables: list[RouteTable]):
    one, other = map(described, tables)
    assert one == other
    assert list(one) == ["large_moves", "csv_daily", "jsonl_index", "default"]


def test_both_files_match_the_same_bars(tables: list[RouteTable]):
    bars = admit(pl.concat([pl.read_csv(path) for path in sorted((EXAMPLES / "data").glob("*.csv"))])).batch
    assert len(bars) == 11_571
    one, other = (match(table, bars) for table in tables)
    assert one.selections == other.selections
    assert set(one.selections) == {"csv_daily", "jsonl_index", "large_moves"}


@pytest.mark.parametrize(
    ("name", "count"),
    [("routes.py", 4), ("routes.yaml", 4), ("conditional_routes.py", 3), ("multi_destination.py", 3)],
)
def test_tests_of_the_examples_pass(name: str, count: int):
    table, tests, _ = load_routes_file(EXAMPLES / name)
    assert len(tests) == count
    assert {where: run_test(test, table) for where, test in tests.items()} == {where: [] for where in tests}


# -- the two routers that users of an earlier one know, with the conditions they had there ------


CONDITIONS: dict[str, dict[str, Callable[[NormalizedDataPoint], bool]]] = {
    "multi_destination.py": {
        "influxdb_all": lambda dp: True,
        "csv_daily": lambda dp: dp.timeframe == "1d",
        "kafka_crypto_realtime": lambda dp: dp.asset_class == AssetClass.CRYPTO and dp.is_realtime == True,  # noqa: E712
        "llm_training": lambda dp: dp.timeframe in ["1h", "4h", "1d"],
    },
    "conditional_routes.py": {
        "analytics_high_quality": lambda dp: dp.data_quality_score >= 0.95,
        "quality_review": lambda dp: dp.data_quality_score < 0.8,
    },
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_known_routers_match_as_they_did(name: str):
    points = [
        make_point(timeframe=timeframe, asset_class=kind, is_realtime=live, data_quality_score=score)
        for timeframe in ("tick", "1m", "1h", "4h", "1d", "1w")
        for kind in ("crypto", "equity")
        for live in (True, False)
        for score in (0, 0.7999999999999999, 0.8, 0.9499999999999999, 0.95, 1)
    ]
    selections = match(load_routes(EXAMPLES / name), PointBatch.of(points)).selections
    expected = {
        route_id: [row for row, point in enumerate(points) if condition(point)]
        for route_id, condition in CONDITIONS[name].items()
    }
    assert {route_id: rows.positions.tolist() for route_id, rows in selections.items()} == expected


def test_known_router_goes_where_it_did(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INFLUXDB_URL", "https://influx.example:8086")
    monkeypatch.setenv("INFLUXDB_TOKEN", "secret-of-the-desk")
    monkeypatch.setenv("KAFKA_BROKERS", "one:9092,two:9092")
    monkeypatch.setenv("CANDLEFLEET_EXPORTS", "/exports")
    table = load_routes(EXAMPLES / "multi_destination.py")
    places = {route.route_id: route.destination.place() for route in table}
    assert places == {
        "influxdb_all": "https://influx.example:8086, bucket ohlcv, measurement ohlcv",
        "csv_daily": "/exports/daily",
        "kafka_crypto_realtime": "Kafka at one:9092, two:9092, topic crypto_ohlcv_realtime",
        "llm_training": "/exports/llm_training",
    }
    assert table.route("csv_daily").destination.pattern.text == "{symbol}_daily_{date}.csv"
    assert "secret-of-the-desk" not in repr(table.route("influxdb_all"))
    limits = [table.route("influxdb_all").batch_size, table.route("kafka_crypto_realtime").batch_size]
    assert [*limits, table.route("kafka_crypto_realtime").batch_timeout] == [100, 10, 1.0]


def test_bars_of_high_quality_are_analysed_with_indicators_and_doubtful_ones_reviewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CANDLEFLEET_EXPORTS", str(tmp_path))
    bars = admit(pl.read_csv(EXAMPLES / "data/index_1d.csv")[:300]).batch
    scores = np.where(np.arange(300) % 10 == 9, 0.5, np.where(np.arange(300) % 10 == 8, 0.9, 0.99))
    bars = bars.with_frame(bars.frame.with_columns(data_quality_score=pl.Series(scores)))
    router = DataRouter(list(load_routes(EXAMPLES / "conditional_routes.py")), enable_parallel=False)
    results = [router.route(bars[start : start + 25]) for start in range(0, 300, 25)]
    assert [error for result in results for error in result["errors"]] == []
    assert sum(result["skipped"] for result in results) == 30

    analysed = pl.read_delta(str(tmp_path / "analytics")).sort("timestamp")
    trusted = bars.frame.filter(pl.col("data_quality_score") == 0.99)
    assert analysed["timestamp"].to_list() == trusted["timestamp"].to_list()
    found = [dict(maps or {}).get("rsi_14", np.nan) for maps in analysed["technical_indicators"].to_list()]
    assert np.allclose(found, talib.RSI(trusted["close"].to_numpy(), 14), rtol=1e-6, atol=0, equal_nan=True)
    table = load_routes(EXAMPLES / "conditional_routes.py")
    queue = table.route("quality_review").destination
    assert isinstance(queue, QualityReviewQueue)
    with closing(queue):
        waiting = queue.reviews.newest(Filters(State.WAITING), 100)
    doubtful = bars.frame.filter(pl.col("data_quality_score") == 0.5)
    assert [one.point["timestamp"] for one in waiting[::-1]] == doubtful["timestamp"].to_list()
    assert {one.reason for one in waiting} == {"data_quality_score < 0.8 (data_quality_score 0.5)"}
