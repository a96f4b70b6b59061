"""A Kafka destination against a real broker: what arrives, what is refused, what an outage leaves."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ulid import ULID

from destinations import KafkaDestination
from router.batch import PointBatch
from router.errors import TerminalError, TransientError, UnavailableError
from tests.acceptance.fleet_fixture import running, until
from tests.faults.proxy import Proxy
from tests.make import make_batch, make_point
from tests.servers.kafka import Tansu, closes, guarded_kafka, messages, name_of, own_kafka, without_copies
from tests.servers.process import free_port

#: Indicators that make a large message.
MANY = {f"indicator_{number}": 1.5 for number in range(100)}

Make = Callable[..., KafkaDestination]


pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.usefixtures("sockets"),
]


@pytest.fixture
def topic() -> str:
    return f"bars-{ULID()}"


@pytest.fixture
def make() -> Iterator[Make]:
    """Give a maker of destinations, which are closed after the test."""
    with contextlib.ExitStack() as made:

        def new(*arguments, **options) -> KafkaDestination:
            destination = KafkaDestination(*arguments, **options)
            made.callback(destination.close)
            return destination

        yield new


@pytest.fixture(scope="module")
def server() -> Iterator[Tansu]:
    """Give a broker that may be killed."""
    with own_kafka() as its_own:
        yield its_own


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd", "snappy", None])
def test_a_consumer_of_any_make_reads_every_point(kafka_address, topic, make, compression):
    batch = make_batch(300, ["BTC/USDT", "ETH/USDT", "Ünïcode\n\"'/\U0001f4c8"], volume=None)
    make([kafka_address], topic, compression_type=compression).write_batch(batch)
    found = messages(kafka_address, topic)
    values = {json.loads(message.value())["close"]: json.loads(message.value()) for message in found}
    assert len(found) == 300
    for message in found:
        assert message.key().decode() == json.loads(message.value())["symbol"]
    assert [values[point.close]["volume"] for point in batch] == [None] * 300
    assert {len(value) for value in values.values()} == {13}


def test_messages_of_one_key_are_in_one_partition_in_the_order_written(kafka_address, topic, make):
    batch = make_batch(600, ["A", "B", "C", "D"])
    destination = make(kafka_address, topic)
    for start in range(0, 600, 70):
        destination.write_batch(batch.slice(start, start + 70))
    for symbol in "ABCD":
        found = [message for message in messages(kafka_address, topic) if message.key() == symbol.encode()]
        assert len({message.partition() for message in found}) == 1
        assert closes(found) == [point.close for point in batch if point.symbol == symbol]


def test_a_null_has_no_key_and_its_message_is_there(kafka_address, topic, make):
    make(kafka_address, topic, "volume").write_batch(make_batch(5, volume=None))
    assert [message.key() for message in messages(kafka_address, topic)] == [None] * 5


def test_rows_written_again_are_told_apart_by_their_headers(kafka_address, topic, make):
    batch = make_batch(10, batch_id="accepted")
    make(kafka_address, topic).write_batch(batch)
    make(kafka_address, topic).write_batch(batch.slice(3, 7))
    found = messages(kafka_address, topic)
    assert len(found) == 14
    assert len(without_copies(found)) == 10
    row = "candlefleet-batch=accepted", "candlefleet-row=3", "candlefleet-route=everything"
    assert [name_of(message) for message in found].count(row) == 2


def test_a_row_that_is_too_large_is_refused_alone(kafka_address, topic, make):
    points = [make_point(row=row, technical_indicators=MANY if row in (2, 5) else None) for row in range(8)]
    destination = make(kafka_address, topic, max_request_size=2000)
    with pytest.raises(TerminalError, match="MessageSizeTooLarge") as refused:
        destination.write_batch(PointBatch.of(points))
    assert refused.value.rows == (2, 5)
    assert len(messages(kafka_address, topic)) == 6
    destination.write_batch(make_batch(2))
    assert len(messages(kafka_address, topic)) == 8


def test_a_broker_that_is_not_there_is_named_and_waited_for(topic, make):
    destination = make(f"127.0.0.1:{free_port()}", topic, timeout=1)
    with pytest.raises(UnavailableError, match=r"Kafka at 127\.0\.0\.1:\d+, topic .*start a broker"):
        destination.write_batch(make_batch(1))


def test_a_server_that_says_nothing_is_given_up_after_the_time_limit(topic, make):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        destination = make(f"127.0.0.1:{silent.getsockname()[1]}", topic, timeout=1)
        with pytest.raises(UnavailableError, match="start a broker"):
            destination.open()


def test_a_broker_that_freezes_costs_an_attempt_and_the_rows_are_written_again(server, topic, make):
    destination = make(server.address, topic, timeout=1)
    destination.write_batch(make_batch(3, batch_id="before"))
    batch = make_batch(50)
    server.freeze()
    try:
        with pytest.raises(TransientError, match=f"topic {topic}"):
            destination.write_batch(batch)
    finally:
        server.thaw()
    destination.write_batch(batch)
    assert len(without_copies(messages(server.address, topic))) == 53


def test_a_broker_that_was_killed_is_written_to_when_it_is_back(server, topic, make):
    destination = make(server.address, topic, timeout=1)
    destination.write_batch(make_batch(3))
    batch = make_batch(50)
    server.kill()
    try:
        with pytest.raises(TransientError):
            destination.write_batch(batch)
        with pytest.raises(UnavailableError, match="start a broker"):
            destination.write_batch(batch)
    finally:
        server.start()
    destination.write_batch(batch)
    assert closes(messages(server.address, topic)) == [point.close for point in batch]


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Tansu, Proxy]]:
    """Give a broker that clients reach through a proxy alone."""
    with guarded_kafka() as both:
        yield both


@pytest.mark.parametrize("moment", ["before", "in", "after", "in the reply"])
def test_a_lost_answer_leaves_every_row_once(guarded, topic, make, moment):
    server, proxy = guarded
    destination = make(server.address, topic, compression_type=None)
    destination.write_batch(make_batch(5, ["needle"], batch_id="before"))
    batch = make_batch(200, ["needle"])
    cut = proxy.arm(b"needle", moment)
    destination.write_batch(batch)
    assert cut.done.is_set()
    found = messages(server.address, topic)
    assert len({name_of(message) for message in found}) == len(found) == 205


def test_the_reader_that_the_page_shows_gives_every_point_once(kafka_address, topic, make, tmp_path):
    root = Path(__file__).parents[2]
    script = root / "examples" / "read_kafka.py"
    assert script.read_text() in (root / "docs" / "destinations" / "kafka.md").read_text()
    batch, log = make_batch(60, ["A"]), tmp_path / "read"
    for part in (batch.slice(0, 40), batch.slice(20, 60)):
        make(kafka_address, topic).write_batch(part)
    with running([sys.executable, str(script), kafka_address, topic], log, os.environ):
        until(lambda: log.read_bytes().count(b"\n") >= 60, "the reader has read")
    assert [json.loads(line)["close"] for line in log.read_text().splitlines()] == [p.close for p in batch]
