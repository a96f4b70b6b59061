"""`candlefleet routes test`: what a person reads, what a program reads, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.fleet_fixture import Said

ROUTES = """\
routes:
  - route_id: daily
    condition: timeframe = '1d'
    destination: {kind: csv_file, path: never/made}
tests:
  - name: a daily bar is taken
    points: {timeframe: 1d}
    routes: [daily]
"""
FAILING = """\
  - name: an [hourly] bar is taken
    points:
      - {timeframe: 1d}
      - {timeframe: 1h, symbol: AAPL, open: 1, close: 2}
    routes: [daily]
    payload: {daily: {symbol: TEST}}
"""

Test = Callable[..., Said]


@pytest.fixture
def routes_test(tmp_path: Path, monkeypatch, candlefleet) -> Test:
    """Test the routes of a file of some text."""

    def call(text: str, *options: str, name: str = "routes.yaml") -> Said:
        monkeypatch.chdir(tmp_path)
        Path(name).write_text(text)
        said = candlefleet("routes", "test", *options, environment={"CANDLEFLEET_ROUTES": name})
        assert not Path("never").exists()
        return said

    return call


def test_tests_that_pass_are_counted_and_need_no_fleet(routes_test: Test):
    said = routes_test(ROUTES)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == ["✓ a daily bar is taken", "1 passed, 0 failed"]


def test_test_that_fails_is_shown_with_the_point_and_both_sides(routes_test: Test):
    said = routes_test(ROUTES + FAILING)
    assert said.code == 1
    assert (
        said.out
        == """\
✓ a daily bar is taken
✗ an [hourly] bar is taken
  routes.yaml:9: tests[1]
  AAPL 1h 2024-01-01T00:00:00Z equity test open 1 high 2.0 low 1.0 close 2 volume 1000.0
    routes
      expected daily
      got      none
    payload.daily
      expected {'symbol': 'TEST'}
      got      nothing was written
1 passed, 1 failed
"""
    )


def test_program_gets_the_same_as_json(routes_test: Test):
    said = routes_test(ROUTES + FAILING, "--json")
    assert said.code == 1
    passed, failed = said.json["tests"]
    assert (said.json["passed"], said.json["failed"]) == (1, 1)
    assert passed == {
        "name": "a daily bar is taken",
        "where": "routes.yaml:6: tests[0]",
        "passed": True,
        "differences": [],
    }
    assert failed["differences"][0] == {"point": 1, "what": "routes", "expected": "daily", "got": "none"}


def test_file_is_named_as_an_argument(routes_test: Test, tmp_path: Path):
    (tmp_path / "other.yaml").write_text(ROUTES)
    assert routes_test("routes: []", str(tmp_path / "other.yaml")).code == 0


def test_file_without_tests_is_not_one_that_passes(routes_test: Test):
    said = routes_test(ROUTES.partition("tests:")[0])
    assert (said.code, said.out) == (2, "")
    assert (
        said.err
        == "candlefleet: routes.yaml: holds no tests: add `tests`, see docs/routes.md [test.missing]\n"
    )


def test_test_that_cannot_be_run_is_refused_with_its_line(routes_test: Test):
    said = routes_test(ROUTES.replace("timeframe: 1d}", "tmeframe: 1d}").replace("[daily]", "[dayly]"))
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        "candlefleet: routes.yaml: 2 mistakes",
        "routes.yaml:7: tests[0].points.tmeframe: there is no 'tmeframe' "
        "(did you mean 'timeframe'?) [unknown_field]",
        "routes.yaml:8: tests[0].routes[0]: there is no 'dayly' (did you mean 'daily'?) [route.unknown]",
    ]


def test_tests_in_python_run_as_well(routes_test: Test):
    said = routes_test(
        """\
from destinations import CSVDestination
from router import Route, RouteTest

routes = [Route(route_id="daily", condition="timeframe = '1d'", destination=CSVDestination("never/made"))]
tests = [
    RouteTest(name="a daily bar is taken", points={}, routes=["daily"]),
    RouteTest(name="an hourly one as well", points={"timeframe": "1h"}, routes=["daily"]),
]
""",
        name="routes.py",
    )
    assert said.code == 1
    assert "  routes.py: tests[1]\n" in said.out
    assert said.out.endswith("1 passed, 1 failed\n")


NOISY = """\
from destinations import MemoryDestination
from router import Route, RouteTest

print("loaded")


class Noisy(MemoryDestination):
    def __init__(self):
        print("made")
        super().__init__()

    def open(self):
        print("opened")


def takes(point):
    print("asked")
    return True


def leaves(point):
    print("changed")
    return point


routes = [Route(route_id="a", condition=takes, transform=leaves, destination=Noisy())]
tests = [RouteTest(name="one", points={}, routes=["a"])]
"""


@pytest.mark.parametrize(
    "command", ["routes list", "routes check --connect", "routes test", "explain --point {point}"]
)
def test_what_code_of_a_routes_file_prints_is_not_in_the_way_of_programs(command, tmp_path, candlefleet):
    (tmp_path / "routes.py").write_text(NOISY)
    bar = {"timestamp": "2024-01-01T00:00:00Z", "open": 1, "high": 1, "low": 1, "close": 1}
    names = {"symbol": "A", "timeframe": "1d", "asset_class": "equity", "source": "x"}
    words = [word.replace("{point}", json.dumps(bar | names)) for word in command.split()]
    environment = {"CANDLEFLEET_ROUTES": str(tmp_path / "routes.py"), "CANDLEFLEET_DIR": str(tmp_path)}
    said = candlefleet(*words, "--json", environment=environment)
    assert said.code == 0
    assert json.loads(said.out)
    assert "loaded" in said.err
