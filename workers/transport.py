"""Celery's Redis transport, mended: neither a connection lost at the wrong moment nor a stranger can stop it.

Without the first one TCP reset while a worker acknowledges leaks a prefetch slot for good: with a concurrency
and a prefetch of 1 the worker stays up and consumes nothing any more. Without the second any message that is
not what Celery expects ends the worker, and a kill between taking a message and noting it loses the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from queue import Empty, Full
from time import monotonic
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis import OutOfMemoryError

from router.errors import ConfigError, FleetUnreachableError
from workers.door import Door
from workers.envelope import QUEUE
from workers.store import Store

#: Seconds between two looks for less urgent messages, and between two looks while there is no room.
LOOK: Final = 1.0


class SlotFreeingQoS(redis.QoS):
    """Frees the prefetch slot of a message even when Redis could not be told that it was acknowledged."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note that a message is in hand, unless Redis has that note already."""
        if delivery_tag == self.channel.noted:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

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
    """A channel with the mended acknowledgement, which lets foreign messages in through a `Door`.

    Kombu waits for messages with BRPOP, which takes them. Here BLMOVE from the end of the list to the same
    end waits and takes nothing: it answers with the message that comes next.
    """

    QoS: Any = SlotFreeingQoS
    noted = ""  #: the tag of the message that the door took last
    _in_poll: Any = None
    _brpop_sent_at: Any = None
    _looking = False
    _rests_until = 0.0

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """Start a consumer.

        Raises:
            ConfigError: ``queue.alone``: of the foreign messages and something else.
        """
        others = {*self.active_queues, queue} - self._fanout_queues.keys()
        if QUEUE in others and len(others) > 1:
            raise ConfigError("queue.alone", QUEUE, "foreign messages need a worker of their own: -Q points")
        return super().basic_consume(queue, *args, **kwargs)

    @cached_property
    def _door(self) -> Door:
        return Door(
            Store(self._create_client()),
            [self._q_for_pri(QUEUE, priority) for priority in self.priority_steps],
            held=self.unacked_key,
            order=self.unacked_index_key,
            patience=self.visibility_timeout / 2,
        )

    def _brpop_start(self, timeout: float | None = None) -> None:
        self._looking = QUEUE in self.active_queues
        if not self._looking:
            super()._brpop_start(timeout)
        elif monotonic() >= self._rests_until:
            self._in_poll, self._brpop_sent_at = self.client.connection, monotonic()
            self._in_poll.send_command("BLMOVE", QUEUE, QUEUE, "RIGHT", "RIGHT", LOOK)

    def _brpop_read(self, **options: Any) -> bool:
        if not self._looking:
            return bool(super()._brpop_read(**options))
        try:
            raw = self._seen()
            message = self._door.take(raw) if QUEUE in self.active_queues and not self._closing else None
        except Full:
            message, self._rests_until = None, monotonic() + LOOK
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if message is None:
            raise Empty
        self.noted = message["properties"]["delivery_tag"]
        self.connection._deliver(message, QUEUE)
        return True

    def _seen(self) -> bytes | None:
        try:
            found: bytes | None = self.client.parse_response(self.client.connection, "BLMOVE")
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        except OutOfMemoryError:  # a full Redis moves nothing, not even to where it was
            self._rests_until = monotonic() + LOOK
            return None
        return found


class Transport(redis.Transport):
    """The transport behind `redis://` URLs once `install` was called."""

    Channel: Any = Channel
    connection_errors = (*redis.Transport.connection_errors, FleetUnreachableError)


def install() -> None:
    """Serve `redis://` and `rediss://` by this transport; the scheme stays, for Flower knows no other."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
