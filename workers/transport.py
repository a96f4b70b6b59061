"""Celery's Redis transport, mended so that a connection lost during an acknowledgement costs nothing.

Without it one TCP reset while a worker acknowledges leaks a prefetch slot for good: with a concurrency
and a prefetch of 1 the worker stays up and consumes nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual


class SlotFreeingQoS(redis.QoS):
    """Frees the prefetch slot of a message even when Redis could not be told that it was acknowledged."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; on a lost connection the slot is free and the error goes on."""
        with self._slot_freed(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject a message; on a lost connection the slot is free and the error goes on."""
        with self._slot_freed(delivery_tag):
            super().reject(delivery_tag, requeue)

    @contextmanager
    def _slot_freed(self, delivery_tag: str) -> Iterator[None]:
        try:
            yield
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """A channel with the mended acknowledgement."""

    QoS: Any = SlotFreeingQoS


class Transport(redis.Transport):
    """The transport behind `redis://` URLs once `install` was called."""

    Channel: Any = Channel


def install() -> None:
    """Serve `redis://` and `rediss://` by this transport; the scheme stays, for Flower knows no other."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
