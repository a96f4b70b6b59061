"""The broker's queues, for those who send to the fleet or look at it without being part of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue


def client(url: str) -> Celery:
    """Return an application that sends messages to the fleet at a broker, and is not the current one."""
    sender = Celery("candlefleet-client", set_as_current=False)
    sender.config_from_object("celeryconfig")
    sender.conf.update(broker_url=url, result_backend=None)
    return sender


def queue(name: str) -> Queue:
    """Return a queue of the fleet, with an exchange of its own so that nothing else is routed to it."""
    return Queue(name, Exchange(name), routing_key=name)


def messages(app: Celery, names: Iterable[str]) -> dict[str, int]:
    """Return how many messages wait in each queue; those a worker holds already are not among them."""
    with app.connection_for_read() as connection:
        return {name: _length(connection, name) for name in names}


def _length(connection: Any, name: str) -> int:
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
    except connection.channel_errors:  # a Redis list that is empty does not exist
        return 0
