"""A real fleet whose routes are a file in YAML, from the door to the files and the dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from router import NormalizedDataPoint
from tests.acceptance.fleet_fixture import Crew, crew_at_work
from tests.make import make_point

ROUTES = Path(__file__).with_name("yaml_fleet.yaml")


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `yaml_fleet.yaml`."""
    time_for_trials = {"CANDLEFLEET_TASK_TIME_LIMIT": "30", "CANDLEFLEET_VISIBILITY_TIMEOUT": "60"}
    with crew_at_work(tmp_path_factory.mktemp("declared"), ROUTES, **time_for_trials) as at_work:
        yield at_work


def make_points(source: str, rows: int, bad: int) -> list[NormalizedDataPoint]:
    """Return bars, one of them of the symbol BAD."""
    return [make_point(row=row, source=source, symbol="BAD" if row == bad else "GOOD") for row in range(rows)]


def test_points_are_delivered_transformed_and_refused_as_the_file_says(declared, candlefleet):
    points = make_points("picky", 30, 17)
    nobody = [make_point(source="nobody", symbol="NO")]

    declared.producer.send_batch(points)
    declared.producer.send_batch(nobody)
    declared.settled()

    lines = [row for row in declared.rows("picky") if row["source"] == "picky"]
    assert [row["close"] for row in lines] == [p.close / 2 for p in points if p.symbol != "BAD"]
    assert len([row for row in declared.rows("all") if row["source"] == "picky"]) == 30
    assert [NormalizedDataPoint(**row) for row in declared.rows("rest")] == nobody
    (letter,) = declared.letters("picky")
    assert NormalizedDataPoint(**letter["original"]) == points[17]
    listed = candlefleet("dead-letters", "list", environment=declared.environment)
    assert "destination.refused" in listed.out
    assert candlefleet("audit", environment=declared.environment).code == 0


def test_routes_are_listed_with_destinations_and_queues(declared, candlefleet):
    said = candlefleet("routes", "list", "--json", environment=declared.environment)
    by_id = {route["route_id"]: route for route in said.json}
    assert {name: route["queue"] for name, route in by_id.items()} == {
        "all": "destinations.all",
        "deadly": "destinations.deadly",
        "picky": "destinations.picky",
        "default": "destinations.default",
    }
    assert by_id["deadly"]["condition"] == "is_deadly"
    assert (by_id["all"]["batch_size"], by_id["all"]["batch_timeout"]) == (100, 0.2)


@pytest.mark.slow
def test_a_row_that_takes_its_router_down_becomes_one_dead_letter_of_that_route(declared):
    points = make_points("deadly", 20, 13)

    declared.producer.send_batch(points)
    declared.settled()

    (letter,) = declared.letters("deadly")
    assert (letter["row"], letter["reasons"][0]["code"]) == (13, "condition.poison")
    assert len([row for row in declared.rows("deadly") if row["source"] == "deadly"]) == 19
    assert len([row for row in declared.rows("all") if row["source"] == "deadly"]) == 20
