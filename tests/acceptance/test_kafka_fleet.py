"""A real fleet that writes to a real broker of Kafka's protocol, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from router import NormalizedDataPoint
from tests.acceptance.fleet_fixture import Crew, crew_at_work, pool, until
from tests.faults.proxy import Proxy
from tests.make import make_point
from tests.servers.kafka import Tansu, closes, guarded_kafka, messages, without_copies

ROUTES = Path(__file__).with_name("kafka_fleet.yaml")
PASSWORD = "s3cr3t"
SYMBOLS = ("A", "B", "C")


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Tansu, Proxy]]:
    """Give a broker that may be killed, and the proxy that all its clients pass."""
    with guarded_kafka() as both:
        yield both


@pytest.fixture(scope="module")
def server(guarded: tuple[Tansu, Proxy]) -> Tansu:
    """Give the broker."""
    return guarded[0]


@pytest.fixture(scope="module")
def writers(server: Tansu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `kafka_fleet.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BARS_KAFKA", server.address)
        patch.setenv("BARS_PASSWORD", PASSWORD)
        with crew_at_work(tmp_path_factory.mktemp("writers"), ROUTES) as at_work:
            yield at_work


def make_points(source: str, rows: int = 450, **changes) -> list[NormalizedDataPoint]:
    return [make_point(row=row, source=source, symbol=SYMBOLS[row % 3], **changes) for row in range(rows)]


def written(server: Tansu, source: str) -> list[Message]:
    """Return the messages of a source as a reader has them that drops repeats."""
    found = without_copies(messages(server.address, "bars"))
    return [message for message in found if json.loads(message.value())["source"] == source]


def by_key(found: list[Message]) -> dict[str, list[float]]:
    """Return the closing prices of each key, as read."""
    return {
        symbol: closes([message for message in found if message.key() == symbol.encode()])
        for symbol in SYMBOLS
    }


def expected(points: list[NormalizedDataPoint]) -> dict[str, list[float]]:
    return {symbol: [point.close for point in points if point.symbol == symbol] for symbol in SYMBOLS}


def test_points_arrive_and_any_consumer_reads_them(writers, server, candlefleet):
    points = make_points("plain")

    writers.deliver(points)

    found = written(server, "plain")
    assert len(found) == 450
    assert by_key(found) == expected(points)
    assert candlefleet("audit", environment=writers.environment).code == 0


def test_a_worker_killed_in_mid_write_leaves_every_row_once_in_order_to_a_reader(writers, guarded):
    server, proxy = guarded
    points = make_points("killed")
    cut = proxy.arm(b'"killed"', "after")
    writers.producer.send_batch(points)
    assert cut.done.wait(60)  # the broker has rows, and the worker does not know
    for child in pool(writers.pid):
        os.kill(child, signal.SIGKILL)
    writers.settled()
    found = written(server, "killed")
    assert len(found) == 450
    assert by_key(found) == expected(points)


def test_a_row_that_is_too_large_is_found_and_buried_alone(writers, server):
    many = {f"indicator_{number}": 1.5 for number in range(200)}
    points = [
        make_point(row=row, source="odd", technical_indicators=many if row == 37 else None)
        for row in range(100)
    ]

    writers.deliver(points)

    (letter,) = writers.letters("stream")
    assert (letter["row"], letter["reasons"][0]["code"]) == (37, "destination.refused")
    assert "MessageSizeTooLarge" in letter["reasons"][0]["message"]
    assert len(written(server, "odd")) == 99


def test_a_broker_that_is_away_is_waited_for_and_costs_no_point(writers, server):
    points, before = make_points("away"), len(writers.letters("stream"))
    server.kill()
    try:
        writers.producer.send_batch(points)
        (pause,) = until(lambda: writers.report().paused, "the destination is paused")
        assert "start a broker" in pause.error
        assert server.address in pause.error
    finally:
        server.start()
    writers.settled()
    assert by_key(written(server, "away")) == expected(points)
    assert len(writers.letters("stream")) == before


def test_the_password_is_in_no_log_and_no_pause(writers, candlefleet):
    writers.producer.send_batch(make_points("guarded", 5))
    (pause,) = until(lambda: writers.report().paused, "the destination is paused")
    said = [
        candlefleet(*words, environment=writers.environment).out for words in (["status"], ["routes", "list"])
    ]
    said += [log.read_text() for log in writers.folder.glob("*.log")]
    assert "sasl_mechanism" in pause.error
    assert PASSWORD not in "".join([*said, pause.error])
