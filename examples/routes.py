"""The example routes: what `make demo` and `make up` run. Copy this file and make it yours.

A condition is SQL over the columns of a point (fast), a Polars expression, or any Python function of
a point (slow, and as flexible as Python).
"""

import os
from pathlib import Path

from destinations import CSVDestination, JSONLinesDestination
from router import NormalizedDataPoint, Route, RoutePriority, RouteTest

EXPORTS = Path(os.environ.get("CANDLEFLEET_EXPORTS", "exports"))


def is_large_move(point: NormalizedDataPoint) -> bool:
    """Tell a day that closed more than 10 % away from its open."""
    return abs(point.close / point.open - 1) > 0.10


routes = [
    Route(
        route_id="csv_daily",
        name="Daily CSV export",
        condition="timeframe = '1d'",
        destination=CSVDestination(str(EXPORTS / "daily"), filename_pattern="{symbol}_daily.csv"),
    ),
    Route(
        route_id="jsonl_index",
        name="Indices as JSON lines",
        condition="asset_class = 'index'",
        destination=JSONLinesDestination(
            str(EXPORTS / "index"), filename_pattern="{symbol}_{timeframe}.jsonl"
        ),
    ),
    Route(
        route_id="large_moves",
        name="Days that moved more than 10 %",
        condition=is_large_move,
        destination=CSVDestination(str(EXPORTS / "large-moves"), filename_pattern="{asset_class}.csv"),
        priority=RoutePriority.HIGH,
    ),
]
default_destination = JSONLinesDestination(
    str(EXPORTS / "unmatched"), filename_pattern="{symbol}_{timeframe}.jsonl"
)

# Run by `candlefleet routes test examples/routes.py`; what a point leaves out is filled in.
tests = [
    RouteTest(
        name="a day that moves more than 10 % is in both files",
        points=[{"symbol": "AAPL", "open": 100, "close": 111}, {"symbol": "AAPL", "open": 100, "close": 89}],
        routes=["csv_daily", "large_moves"],
        payload={"large_moves": {"symbol": "AAPL", "open": 100}},
        destinations={"large_moves": "large_moves"},
    ),
    RouteTest(
        name="a quiet day of an index is no large move",
        points={"symbol": "^GSPC", "asset_class": "index", "close": 1248.81},
        routes=["csv_daily", "jsonl_index"],
    ),
    RouteTest(
        name="an hourly bar matches no route",
        points={"timeframe": "1h"},
        routes=["default"],
    ),
    RouteTest(
        name="a bar that closes above its high is refused at the door",
        points={"high": 10, "low": 9, "close": 11},
        invalid=["ohlc.out_of_range"],
    ),
]
