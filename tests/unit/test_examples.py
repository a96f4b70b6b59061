"""The example routes say the same in Python and in YAML."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest

from destinations import FileDestination, load_routes, load_routes_file
from router import Route, RouteTable, admit, match
from router.run_tests import run_test

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


@pytest.mark.parametrize("name", ["routes.py", "routes.yaml"])
def test_tests_of_the_examples_pass(name: str):
    table, tests, _ = load_routes_file(EXAMPLES / name)
    assert len(tests) == 4
    assert {where: run_test(test, table) for where, test in tests.items()} == {where: [] for where in tests}
