"""Points owed to a route that the routes file does not name: said aloud, kept, moved on request."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ulid import ULID

from destinations import MemoryDestination
from router import NormalizedDataPoint, Route
from router.errors import FleetBusyError
from router.rows import Rows
from router.table import RouteTable
from tests.acceptance.fleet_fixture import (
    CANDLEFLEET,
    CELERY,
    QUIET,
    clean_environment,
    configured,
    running,
    until,
)
from tests.acceptance.test_loans import Silence
from tests.make import make_batch
from workers import cli
from workers.embedded import EmbeddedRedis
from workers.journey import Journey
from workers.records import Claim, Debt, Verdict
from workers.report import report
from workers.store import PREFIX, Store
from workers.unknown_routes import bury, unknown_debts

ROUTES = """
from destinations import MemoryDestination
from router import Route
routes = [Route(route_id="here", condition="true", destination=MemoryDestination())]
"""


def owe(store: Store, route_id: str, rows: int, max_owed: int | None = None) -> list[NormalizedDataPoint]:
    """Let a route owe a batch; return its points."""
    batch_id, batch = str(ULID()), make_batch(rows)
    assert store.accept(batch_id, batch).verdict == "accepted"
    store.match([Verdict(batch_id, [Debt(route_id, Rows.all(rows), max_owed)], rows, 0, 0)])
    return list(batch)


@pytest.fixture
def table() -> RouteTable:
    return RouteTable([Route(route_id="here", condition="true", destination=MemoryDestination())])


@pytest.fixture
def journey(store: Store, table: RouteTable) -> Journey:
    return Journey(store, table, Silence())


pytestmark = pytest.mark.usefixtures("account")


# -- debts -----------------------------------------------------------------------------------------


def test_debts_pending_and_in_parts_are_found_if_the_table_does_not_name_their_route(store, table):
    owe(store, "gone", 3)
    store.cut("gone", ordered=False, served_for=1e15)
    owe(store, "gone", 4)
    owe(store, "here", 5)

    assert unknown_debts(store, table) == {"gone": 7}


def test_a_route_that_owes_nothing_any_more_is_no_matter(store, table):
    owe(store, "gone", 3)
    bury(store, "gone")
    assert unknown_debts(store, table) == {}


def test_burying_moves_every_row_with_its_point_and_the_reason(store):
    points = owe(store, "gone", 3)
    store.cut("gone", ordered=True, served_for=1e15)
    points += owe(store, "gone", 4)

    assert bury(store, "gone") == 7

    letters = list(store.letters())
    assert sorted(letter["original"]["timestamp"] for letter in letters) == sorted(
        point.to_json_dict()["timestamp"] for point in points
    )
    assert {(letter["route_id"], letter["reasons"][0]["code"]) for letter in letters} == {
        ("gone", "route.unknown")
    }
    now = report(store)
    assert (now.at_rest, now.routes[0].dead, now.batches) == (True, 7, 0)


def test_burying_leaves_parts_that_wait_for_another_attempt(store):
    owe(store, "gone", 3)
    (nudge,) = store.cut("gone", ordered=False, served_for=1e15)
    claim = store.claim(nudge.part_id, "token", 60)
    assert isinstance(claim, Claim)
    store.nack(claim, delay=60, counted=True, error="503")
    owe(store, "gone", 4)

    assert (bury(store, "gone"), store.owed()) == (4, {"gone": 3})


def test_burying_stops_when_the_dead_letters_are_full(store):
    owe(store, "gone", 3)
    store.redis.hset(f"{PREFIX}marks", "letters", 1)
    with pytest.raises(FleetBusyError, match="replay or drop some"):
        bury(store, "gone")
    assert store.owed() == {"gone": 3}


# -- the door --------------------------------------------------------------------------------------


def is_open(store: Store) -> bool:
    return store.accept(str(ULID()), make_batch(1)).verdict == "accepted"


def test_a_route_that_no_routes_file_names_does_not_keep_the_door_shut(store, journey, caplog):
    owe(store, "gone", 3, max_owed=2)
    assert not is_open(store)

    journey.sweep()
    journey.sweep()

    assert is_open(store)
    assert store.owed() == {"gone": 3}
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert "'gone'" in said.getMessage()


def test_a_route_that_another_routes_file_names_keeps_the_door_shut(store, journey):
    owe(store, "gone", 3, max_owed=2)
    store.advertise(["gone"])
    journey.sweep()
    assert not is_open(store)


def test_a_route_of_the_table_keeps_the_door_shut_though_no_worker_serves_it(store, journey):
    owe(store, "here", 3, max_owed=2)
    journey.sweep()
    assert not is_open(store)


# -- what people see -------------------------------------------------------------------------------

ADVICE = "7 points are owed to the route 'gone', which the routes file does not name: put it back"


@pytest.fixture
def candlefleet(store, redis_url, tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the command at the store, with a routes file of one route; return exit code and words."""
    (tmp_path / "routes.py").write_text(ROUTES)
    environment = {
        "CANDLEFLEET_BROKER_URL": redis_url,
        "CANDLEFLEET_ROUTES": str(tmp_path / "routes.py"),
        "COLUMNS": "200",
    }

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["candlefleet", *arguments])
        with configured(environment), pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


