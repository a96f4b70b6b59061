"""A real fleet that writes to a Delta table, whatever is killed or taken away meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from router import NormalizedDataPoint
from tests.acceptance.fleet_fixture import Crew, crew_at_work, pool, until
from tests.make import make_point

ROUTES = Path(__file__).with_name("delta_fleet.yaml")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the table."""
    return tmp_path_factory.mktemp("lake") / "bars"


@pytest.fixture(scope="module")
def writers(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `delta_fleet.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARS_TABLE", str(table))
        with crew_at_work(tmp_path_factory.mktemp("writers"), ROUTES) as at_work:
            yield at_work


def closes(table: Path, source: str) -> list[float]:
    """Return the closing prices of a source, in the order of time."""
    rows = pl.read_delta(str(table)).filter(source=source).sort("timestamp", "symbol")
    return rows["close"].to_list()


def entries(table: Path) -> list[Path]:
    """Return the commits of the table, oldest first."""
    return sorted((table / "_delta_log").glob("*.json"))


def parquets(table: Path) -> int:
    """Return how many files lie in the table, listed or not."""
    return len(list(table.rglob("*.parquet")))


def make_points(source: str, rows: int = 450, **changes) -> list[NormalizedDataPoint]:
    return [make_point(row=row, source=source, **changes) for row in range(rows)]


def test_points_arrive_in_the_table_and_are_on_record(writers, table, candlefleet):
    points = make_points("plain")
    before = writers.route("bars").delivered

    found = writers.deliver(points)

    assert closes(table, "plain") == [point.close for point in points]
    (bars,) = [route for route in found.routes if route.route_id == "bars"]
    assert bars.written == bars.delivered == before + 450
    assert candlefleet("audit", environment=writers.environment).code == 0


def test_parts_of_one_task_are_one_commit(writers, table):
    writers.deliver(make_points("before", 1))
    before = len(entries(table))
    writers.deliver(make_points("together", 1000))
    assert len(closes(table, "together")) == 1000
    assert len(entries(table)) - before < 5


def test_workers_killed_while_they_write_leave_every_row_once(writers, table, candlefleet):
    points = make_points("killed", 1000)
    writers.deliver(make_points("before", 1, symbol="ETH/USDT"))
    files = parquets(table)
    writers.producer.send_batch(points)
    until(lambda: parquets(table) > files, "a worker is in mid-write", every=0.0)
    for child in pool(writers.pid):
        os.kill(child, signal.SIGKILL)
    writers.settled()
    assert closes(table, "killed") == [point.close for point in points]
    assert writers.route("bars").written == writers.route("bars").delivered
    assert candlefleet("audit", environment=writers.environment).code == 0


def test_table_that_is_gone_is_waited_for_until_it_is_put_back(writers, table, candlefleet):
    points = make_points("away", 150)
    writers.deliver(make_points("before_away", 1))
    log, aside = table / "_delta_log", table.with_name("aside")
    log.rename(aside)
    try:
        writers.producer.send_batch(points)
        (pause,) = until(lambda: writers.report().paused, "the destination is paused")
        assert "put its _delta_log back" in pause.error
    finally:
        aside.rename(log)
    writers.settled()
    assert closes(table, "away") == [point.close for point in points]
    assert writers.letters("bars") == []
    assert candlefleet("audit", environment=writers.environment).code == 0


def test_row_that_no_folder_takes_is_buried_alone(writers, table):
    points = [
        make_point(row=row, source="long", symbol="€" * 128 if row == 37 else "GOOD") for row in range(100)
    ]
    writers.deliver(points)
    (letter,) = writers.letters("bars")
    assert letter["row"] == 37
    assert "too long to name a folder" in letter["reasons"][0]["message"]
    assert len(closes(table, "long")) == 99
