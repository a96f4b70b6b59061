"""A real fleet that writes to a real RabbitMQ and a real Redis, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from router import NormalizedDataPoint
from tests.acceptance.fleet_fixture import Crew, crew_at_work, pool, until
from tests.make import make_point
from tests.servers.rabbitmq import PASSWORD, RabbitMQ, make_queue, own_rabbitmq, taken
from tests.servers.redis import Redis, own_redis

ROUTES = Path(__file__).with_name("queues_fleet.yaml")


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """Give a RabbitMQ that may be killed, with a queue for every symbol but LOST."""
    with own_rabbitmq() as its_own:
        for symbol in ("GOOD", "LATER"):
            make_queue(its_own.url, "bars", f"*.{symbol}.*")
        yield its_own


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """Give a Redis that may be killed."""
    with own_redis() as its_own:
        yield its_own


@pytest.fixture(scope="module")
def writers(rabbitmq: RabbitMQ, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `queues_fleet.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARS_RABBITMQ", rabbitmq.url)
        patch.setenv("BARS_REDIS", redis.url)
        with crew_at_work(tmp_path_factory.mktemp("writers"), ROUTES) as at_work:
            yield at_work


def make_points(source: str, rows: int = 450, **changes) -> list[NormalizedDataPoint]:
    return [make_point(row=row, source=source, **{"symbol": "GOOD"} | changes) for row in range(rows)]


def queued(rabbitmq: RabbitMQ, source: str) -> list[float]:
    """Return the closing prices of a source in the queue, each message id once."""
    once = {message.properties["message_id"]: message.body for message in taken(rabbitmq.url, "bars")}
    return closes(source, once.values())


def streamed(redis: Redis, source: str) -> list[float]:
    """Return the closing prices of a source in the stream."""
    with redis.client() as client:
        return closes(source, [entry["point"] for _, entry in client.xrange("bars")])


def closes(source: str, texts) -> list[float]:
    return [point["close"] for point in map(json.loads, texts) if point["source"] == source]


def test_points_arrive_in_both_and_the_stream_is_on_record(writers, rabbitmq, redis, candlefleet):
    points = make_points("plain")

    writers.deliver(points)

    assert queued(rabbitmq, "plain") == streamed(redis, "plain") == [point.close for point in points]
    assert writers.route("stream").written == writers.route("stream").delivered
    assert candlefleet("audit", environment=writers.environment).code == 0


def test_points_that_no_queue_is_bound_for_are_dead_letters_until_one_is(writers, rabbitmq, candlefleet):
    points = [make_point(row=row, source="odd", symbol="LOST" if row == 37 else "GOOD") for row in range(100)]

    writers.deliver(points)

    (letter,) = writers.letters("exchange")
    assert (letter["row"], letter["reasons"][0]["code"]) == (37, "destination.refused")
    assert "no queue is bound for the key 'crypto.LOST.1m'" in letter["reasons"][0]["message"]
    assert len(queued(rabbitmq, "odd")) == 99
    make_queue(rabbitmq.url, "bars", "*.LOST.*")
    assert (
        candlefleet("dead-letters", "replay", "--route", "exchange", environment=writers.environment).code
        == 0
    )
    until(lambda: len(queued(rabbitmq, "odd")) == 100, "the point is in the queue")
    writers.settled()
    assert writers.letters("exchange") == []


def test_workers_killed_while_they_write_leave_every_row(writers, rabbitmq, redis):
    points = make_points("killed", 3000)
    writers.producer.send_batch(points)
    until(lambda: streamed(redis, "killed"), "a worker is in mid-write")
    for child in pool(writers.pid):
        os.kill(child, signal.SIGKILL)
    writers.settled()
    assert streamed(redis, "killed") == [point.close for point in points]
    assert sorted(queued(rabbitmq, "killed")) == [point.close for point in points]


@pytest.mark.parametrize("which", ["rabbitmq", "redis"])
def test_a_server_that_is_away_is_waited_for_and_costs_no_point(writers, rabbitmq, redis, request, which):
    points, server = make_points(f"{which} away"), request.getfixturevalue(which)
    server.kill()
    try:
        writers.producer.send_batch(points)
        (pause,) = until(lambda: writers.report().paused, "the destination is paused")
        assert "start the server" in pause.error
        assert PASSWORD not in pause.error
    finally:
        server.start()
    writers.settled()
    assert streamed(redis, f"{which} away") == [point.close for point in points]
    assert sorted(queued(rabbitmq, f"{which} away")) == [point.close for point in points]
    assert writers.letters("exchange") == writers.letters("stream") == []


def test_the_password_is_in_no_log(writers, candlefleet):
    said = [
        candlefleet(*words, environment=writers.environment).out for words in (["status"], ["routes", "list"])
    ]
    said += [log.read_text() for log in writers.folder.glob("*.log")]
    assert PASSWORD not in "".join(said)
