"""Routes that cannot be used are refused when they are made or loaded, with the field and the reason."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from destinations import CSVDestination, JSONLinesDestination, MemoryDestination
from router import ConfigError, DataRouter, Route
from tests.acceptance.fleet_fixture import configured
from workers import cli

HEAD = """\
from math import inf, nan
from destinations import CSVDestination, JSONLinesDestination, MemoryDestination
from router import DataRouter, Route

def make_route(**fields):
    return Route(**{"route_id": "a", "condition": "true", "destination": MemoryDestination()} | fields)

"""


class Bad(NamedTuple):
    """Routes as a person writes them, and how they are refused."""

    routes: str
    code: str
    where: str
    reason: str


def bad_field(field: str, value: str, reason: str, code: str = "range") -> Bad:
    return Bad(f"make_route({field}={value})", code, f"a.{field}", reason)


BATCH_SIZE = "must be a whole number from 1 to 1,000,000 or None"
ABOVE_ZERO = "must be a finite number above 0 or None"
AT_LEAST_ZERO = "must be a finite number of at least 0"
BAD_FIELDS = [
    *(
        bad_field("batch_size", value, BATCH_SIZE)
        for value in ("0", "-1", "2.5", "'10'", "True", "inf", "nan", "1_000_001", "10**400")
    ),
    *(
        bad_field(field, value, ABOVE_ZERO)
        for field in ("batch_timeout", "rate_limit")
        for value in ("0", "-0.5", "'10'", "True", "inf", "nan", "10**400")
    ),
    *(
        bad_field("retry_delay", value, AT_LEAST_ZERO)
        for value in ("-1", "'1'", "True", "inf", "nan", "None", "10**400")
    ),
    *(
        bad_field("max_retries", value, "must be a whole number of at least 0")
        for value in ("-1", "1.5", "'3'", "True", "inf", "nan", "None")
    ),
    *(
        bad_field("max_owed", value, "must be a whole number of at least 1 or None")
        for value in ("0", "-1", "1.5", "'10'", "True", "inf")
    ),
    bad_field("destination", "MemoryDestination", "give one made of it", "type"),
    bad_field("destination", "None", "a route needs a destination", "required"),
    bad_field("enabled", "'yes'", "must be bool", "type"),
    bad_field("batchsize", "10", "did you mean 'batch_size'", "unknown_field"),
    bad_field("route_id", "'default'", "choose another id", "route.id")._replace(where="default.route_id"),
]

SAME_FILES = "give both routes one destination"


def two(first: str, second: str, where: str = "b.destination") -> Bad:
    """Return two routes whose destinations may write one file under the folder `out`."""
    routes = f"make_route(destination={first}), make_route(route_id='b', destination={second})"
    return Bad(routes, "destination.shared_place", where, SAME_FILES)


BAD_TOGETHER = [
    Bad("make_route(), make_route()", "route.duplicate_id", "a.route_id", "another route has this id"),
    Bad(
        "make_route(), make_route(route_id='b', destination=MemoryDestination(name='a'))",
        "destination.duplicate_name",
        "b.destination",
        "another destination is named 'a'",
    ),
    two("CSVDestination('out')", "CSVDestination('out')"),
    two("CSVDestination('out')", "CSVDestination('./elsewhere/../out', name='two')", "two.destination"),
    two("CSVDestination('out', '{symbol}.csv')", "CSVDestination('out', '{source}.csv')"),
    two("CSVDestination('out', 'all.csv')", "CSVDestination('out', '{symbol}.csv')"),
    two("CSVDestination('out', 'in/{symbol}.csv')", "CSVDestination('out/in', '{symbol}.csv')"),
    two("CSVDestination('out', '{symbol}.txt')", "JSONLinesDestination('out', '{symbol}.txt')"),
]

GOOD_TOGETHER = [
    "make_route(destination=(one := CSVDestination('out'))), make_route(route_id='b', destination=one)",
    "make_route(batch_timeout=1.0)",
    "make_route(batch_size=1_000_000, batch_timeout=0.001, rate_limit=0.1, retry_delay=0, max_retries=0)",
    *(
        f"make_route(destination={first}), make_route(route_id='b', destination={second})"
        for first, second in [
            ("CSVDestination('out', '{symbol}_1d.csv')", "CSVDestination('other', '{symbol}_1d.csv')"),
            ("CSVDestination('out')", "JSONLinesDestination('out')"),
            ("CSVDestination('out', 'a/{symbol}.csv')", "CSVDestination('out', 'b/{symbol}.csv')"),
            ("CSVDestination('out')", "CSVDestination('out', compression='gzip')"),
        ]
    ),
]


def evaluated(expression: str) -> Any:
    """Return what an expression of a routes file gives."""
    namespace: dict[str, Any] = {}
    exec(HEAD, namespace)
    return eval(expression, namespace)


@pytest.fixture
def routes_list(tmp_path, monkeypatch, capsys) -> Callable[[str], tuple[int, str, str]]:
    """Run `candlefleet routes list --json` on a file with some routes; return its exit code and words."""

    def call(text: str) -> tuple[int, str, str]:
        (tmp_path / "routes.py").write_text(HEAD + text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["candlefleet", "routes", "list", "--json"])
        with configured({}), pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("bad", BAD_FIELDS, ids=lambda bad: bad.routes)
def test_field_is_refused_where_the_route_is_made(bad):
    with pytest.raises(ConfigError, match=bad.reason) as refusal:
        evaluated(bad.routes)
    assert (refusal.value.code, refusal.value.where) == (bad.code, bad.where)


@pytest.mark.parametrize("bad", BAD_TOGETHER, ids=lambda bad: bad.routes)
def test_routes_are_refused_where_they_meet(bad):
    with pytest.raises(ConfigError, match=bad.reason) as refusal:
        evaluated(f"DataRouter([{bad.routes}])")
    assert (refusal.value.code, refusal.value.where) == (bad.code, bad.where)


@pytest.mark.parametrize("bad", [*BAD_FIELDS, *BAD_TOGETHER], ids=lambda bad: bad.routes)
@pytest.mark.parametrize("text", ["routes = [{}]", "router = DataRouter([{}])"])
def test_file_is_refused_by_the_command_in_one_line(bad, text, routes_list):
    code, out, err = routes_list(text.format(bad.routes))

    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("candlefleet: routes.py")
    assert f"{bad.where}: " in line
    assert bad.reason in line
    assert line.endswith(f"[{bad.code}]")


@pytest.mark.parametrize("routes", GOOD_TOGETHER)
def test_routes_that_do_not_meet_are_listed(routes, routes_list):
    code, out, err = routes_list(f"routes = [{routes}]")
    assert (code, err) == (0, "")
    assert [route["route_id"] for route in json.loads(out)] == ["a", "b"][: routes.count("make_route")]


def test_a_batch_size_without_a_timeout_is_listed_with_the_one_it_gets(routes_list):
    _, out, _ = routes_list("routes = [make_route(batch_size=100)]")
    (route,) = json.loads(out)
    assert (route["batch_size"], route["batch_timeout"]) == (100, 5.0)


def test_default_destination_may_not_write_where_a_route_writes(tmp_path: Path):
    route = Route(route_id="a", condition="true", destination=CSVDestination(tmp_path))
    with pytest.raises(ConfigError, match=r"default\.destination.*shared_place"):
        DataRouter([route], CSVDestination(tmp_path))


def test_route_that_is_added_is_compared_with_those_there(tmp_path: Path):
    router = DataRouter([Route(route_id="a", condition="true", destination=JSONLinesDestination(tmp_path))])
    other = Route(route_id="b", condition="true", destination=JSONLinesDestination(tmp_path))

    with pytest.raises(ConfigError, match=SAME_FILES):
        router.add_route(other)

    assert [route.route_id for route in router.routes] == ["a"]


def test_a_folder_behind_a_link_is_the_folder(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match=SAME_FILES):
        DataRouter(
            [
                Route(route_id=name, condition="true", destination=CSVDestination(tmp_path / name))
                for name in ("real", "link")
            ]
        )


def test_destination_of_ones_own_says_what_it_owns():
    class Table:
        def __init__(self, name: str) -> None:
            self.name = name

        def overlaps(self, other: object) -> bool:
            return isinstance(other, Table) and other.name == self.name

        def __str__(self) -> str:
            return f"table {self.name}"

    class Database(MemoryDestination):
        def __init__(self, *tables: str) -> None:
            super().__init__()
            self.tables = tables

        def owns(self) -> list[Table]:
            return [Table(table) for table in self.tables]

    def make_router(*destinations: Database) -> DataRouter:
        return DataRouter(
            Route(route_id=f"r{n}", condition="true", destination=d) for n, d in enumerate(destinations)
        )

    assert len(make_router(Database("bars", "bars"), Database("trades")).routes) == 2
    with pytest.raises(ConfigError, match=r"r1\.destination: may write to table bars.*'r0'"):
        make_router(Database("bars"), Database("trades", "bars"))
