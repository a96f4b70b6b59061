"""What RabbitMQ is told and tells: priorities, options, and messages that cannot be unpacked."""

from __future__ import annotations

import json
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from amqp import Message, spec
from kombu import Connection

from router.route import RoutePriority
from workers import rabbitmq
from workers.broker import is_rabbitmq, priority, queue, transport_options
from workers.envelope import QUEUE, Envelope, as_listed, checked

REDIS, RABBITMQ = "redis://localhost/0", "amqp://localhost//"
BODY = json.dumps([[[{"symbol": "A"}]], {}, {}]).encode()
PROPERTIES = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "application_headers": {"task": "router.route_points", "id": "5f2e"},
}


def test_the_urgent_go_first_at_either_broker() -> None:
    levels = [RoutePriority.HIGH, RoutePriority.NORMAL, RoutePriority.LOW]
    assert [priority(level, REDIS) for level in levels] == [0, 3, 6]
    assert [priority(level, RABBITMQ) for level in levels] == [9, 6, 3]


def test_a_queue_has_priorities_unless_strangers_declare_it_too() -> None:
    assert queue("destinations.csv").max_priority == 9
    assert queue(QUEUE).max_priority is None


def test_what_is_sent_to_rabbitmq_is_confirmed_and_redis_keeps_its_options() -> None:
    assert transport_options(RABBITMQ) == {"confirm_publish": True}
    assert transport_options(REDIS)["visibility_timeout"] == 600
    assert transport_options(None) == transport_options(REDIS)


@pytest.mark.parametrize(
    ("url", "is_one"), [("amqps://h", True), ("AMQP://h", True), (REDIS, False), (None, False)]
)
def test_a_rabbitmq_is_told_by_its_scheme(url: str | None, is_one: bool) -> None:
    assert is_rabbitmq(url) is is_one


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
def test_urls_of_rabbitmq_are_served_by_the_mended_transport(scheme: str) -> None:
    with Connection(f"{scheme}://localhost") as connection:
        assert connection.transport.Connection is rabbitmq.Connection


# -- a message as it would lie in a list ----------------------------------------------------------


def test_a_message_of_amqp_says_what_one_of_redis_says() -> None:
    found = checked(as_listed(BODY, PROPERTIES))
    assert isinstance(found, Envelope)
    assert (found.task_id, found.points, found.body) == ("5f2e", 1, BODY.decode())


def test_a_compressed_body_is_inflated() -> None:
    import zlib

    headers = PROPERTIES["application_headers"] | {"compression": "application/x-gzip"}
    found = checked(as_listed(zlib.compress(BODY), PROPERTIES | {"application_headers": headers}))
    assert isinstance(found, Envelope)


@pytest.mark.parametrize(
    ("body", "properties", "code"),
    [
        (b"", {}, "envelope.shape"),
        (b"", PROPERTIES, "envelope.empty"),
        (b"\xff\xfe", PROPERTIES, "envelope.encoding"),
        (BODY, PROPERTIES | {"content_type": None}, "task.content_type"),
        (BODY, PROPERTIES | {"application_headers": {"task": b"\xff", "id": "1"}}, "task.unknown"),
        (BODY, PROPERTIES | {"application_headers": {"task": "x", "id": float("nan")}}, "envelope.shape"),
        (BODY, PROPERTIES | {"application_headers": {"task": "x", "id": "\ud800"}}, "task.unknown"),
    ],
)
def test_what_cannot_be_delivered_has_the_code_it_has_on_redis(
    body: bytes, properties: dict[str, Any], code: str
) -> None:
    assert checked(as_listed(body, properties)).code == code


# -- properties that cannot be unpacked -----------------------------------------------------------


def frames(header: bytes) -> Message:
    """Return the message that a connection makes of frames with this header."""
    received: list[Message] = []
    connection = SimpleNamespace(bytes_recv=0)
    on_frame = rabbitmq._guarded_frames(connection, lambda *told: received.append(told[3]))
    on_frame((1, 1, pack(">HH", *spec.Basic.Deliver)))
    on_frame((2, 1, header))
    on_frame((3, 1, b"body"))
    return received[0]


def header_of(message: Message) -> bytes:
    return pack(">HxxQ", 60, 4) + message._serialize_properties()


def test_properties_are_unpacked() -> None:
    message = frames(header_of(Message(b"body", content_type="text/plain")))
    assert (message.body, message.properties["content_type"]) == (b"body", "text/plain")


@pytest.mark.parametrize(
    "header",
    [
        header_of(Message(b"body", content_type=b"\xff\xfe")),
        header_of(Message(b"body", content_type="text/plain"))[:13],
        pack(">HxxQ", 60, 4) + pack(">HI", 0x2000, 3) + b"\x01a?",
        pack(">HxxQ", 60, 4) + pack(">HI", 0x2000, 9 * 5000) + b"\x01aF\x00\x00\x00\x7f" * 5000,
    ],
    ids=["not UTF-8", "cut", "a type nobody knows", "nested too deeply"],
)
def test_properties_that_cannot_be_unpacked_are_left_out(header: bytes) -> None:
    message = frames(header)
    assert (message.body, message.properties) == (b"body", {})
