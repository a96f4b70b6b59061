"""Tests of routes say what differs, point by point, and open no destination."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from router import NormalizedDataPoint, PointBatch, Route, RouteTable, RouteTest
from router.route_tests import SAMPLE, faults
from router.run_tests import run_test
from tests.make import make_point


class Closed:
    """A destination that must not be touched."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def open(self) -> None:
        """Fail."""
        raise AssertionError("a test opened a destination")

    def write_batch(self, batch: PointBatch) -> None:
        """Fail."""
        raise AssertionError("a test wrote to a destination")

    def close(self) -> None:
        """Do nothing."""


def rounded(point: NormalizedDataPoint) -> NormalizedDataPoint | None:
    """Round the close; drop what has no volume, and fail where it is zero."""
    if point.volume == 0:
        raise ZeroDivisionError("no volume")
    return None if point.volume is None else point.revised(close=round(point.close, 2))


def is_liquid(point: NormalizedDataPoint) -> bool:
    """Compare with the volume, which may not be there."""
    return point.volume > 10


def scaled(frame: pl.DataFrame) -> pl.DataFrame:
    """Divide the prices by three."""
    return frame.with_columns(pl.col("open", "high", "low", "close") / 3)


TABLE = RouteTable(
    [
        Route(route_id="daily", condition="timeframe = '1d'", destination=Closed("files"), transform=rounded),
        Route(route_id="liquid", condition=is_liquid, destination=Closed()),
        Route(route_id="third", condition="close > 1000", destination=Closed(), transform=scaled),
        Route(route_id="off", condition="true", destination=Closed(), enabled=False),
    ],
    Closed("rest"),
)
IDS = ["daily", "liquid", "third", "off", "default"]


NO_COMPARISON = "'>' not supported between instances of 'NoneType' and 'int'"


def differences(points: Any, **expected: Any) -> list[tuple[str, str, str]]:
    """Return what differs for the first point."""
    test = RouteTest(name="a test", points=points, **expected)
    assert list(faults(test, IDS, TABLE.destinations())) == []
    return [tuple(found[1:]) for found in run_test(test, TABLE) if found.point == 0]


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ({}, {"routes": ["liquid", "daily"]}),
        ({"volume": 1}, {"routes": ["daily"], "destinations": {"daily": "files"}}),
        ({"timeframe": "1h", "volume": 1}, {"routes": ["default"], "destinations": {"default": "rest"}}),
        (
            {"close": 12.3456, "high": 13},
            {"routes": ["daily", "liquid"], "payload": {"daily": {"close": 12.35}}},
        ),
        ({"close": 3003}, {"routes": ["daily", "liquid", "third"], "payload": {"third": {"close": 1001}}}),
        ({"close": 1001}, {"routes": IDS[:3], "payload": {"third": {"close": 333.66666666667}}}),
        ({"close": -1}, {"invalid": True}),
        ({"close": -1}, {"invalid": ["number.not_positive"]}),
        ({"close": None, "symbol": ""}, {"invalid": ["required"]}),
        ({"symbol": 600519}, {"invalid": ["type"]}),
        ({"timestamp": "2024-01-01"}, {"invalid": ["timestamp.format"]}),
        (make_point(timeframe="1d"), {"routes": IDS[:3]}),
    ],
    ids=str,
)
def test_test_passes_when_all_is_as_it_says(point, expected):
    assert differences(point, **expected) == []


def test_payload_is_compared_field_by_field_whatever_the_type():
    payload = {
        "timestamp": "2024-01-01T01:00:00+01:00",
        "volume": 1000,
        "asset_class": "equity",
        "is_realtime": False,
        "technical_indicators": {"rsi": 70},
    }
    point = {"technical_indicators": {"rsi": 70.0, "ema": 1.0}}
    assert differences(point, routes=["daily", "liquid"], payload={"daily": payload}) == []


@pytest.mark.parametrize(
    ("point", "expected", "found"),
    [
        ({}, {"routes": ["daily"]}, [("routes", "daily", "daily, liquid")]),
        ({}, {"routes": []}, [("routes", "none", "daily, liquid")]),
        ({}, {"routes": ["default"]}, [("routes", "default", "daily, liquid")]),
        ({}, {"routes": ["daily", "liquid", "off"]}, [("routes", "daily, liquid, off", "daily, liquid")]),
        (
            {"volume": None},
            {"routes": ["daily"]},
            [
                (
                    "liquid",
                    "no error",
                    "TypeError: '>' not supported between instances of 'NoneType' and 'int'",
                ),
                ("dropped", "none", "daily"),
            ],
        ),
        ({"volume": 0}, {"routes": ["daily"]}, [("daily", "no error", "ZeroDivisionError: no volume")]),
        ({"volume": 1}, {"routes": ["daily"], "dropped": ["daily"]}, [("dropped", "daily", "none")]),
        (
            {"volume": 1, "close": 2},
            {"routes": ["daily"], "payload": {"daily": {"close": 2.01, "volume": None, "symbol": "X"}}},
            [
                ("payload.daily.close", "2.01", "2.0"),
                ("payload.daily.volume", "null", "1.0"),
                ("payload.daily.symbol", "X", "TEST"),
            ],
        ),
        (
            {"volume": 1},
            {"routes": ["daily"], "payload": {"liquid": {"close": 2}}},
            [("payload.liquid", "{'close': 2}", "nothing was written")],
        ),
        (
            {"volume": 1},
            {"routes": ["daily"], "destinations": {"daily": "rest", "liquid": "liquid"}},
            [("destinations.daily", "rest", "files"), ("destinations.liquid", "liquid", "nowhere")],
        ),
        ({"volume": 1}, {"invalid": True}, [("invalid", "invalid", "valid, taken by daily")]),
        ({"volume": -1}, {"invalid": ["required"]}, [("invalid", "required", "number.negative")]),
        (
            {"volume": -1},
            {"routes": ["daily"]},
            [
                (
                    "routes",
                    "daily",
                    "invalid: number.negative volume: -1 is below zero: a volume is zero or more",
                )
            ],
        ),
    ],
    ids=str,
)
def test_what_differs_is_said_as_expected_and_got(point, expected, found):
    assert differences(point, **expected) == found