def test_status_marks_the_route_and_says_what_to_do(store, candlefleet):
    owe(store, "gone", 7)

    code, out, _ = candlefleet("status")

    assert code == 0
    assert "gone (unknown)" in out
    assert ADVICE in out
    assert "candlefleet routes bury gone" in out
    routes = json.loads(candlefleet("status", "--json")[1])["routes"]
    assert {route["route_id"]: route["known"] for route in routes} == {"here": True, "gone": False}


def test_bury_moves_the_points_and_says_how_many(store, candlefleet):
    owe(store, "gone", 7)
    code, out, _ = candlefleet("routes", "bury", "gone", "--json")
    assert (code, json.loads(out)) == (0, {"moved": 7, "left": 0})
    assert len(list(store.letters())) == 7


@pytest.mark.parametrize(
    ("route", "words"),
    [("here", "the routes file names this route"), ("gnoe", "did you mean 'gone'")],
)
def test_bury_refuses_other_routes(route, words, store, candlefleet):
    owe(store, "gone", 7)
    owe(store, "here", 1)

    code, _, err = candlefleet("routes", "bury", route)

    (line,) = err.splitlines()
    assert (code, words in line) == (2, True)
    assert store.owed() == {"gone": 7, "here": 1}


def test_a_worker_names_the_route_once_when_it_starts(store, redis_url, tmp_path):
    owe(store, "gone", 7)
    (tmp_path / "routes.py").write_text(ROUTES)
    environment = clean_environment(
        CANDLEFLEET_BROKER_URL=redis_url, CANDLEFLEET_ROUTES=str(tmp_path / "routes.py")
    )
    log = tmp_path / "worker.log"

    with running(
        [*CELERY, "worker", "-n", "one@%h", "-Q", "router,maint", "-c", "1", *QUIET], log, environment
    ):
        until(lambda: "ready." in log.read_text() and ADVICE in log.read_text(), "it is ready and warns")

    (line,) = [line for line in log.read_text().splitlines() if ADVICE in line]
    assert "WARNING" in line


def test_up_names_the_route(tmp_path: Path):
    (tmp_path / "routes.py").write_text(ROUTES)
    with EmbeddedRedis(tmp_path / "fleet", memory=64 << 20) as redis:
        before = Store.connect(redis.url)
        owe(before, "gone", 7)
        before.redis.close()
    log = tmp_path / "up.log"
    environment = clean_environment(CANDLEFLEET_DIR=str(tmp_path / "fleet"))

    with running([*CANDLEFLEET, "up", "--no-flower"], log, environment):
        until(lambda: "Ctrl-C stops everything" in log.read_text(), "the fleet is up")

    assert log.read_text().count(ADVICE) == 1
