"""Rows for which a condition takes the router down, or holds it for ever: each becomes one dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.points import NormalizedDataPoint
from tests.acceptance.fleet_fixture import Crew, crew_at_work, until
from tests.make import make_point
from workers.deliveries import MOST_SILENT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `poison_routes.py`."""
    routes = Path(__file__).with_name("poison_routes.py")
    time_for_trials = {"CANDLEFLEET_TASK_TIME_LIMIT": "30", "CANDLEFLEET_VISIBILITY_TIMEOUT": "60"}
    with crew_at_work(tmp_path_factory.mktemp("poison"), routes, **time_for_trials) as at_work:
        yield at_work


def make_points(source: str, rows: int, *bad: int) -> list[NormalizedDataPoint]:
    """Return bars of two symbols in turn, and of the symbol BAD in some rows."""
    return [
        make_point(row=row, source=source, symbol="BAD" if row in bad else ("A", "B")[row % 2])
        for row in range(rows)
    ]


def of(rows: list[dict[str, object]], source: str) -> list[dict[str, object]]:
    return [row for row in rows if row["source"] == source]


@pytest.mark.parametrize("source", ["deadly", "column", "endless"])
def test_a_row_that_takes_its_router_down_becomes_one_dead_letter_of_that_route(fated, source):
    points, others = make_points(source, 250, 137), make_points(f"beside {source}", 20)

    fated.producer.send_batch(points)
    fated.producer.send_batch(others)
    fated.settled()

    route = fated.route(source)
    assert (route.matched, route.delivered, route.failed, route.dead) == (249, 249, 1, 0)
    (letter,) = fated.letters(source)
    assert NormalizedDataPoint(**letter["original"]) == points[137]
    assert (letter["row"], letter["reasons"][0]["code"]) == (137, "condition.poison")
    assert Counter(row["symbol"] for row in of(fated.rows(source), source)) == {"A": 125, "B": 124}
    assert len(of(fated.rows("all"), source)) == 250
    assert len(of(fated.rows("all"), f"beside {source}")) == 20


LINES = """
import os
from destinations import JSONLinesDestination
from router import Route

lines = JSONLinesDestination(os.environ["CANDLEFLEET_EXPORTS"])
routes = [Route(route_id="lines", condition="true", destination=lines)]
"""


def test_rows_whose_workers_died_after_their_write_are_delivered_and_no_dead_letter(tmp_path):
    (tmp_path / "routes.py").write_text(LINES)
    fired = tmp_path / "fired"
    fired.mkdir()
    points = {"CANDLEFLEET_FAILPOINTS": "settle.before=kill", "CANDLEFLEET_FAILPOINTS_FIRED": str(fired)}
    with crew_at_work(tmp_path, tmp_path / "routes.py", **points) as crew:
        crew.producer.send_batch(make_points("written", 1))
        for _ in range(MOST_SILENT):
            until(lambda: list(fired.iterdir()), "a worker died before it could settle")
            next(fired.iterdir()).unlink()
        found = crew.settled()
        assert (crew.route("lines").delivered, crew.route("lines").dead, found.broken) == (1, 0, [])
        assert len(crew.rows("")) == 1
