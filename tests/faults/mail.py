"""The messages that wait in the queues of a fleet, taken out and put back: over Redis or RabbitMQ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from amqp import Message
from kombu import Connection

from tests.make_messages import as_amqp
from workers.store import Store

#: Celery keeps a list for each priority: a queue's name and, for all but the highest, one of these.
PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")


class Mail(Protocol):
    """What lies in the queues."""

    def take(self, name: str) -> list[Any]:
        """Take all messages that wait in a queue."""
        raise NotImplementedError

    def put(self, messages: Sequence[Any]) -> None:
        """Put messages where they were taken from, in this order."""
        raise NotImplementedError

    def push(self, name: str, raw: bytes) -> None:
        """Send what a list of Redis holds of a message, as whoever knows no better."""
        raise NotImplementedError


class RedisMail(Mail):
    """Messages in the lists of a Redis."""

    def __init__(self, store: Store) -> None:
        self._redis = store.redis

    def take(self, name: str) -> list[Any]:
        lists = [name + priority for priority in PRIORITIES]
        with self._redis.pipeline() as pipe:
            for key in lists:
                pipe.lrange(key, 0, -1)
            pipe.delete(*lists)
            found = pipe.execute()
        return [(key, raw) for key, raws in zip(lists, found, strict=False) for raw in reversed(raws)]

    def put(self, messages: Sequence[Any]) -> None:
        for key, raw in messages:
            self._redis.lpush(key, raw)

    def push(self, name: str, raw: bytes) -> None:
        self._redis.lpush(name, raw)


class RabbitMail(Mail):
    """Messages in the queues of a RabbitMQ."""

    def __init__(self, url: str) -> None:
        self._url = url

    def take(self, name: str) -> list[Any]:
        with Connection(self._url) as connection, connection.channel() as channel:
            found = iter(lambda: channel.basic_get(name, no_ack=True), None)
            return [(name, bytes_of(one.body), dict(one.properties)) for one in found]

    def put(self, messages: Sequence[Any]) -> None:
        with Connection(self._url) as connection, connection.channel() as channel:
            for name, body, properties in messages:
                message = Message(body, **properties)
                channel.basic_publish(message, exchange="", routing_key=name)

    def push(self, name: str, raw: bytes) -> None:
        said = as_amqp(raw)
        assert said is not None, "no message of AMQP says this"
        body, properties = said
        with Connection(self._url) as connection, connection.channel() as channel:
            channel.basic_publish(channel.prepare_message(body, **properties), exchange="", routing_key=name)


def bytes_of(body: Any) -> bytes:
    """Return the body of a message as py-amqp is to send it."""
    return body.encode() if isinstance(body, str) else bytes(body)