def test_every_point_of_a_test_is_looked_at():
    test = RouteTest(name="all", points=[{}, {"volume": 1}, {"timeframe": "1h"}], routes=["daily", "liquid"])
    assert [(found.point, found.got) for found in run_test(test, TABLE)] == [(1, "daily"), (2, "liquid")]


@pytest.mark.parametrize(
    ("given", "prices"),
    [
        ({}, (100, 100, 100, 100)),
        ({"close": 5}, (5, 5, 5, 5)),
        ({"open": 5}, (5, 5, 5, 5)),
        ({"open": 4, "close": 5}, (4, 5, 4, 5)),
        ({"high": 9}, (9, 9, 9, 9)),
        ({"low": 1, "close": "5"}, (5, 5, 1, "5")),
        ({"low": 1, "high": 9}, (9, 9, 1, 9)),
        ({"close": None}, (100, 100, 100, None)),
        ({"close": "a lot"}, (100, 100, 100, "a lot")),
    ],
)
def test_prices_that_are_left_out_are_near_those_that_are_not(given, prices):
    (point,) = RouteTest(name="a", points=given, routes=[]).each_point()
    assert tuple(point[name] for name in ("open", "high", "low", "close")) == prices
    assert SAMPLE.items() <= point.items()


@pytest.mark.parametrize(
    ("fields", "path", "code", "message"),
    [
        ({"name": 5}, ("name",), "type", "must be text, not 5"),
        ({"points": {"clsoe": 5}}, ("points", "clsoe"), "unknown_field", "did you mean 'close'"),
        ({"points": [{}, {"tmeframe": 5}]}, ("points", 1, "tmeframe"), "unknown_field", "'timeframe'"),
        ({"points": {"symbol": 600519}}, ("points", "symbol"), "type", "600519 is not: put it in quotes"),
        ({"payload": {"daily": {"source": True}}}, ("payload", "daily", "source"), "type", "in quotes"),
        ({"points": []}, ("points",), "type", "must be fields of a point, as a mapping, not []"),
        ({"points": [5]}, ("points", 0), "type", "must be fields of a point, as a mapping, not 5"),
        ({"points": None}, ("points",), "type", "not None"),
        ({"routes": None}, ("routes",), "required", "name the routes that take the points"),
        ({"routes": None, "invalid": False}, ("routes",), "required", "name the routes"),
        ({"routes": "daily"}, ("routes",), "type", "must be a list, not 'daily'"),
        ({"routes": ["dayly"]}, ("routes", 0), "route.unknown", "did you mean 'daily'"),
        ({"routes": [5]}, ("routes", 0), "type", "must be text, not 5"),
        ({"dropped": ["x"]}, ("dropped", 0), "route.unknown", "there is no 'x'"),
        ({"payload": ["daily"]}, ("payload",), "type", "must be a mapping by route_id"),
        ({"payload": {"dayly": {}}}, ("payload", "dayly"), "route.unknown", "did you mean 'daily'"),
        ({"payload": {"daily": {"clos": 1}}}, ("payload", "daily", "clos"), "unknown_field", "'close'"),
        ({"payload": {"daily": 5}}, ("payload", "daily"), "type", "must be fields of a point"),
        ({"destinations": {"daily": "fils"}}, ("destinations", "daily"), "destination.undefined", "'files'"),
        ({"destinations": {"daily": 5}}, ("destinations", "daily"), "type", "must be text"),
        ({"routes": None, "invalid": "required"}, ("invalid",), "type", "must be a list, not 'required'"),
        ({"routes": None, "invalid": [5]}, ("invalid", 0), "type", "must be text, not 5"),
        ({"invalid": True}, ("invalid",), "type", "goes nowhere: leave one of them out"),
    ],
    ids=str,
)
def test_test_that_cannot_be_run_is_refused(fields, path, code, message):
    test = RouteTest(**{"name": "a test", "points": {}, "routes": ["daily"], **fields})
    (fault,) = faults(test, IDS, TABLE.destinations())
    assert (fault.path, fault.code, message in fault.message) == (path, code, True)
