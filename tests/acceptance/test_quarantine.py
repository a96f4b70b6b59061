"""A batch decided apart: as ever, except for rows that the process does not survive."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from destinations import load_routes
from router.batch import PointBatch
from router.matching import Matches, combine, match
from router.table import RouteTable
from tests.acceptance.fleet_fixture import configured
from tests.make import make_point
from workers.quarantine import TrialError, decide_apart

ROUTES = Path(__file__).with_name("quarantine_routes.py")


@pytest.fixture(autouse=True)
def routes() -> Iterator[pytest.MonkeyPatch]:
    with configured({"CANDLEFLEET_ROUTES": str(ROUTES)}) as patch:
        yield patch


@pytest.fixture
def table() -> RouteTable:
    return load_routes(ROUTES)


def make_batch(symbols: Sequence[str]) -> PointBatch:
    return PointBatch.of([make_point(row=row, symbol=symbol) for row, symbol in enumerate(symbols)])


def decide(table: RouteTable, symbols: Sequence[str], within: float = 30.0) -> Matches:
    batch = make_batch(symbols)
    return combine(table, len(batch), decide_apart(table, batch, within))


def poisoned(matches: Matches) -> list[tuple[str, int, str]]:
    return [(f.route_id, f.row, f.message) for f in matches.failures if f.code == "condition.poison"]


def test_an_innocent_batch_is_decided_as_ever(table):
    symbols = ["1", "NO", "RAISES", "-1", "x"]
    assert decide(table, symbols) == match(table, make_batch(symbols))


def test_every_row_that_ends_its_process_is_found_and_no_other(table):
    symbols = ["1"] * 150
    symbols[7], symbols[8], symbols[149] = "DIES", "RAISES", "LEAVES"

    found = decide(table, symbols)

    process = "the process that evaluated the condition"
    assert poisoned(found) == [
        ("acts", 7, f"{process} was killed by SIGKILL"),
        ("acts", 149, f"{process} ended with exit code 3"),
    ]
    assert [(f.route_id, f.row) for f in found.failures if f.code == "condition.error"] == [
        ("acts", 8),
        ("number", 7),
        ("number", 8),
        ("number", 149),
    ]
    assert {route_id: len(rows) for route_id, rows in found.selections.items()} == {
        "acts": 147,
        "number": 147,
        "sql": 150,
    }


def test_a_row_that_never_comes_to_an_end_is_found(table):
    found = decide(table, ["1", "HANGS", "2"], within=20.0)
    assert poisoned(found) == [("acts", 1, "the process that evaluated the condition said nothing for 3 s")]
    assert {route_id: len(rows) for route_id, rows in found.selections.items()} == {
        "acts": 2,
        "number": 2,
        "sql": 3,
    }


def test_when_time_runs_out_only_the_route_that_took_it_is_without_an_answer(table):
    began = time.monotonic()
    found = decide(table, ["HANGS"] * 60, within=8.0)
    assert time.monotonic() - began < 12.0
    assert [(route_id, row) for route_id, row, _ in poisoned(found)] == [("acts", row) for row in range(60)]
    assert {route_id: len(rows) for route_id, rows in found.selections.items()} == {"sql": 60}


def test_a_trial_that_cannot_begin_says_nothing_about_the_batch(table, routes, tmp_path, capfd):
    routes.setenv("CANDLEFLEET_ROUTES", str(tmp_path / "gone.py"))
    with pytest.raises(TrialError, match="ended with exit code 1 before it had read the routes"):
        decide(table, ["1"])
    (line,) = capfd.readouterr().err.splitlines()
    assert "gone.py: no such file" in line
