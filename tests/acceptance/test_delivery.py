"""Batches, limits, outages and priorities of a fleet, told by destinations that note every write."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.acceptance.brokers import broker_of_the_run
from tests.acceptance.fleet_fixture import (
    CANDLEFLEET,
    CELERY,
    QUIET,
    Crew,
    configured,
    crew_at_work,
    run,
    running,
    until,
    urls,
)
from tests.make import make_frame
from workers.fleet_delivery import FleetDelivery
from workers.producer import Producer
from workers.report import report


class Write(NamedTuple):
    """One write: when it ended, for which route, and the symbols of its points."""

    at: float
    route: str
    symbols: list[str]


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    routes = Path(__file__).with_name("delivery_routes.py")
    with crew_at_work(tmp_path_factory.mktemp("delivery"), routes) as at_work:
        yield at_work


def writes(crew: Crew, name: str, what: str = "writes") -> list[Write]:
    """Return every write that a destination noted so far."""
    path = crew.exports / f"{name}.{what}"
    return [Write(*json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def send(crew: Crew, source: str, symbols: list[str] | int) -> None:
    """Send one bar for each symbol; or so many of a symbol."""
    names = ["A"] * symbols if isinstance(symbols, int) else symbols
    crew.producer.send_batch(make_frame(len(names), names, source=source))


def sizes(crew: Crew, name: str) -> list[int]:
    return [len(write.symbols) for write in writes(crew, name)]


# -- batches -------------------------------------------------------------------------------------


def test_writes_hold_exactly_batch_size_points_and_the_rest_goes_when_it_is_due(crew):
    for _ in range(5):
        send(crew, "tens", 7)
    crew.settled()

    assert sizes(crew, "tens") == [10, 10, 10, 5]
    assert crew.route("tens").delivered == 35


def test_points_wait_for_their_batch_until_somebody_flushes(crew):
    send(crew, "thousands", 999)
    until(lambda: crew.route("thousands").pending == 999, "they wait")
    assert writes(crew, "thousands") == []

    said = run([*CANDLEFLEET, "flush", "thousands"], crew.environment, crew.folder)

    assert (said.returncode, said.stdout.strip()) == (0, "thousands: 999 points need not wait")
    crew.settled()
    assert sizes(crew, "thousands") == [999]


def test_flush_of_a_route_that_is_not_there_names_the_nearest(crew):
    said = run([*CANDLEFLEET, "flush", "thousand"], crew.environment, crew.folder)
    assert said.returncode == 2
    assert "no route has this id (did you mean 'thousands'?)" in said.stderr


def test_flush_all_batches_lets_nothing_wait(crew):
    before = len(writes(crew, "thousands"))
    send(crew, "thousands", 5)
    with configured(crew.environment):
        FleetDelivery().flush(crew.table)
    crew.settled()
    assert sizes(crew, "thousands")[before:] == [5]


def test_a_full_batch_does_not_wait_for_its_timeout(crew):
    before = len(writes(crew, "thousands"))
    send(crew, "thousands", 1000)
    until(lambda: len(writes(crew, "thousands")) == before + 1, "it is written", within=30)
    assert sizes(crew, "thousands")[before:] == [1000]


def test_the_parts_of_a_large_flush_are_a_chord_whose_body_ends(crew):
    log = crew.folder / "worker.log"
    send(crew, "many", 45_000)
    crew.settled()

    assert Counter(sizes(crew, "many")) == Counter({5000: 9})
    until(lambda: "flushed.many" in log.read_text(), "the body ran")
    assert crew.store.redis.smembers("candlefleet:flushes:many") == set()


def test_many_small_writes_cost_few_messages(crew):
    log = crew.folder / "worker.log"
    before = log.read_text().count("Task deliver.tens[")
    send(crew, "tens", 1000)
    crew.settled()
    assert sizes(crew, "tens")[-100:] == [10] * 100
    assert log.read_text().count("Task deliver.tens[") - before <= 6


@pytest.fixture
def elsewhere(crew) -> Iterator[dict[str, str]]:
    """Give the environment of a fleet of the same routes with another Redis, and another broker."""
    url = crew.url.removesuffix("0") + "1"
    with broker_of_the_run(url) as broker:
        yield crew.environment | urls(broker, url)


def test_a_clean_stop_leaves_pending_points_for_the_next_start(crew, elsewhere, tmp_path):
    worker = [*CELERY, "worker", "-Q", "router,maint,destinations.thousands", "-c", "1", *QUIET]
    before = len(writes(crew, "thousands"))
    with configured(elsewhere), contextlib.closing(Producer()) as producer:
        store = producer._store
        with running(worker, tmp_path / "first.log", elsewhere):
            producer.send_batch(make_frame(3, source="thousands"))
            until(lambda: report(store).owed == 3, "they wait for their batch")
        found = report(store)
        assert (found.owed, found.routes[0].pending, found.broken) == (3, 3, [])
        assert len(writes(crew, "thousands")) == before

        producer.flush_batches()
        with running(worker, tmp_path / "second.log", elsewhere):
            until(lambda: report(store).at_rest, "the next start delivers them")
    assert sizes(crew, "thousands")[before:] == [3]


# -- failures in the middle of a part ----------------------------------------------------------------


def test_a_write_that_fails_does_not_repeat_those_before_it(crew):
    symbols = [f"S{n}" for n in range(30)]
    symbols[15] = "BAD"
    send(crew, "fails_at", symbols)
    crew.settled()

    assert [write.symbols for write in writes(crew, "fails_at")] == [
        symbols[:10],
        symbols[10:20],
        symbols[10:20],
        symbols[20:],
    ]
    assert [row["symbol"] for row in crew.rows("fails_at")] == symbols
    assert crew.letters("fails_at") == []


def test_retries_exhausted_bury_the_write_that_failed_and_the_others_go_on(crew):
    (crew.exports / "sealed.TransientError").touch()
    send(crew, "sealed", list("ABCDEFGHIJ"))
    until(lambda: len(crew.letters("sealed")) == 4, "the first write is given up")
    (crew.exports / "sealed.TransientError").unlink()
    crew.settled()

    dead = crew.letters("sealed")
    written = [symbol for write in writes(crew, "sealed") for symbol in write.symbols]
    assert sorted([letter["original"]["symbol"] for letter in dead] + written) == list("ABCDEFGHIJ")
    assert {letter["attempts"] for letter in dead} <= {1, 2}
    assert {letter["reasons"][0]["code"] for letter in dead} == {"retries.exhausted"}


# -- limits ------------------------------------------------------------------------------------------


def most_in_a_second(found: list[Write]) -> int:
    return max(sum(len(w.symbols) for w in found if first.at <= w.at <= first.at + 1) for first in found)


@pytest.mark.parametrize(("name", "limit", "points"), [("limited", 200, 1000), ("limited_tens", 100, 500)])
def test_a_limit_holds_in_every_second(crew, name, limit, points):
    send(crew, name, points)
    crew.settled()

    found = writes(crew, name)
    assert sum(len(write.symbols) for write in found) == points
    assert max(len(write.symbols) for write in found) <= limit
    assert most_in_a_second(found) <= 2.1 * limit


def test_batches_of_a_limited_route_are_full(crew):
    assert set(sizes(crew, "limited_tens")) == {50}


# -- outages -----------------------------------------------------------------------------------------


def test_a_destination_that_is_away_is_left_alone_and_resumes_by_itself(crew):
    (crew.exports / "away.UnavailableError").touch()
    for _ in range(5):
        send(crew, "away", 3)
    until(lambda: len(writes(crew, "away", "asked")) >= 4, "it was probed")
    assert set(crew.store.snapshot()["paused"]) == {"away"}
    said = run([*CANDLEFLEET, "status"], crew.environment, crew.folder)
    assert "away is paused" in said.stdout
    assert "UnavailableError: as told" in said.stdout
    send(crew, "there", 5)
    until(lambda: sizes(crew, "there") == [5], "others go on")

    (crew.exports / "away.UnavailableError").unlink()
    crew.settled()

    assert sum(sizes(crew, "away")) == 15
    assert crew.letters("away") == []
    assert crew.store.snapshot()["paused"] == {}


# -- priorities --------------------------------------------------------------------------------------


def test_urgent_routes_of_a_destination_are_served_first(crew):
    (crew.exports / "served.UnavailableError").touch()
    symbols = ["LOW", "NORMAL", "HIGH"]
    send(crew, "served", symbols)
    until(lambda: writes(crew, "served", "asked"), "the destination is away")
    for _ in range(6):
        send(crew, "served", [symbol for symbol in symbols for _ in range(2)])
    (crew.exports / "served.UnavailableError").unlink()
    crew.settled()

    ends = {
        route: max(w.at for w in writes(crew, "served") if w.route == route)
        for route in ("high", "normal", "low")
    }
    assert ends["high"] <= ends["normal"] <= ends["low"] + 0.2
