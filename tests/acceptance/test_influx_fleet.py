"""A real fleet that writes to a real InfluxDB, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from router import NormalizedDataPoint
from tests.acceptance.fleet_fixture import Crew, crew_at_work, pool, until
from tests.make import make_point
from tests.servers.influx import PASSWORD, USER, Influx, own_influx

ROUTES = Path(__file__).with_name("influx_fleet.yaml")


@pytest.fixture(scope="module")
def server() -> Iterator[Influx]:
    """Give an InfluxDB that may be killed, and that asks who one is."""
    with own_influx(locked=True) as its_own:
        yield its_own


@pytest.fixture(scope="module")
def writers(server: Influx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `influx_fleet.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARS_INFLUX_URL", server.access.url)
        patch.setenv("BARS_INFLUX_TOKEN", server.access.token)
        with crew_at_work(tmp_path_factory.mktemp("writers"), ROUTES) as at_work:
            yield at_work


def closes(server: Influx, source: str) -> list[float]:
    """Return the closing prices of a source, in the order of time."""
    return [row["close"] for row in server.access.query(f"SELECT close FROM ohlcv WHERE source = '{source}'")]


def make_points(source: str, rows: int = 450, **changes) -> list[NormalizedDataPoint]:
    return [make_point(row=row, source=source, **changes) for row in range(rows)]


def test_points_arrive_in_the_bucket(writers, server, candlefleet):
    points = make_points("plain")
    writers.deliver(points)
    assert closes(server, "plain") == [point.close for point in points]
    assert candlefleet("audit", environment=writers.environment).code == 0


def test_a_revision_is_what_the_bucket_holds(writers, server):
    writers.deliver(make_points("revised", 10))
    writers.deliver(make_points("revised", 10, close=42_000.0, low=41_000.0))
    assert closes(server, "revised") == [42_000.0] * 10


def test_a_worker_killed_while_it_writes_leaves_every_point_once(writers, server):
    points = make_points("killed")
    writers.deliver(make_points("before", 1))
    server.freeze()
    writers.producer.send_batch(points)
    until(lambda: server.is_asked, "a worker is in mid-write")
    for child in pool(writers.pid):
        os.kill(child, signal.SIGKILL)
    server.thaw()
    writers.settled()
    assert closes(server, "killed") == [point.close for point in points]


def test_a_server_that_is_away_is_waited_for_and_gets_the_newest_of_every_point(writers, server):
    revised = make_points("away", low=41_000.0, close=41_500.0)
    writers.deliver(make_points("before", 1))
    server.kill()
    try:
        writers.producer.send_batch(make_points("away"))
        (pause,) = until(lambda: writers.report().paused, "the destination is paused")
        assert "start the server" in pause.error
        writers.producer.send_batch(revised)
    finally:
        server.start()
    writers.settled()
    assert closes(server, "away") == [point.close for point in revised]
    assert writers.letters("bars") == []


def test_points_of_a_field_type_that_conflicts_are_found_and_buried_alone(writers, server):
    other = {"timestamp": "2020-01-01T00:00:00Z", "source": "odd"}
    server.access.insert("ohlcv,symbol=X close=1i 1577836800000000")
    points = [*make_points("odd", 20), make_point(**other), *make_points("odd2", 20)]

    writers.deliver(points)

    (letter,) = writers.letters("bars")
    assert (letter["row"], letter["reasons"][0]["code"]) == (20, "destination.refused")
    assert "field type conflict" in letter["reasons"][0]["message"]
    assert len(closes(server, "odd")) == len(closes(server, "odd2")) == 20


def test_a_token_that_is_refused_is_waited_for_and_shown_nowhere(writers, server, candlefleet):
    server.access.query(f"SET PASSWORD FOR {USER} = 'other'")
    try:
        writers.producer.send_batch(make_points("locked", 5))
        (pause,) = until(lambda: writers.report().paused, "the destination is paused")
        said = [candlefleet("status", environment=writers.environment).out, pause.error]
    finally:
        server.access_by(server.front, f"{USER}:other").query(f"SET PASSWORD FOR {USER} = '{PASSWORD}'")
    writers.settled()
    assert len(closes(server, "locked")) == 5
    said += [candlefleet("routes", "list", environment=writers.environment).out]
    said += [log.read_text() for log in writers.folder.glob("*.log")]
    assert "mend token" in pause.error
    assert PASSWORD not in "".join(said)
