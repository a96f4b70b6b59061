"""A real fleet that writes to a real PostgreSQL, whatever is killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from router import NormalizedDataPoint
from tests.acceptance.fleet_fixture import Crew, crew_at_work, pool, until
from tests.make import make_point
from tests.servers.postgres import Postgres, own_postgres, plain
from workers.deliveries import MOST_SILENT

ROUTES = Path(__file__).with_name("sql_fleet.yaml")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Give a PostgreSQL that may be killed."""
    with own_postgres() as its_own:
        yield its_own


@pytest.fixture(scope="module")
def writers(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `sql_fleet.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARS_DATABASE", server.url)
        with crew_at_work(tmp_path_factory.mktemp("writers"), ROUTES) as at_work:
            yield at_work


@contextlib.contextmanager
def session(server: Postgres) -> Iterator[psycopg.Connection]:
    """Give a session of somebody else's."""
    with contextlib.closing(psycopg.connect(plain(server.url))) as other:
        yield other


def closes(server: Postgres, source: str) -> list[float]:
    """Return the closing prices of a source, in the order of time."""
    with session(server) as other:
        found = other.execute("SELECT close FROM bars WHERE source = %s ORDER BY timestamp", [source])
        return [close for (close,) in found]


def is_waiting(server: Postgres) -> bool:
    """Return whether a worker waits for a lock."""
    with session(server) as other:
        asked = "application_name = 'candlefleet' AND wait_event_type = 'Lock'"
        found = other.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {asked}")
        return bool(found.fetchall()[0][0])


def make_points(source: str, rows: int = 450, **changes) -> list[NormalizedDataPoint]:
    return [make_point(row=row, source=source, **changes) for row in range(rows)]


def test_points_arrive_in_the_table_and_are_on_record(writers, server, candlefleet):
    points = make_points("plain")
    before = writers.route("bars").delivered

    found = writers.deliver(points)

    assert closes(server, "plain") == [point.close for point in points]
    (bars,) = [route for route in found.routes if route.route_id == "bars"]
    assert bars.written == bars.delivered == before + 450
    assert candlefleet("audit", environment=writers.environment).code == 0


def test_a_revision_is_what_the_table_holds(writers, server):
    writers.deliver(make_points("revised", 10))
    writers.deliver(make_points("revised", 10, close=42_000.0, low=41_000.0))
    assert closes(server, "revised") == [42_000.0] * 10


def test_a_worker_killed_while_it_writes_leaves_every_row_once(writers, server):
    points = make_points("killed")
    writers.deliver(make_points("before", 1))
    with session(server) as other:
        other.execute("LOCK TABLE bars IN SHARE MODE")
        writers.producer.send_batch(points)
        until(lambda: is_waiting(server), "a worker is in mid-write")
        for child in pool(writers.pid):
            os.kill(child, signal.SIGKILL)
    writers.settled()
    assert closes(server, "killed") == [point.close for point in points]
    assert writers.route("bars").written == writers.route("bars").delivered


def test_a_server_that_is_away_is_waited_for_and_costs_no_point(writers, server):
    points = make_points("away")
    writers.deliver(make_points("before", 1))
    server.kill()
    try:
        writers.producer.send_batch(points)
        (pause,) = until(lambda: writers.report().paused, "the destination is paused")
        assert "start the server" in pause.error
        assert writers.route("bars").written is None
    finally:
        server.start()
    writers.settled()
    assert closes(server, "away") == [point.close for point in points]
    assert writers.letters("bars") == []


def test_a_row_that_the_users_constraint_refuses_is_found_and_buried_alone(writers, server):
    with session(server) as other:
        other.execute("ALTER TABLE bars ADD CONSTRAINT named CHECK (symbol <> 'BAD')")
        other.commit()
    points = [make_point(row=row, source="odd", symbol="BAD" if row == 37 else "GOOD") for row in range(100)]

    writers.deliver(points)

    (letter,) = writers.letters("bars")
    assert (letter["row"], letter["reasons"][0]["code"]) == (37, "destination.refused")
    assert "violates check constraint" in letter["reasons"][0]["message"]
    assert len(closes(server, "odd")) == 99


def test_a_table_that_no_longer_fits_is_waited_for_until_it_does(writers, server):
    points = make_points("mended", 5)
    with session(server) as other:
        other.execute("ALTER TABLE bars RENAME volume TO amount")
        other.commit()
        writers.producer.send_batch(points)
        (pause,) = until(lambda: writers.report().paused, "the destination is paused")
        assert "ADD COLUMN volume" in pause.error
        other.execute("ALTER TABLE bars RENAME amount TO volume")
        other.commit()
    writers.settled()
    assert closes(server, "mended") == [point.close for point in points]


@pytest.mark.slow
def test_rows_whose_workers_died_after_their_write_are_delivered_and_no_dead_letter(server, tmp_path):
    fired = tmp_path / "fired"
    fired.mkdir()
    failpoints = {
        "CANDLEFLEET_FAILPOINTS": "settle.before=kill",
        "CANDLEFLEET_FAILPOINTS_FIRED": str(fired),
        "BARS_DATABASE": server.url,
    }
    with crew_at_work(tmp_path, ROUTES, **failpoints) as crew:
        crew.producer.send_batch(make_points("unsettled", 1))
        for _ in range(MOST_SILENT):
            until(lambda: list(fired.iterdir()), "a worker died before it could settle")
            next(fired.iterdir()).unlink()
        found = crew.settled()
        bars = crew.route("bars")
        assert (bars.delivered, bars.dead, found.broken) == (1, 0, [])
    assert len(closes(server, "unsettled")) == 1


def test_the_password_is_in_no_log_and_no_letter(server, tmp_path, candlefleet):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARS_DATABASE", server.url_for("locked:s3cr3t"))
        with crew_at_work(tmp_path, ROUTES) as crew:
            crew.producer.send_batch(make_points("locked", 5))
            (pause,) = until(lambda: crew.report().paused, "the destination is paused")
            said = [candlefleet("status", environment=crew.environment).out]
            said += [candlefleet("routes", "list", environment=crew.environment).out, pause.error]
    said += [log.read_text() for log in tmp_path.glob("*.log")]
    assert "mend user and password" in pause.error
    assert "s3cr3t" not in "".join(said)
