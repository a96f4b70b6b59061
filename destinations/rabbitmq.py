"""Publish points to a topic exchange of RabbitMQ, each confirmed before the fleet lets go of it."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import amqp

from destinations.base import DataDestination
from destinations.messages import encode_values, row_names
from destinations.patterns import KeyPattern
from destinations.queue_url import QueueServer
from destinations.rabbitmq_channel import PORTS, ExchangePlace, Message, Publisher
from destinations.tls import checked_tls
from router.batch import PointBatch
from router.errors import ConfigError, TerminalError
from router.points import NormalizedDataPoint

_PERSISTENT: Final = 2
_LONGEST_KEY: Final = 255
_TLS: Final = ("ca_certs", "certfile", "keyfile", "ciphers", "server_hostname")
_INHERITED: Final[list[Publisher]] = []


class RabbitMQDestination(DataDestination):
    """One message a point, on a durable topic exchange, under a routing key made of the point's fields.

    Every message is persistent and confirmed, and is the JSON object of one point. A write whose answer was
    lost is published again: its copies carry one message id, ``<batch id>:<row>``. There is one connection,
    made by `open` and made again after it was lost; threads share it.

    Args:
        url: ``amqp://user:password@host:port/vhost``, or ``amqps`` for TLS.
        exchange: The exchange's name.
        routing_key: Fields between braces; a value is one word of the key, whatever is in it.
        mandatory: Whether a point that no queue is bound for is refused, or may vanish.
        declare: Whether the first `open` makes the exchange, or only sees that it is there.
        name: The destination's name, and its queue.
        timeout: Seconds that connecting, or the next answer, may take.
        tls: Options for ``amqps``, such as ``ca_certs``, ``certfile`` and ``keyfile``.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    def __init__(
        self,
        url: str,
        exchange: str = "candlefleet",
        routing_key: str = "{asset_class}.{symbol}.{timeframe}",
        *,
        mandatory: bool = True,
        declare: bool = True,
        name: str | None = None,
        timeout: float = 30.0,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(name=name)
        self._server = QueueServer(url, PORTS)
        if not 1 <= len(exchange.encode()) <= _LONGEST_KEY:
            raise ConfigError("exchange.name", "exchange", "an exchange's name has 1 to 255 bytes")
        self._keys = KeyPattern(routing_key, "routing_key", hidden=".", longest=_LONGEST_KEY)
        if not 1 <= timeout < math.inf:
            raise ConfigError("range", "timeout", f"{timeout!r} is not a number of seconds from 1 up")
        self._place = ExchangePlace(self._server, exchange)
        self._mandatory = mandatory
        self._declare = declare
        self._timeout = timeout
        self._tls = checked_tls(tls, self._server.scheme, _TLS)
        self._lock = threading.RLock()
        self._publisher: Publisher | None = None
        self._pid = 0

    # -- open and close -------------------------------------------------------------------------

    def open(self) -> None:
        """Connect; make the exchange, or check the one that is there.

        Raises:
            ConfigError: `exchange.type`: there is one of this name that is something else.
            UnavailableError: No connection, no permission; the message says to what, and what to do.
        """
        with self._lock:
            self.close()
            publisher = Publisher(self._place, self._tls, self._timeout)
            try:
                publisher.find_exchange(declare=self._declare)
            except BaseException:
                publisher.close()
                raise
            self._publisher, self._pid = publisher, os.getpid()
            self._declare = False  # were it made again, it would be without the queues that were bound

    def close(self) -> None:
        """Let go of the connection; twice is harmless. The next write connects again."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
            if publisher is not None and self._pid != os.getpid():
                _INHERITED.append(publisher)  # the parent's: it still talks through it
            elif publisher is not None:
                publisher.close()

    # -- writing --------------------------------------------------------------------------------

    def write_batch(self, batch: PointBatch) -> None:
        """Publish every row, and wait until each is confirmed.

        Raises:
            UnavailableError: No connection or permission, or the server blocks publishers.
            TransientError: A full queue, no answer in time, a lost connection; publish again.
            TerminalError: No queue is bound for some rows, all others being there; or some message is
                refused, and which is not known.
        """
        if not len(batch):
            return
        messages = encode_messages(batch, self._keys)
        with self._lock:
            try:
                returned = self._connected().publish(messages, mandatory=self._mandatory)
            except BaseException:
                self.close()
                raise
        if returned:
            raise self._unroutable(batch, dict(returned))

    def _connected(self) -> Publisher:
        if self._publisher is None or self._pid != os.getpid() or not self._publisher.is_alive():
            self.open()
        assert self._publisher is not None
        return self._publisher

    def _unroutable(self, batch: PointBatch, returned: Mapping[str, str]) -> TerminalError:
        rows = [row for row, name in enumerate(row_names(batch)) if name in returned]
        keys = sorted(set(returned.values()))
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        return TerminalError(
            f"{self._place}: no queue is bound for the key {keys[0]!r}{more}: bind one, then"
            " `candlefleet dead-letters replay`",
            rows,
        )

    # -- where ----------------------------------------------------------------------------------

    def place(self) -> str:
        """Return the server without its password, and the exchange."""
        return str(self._place)

    def target(self, point: NormalizedDataPoint) -> str:
        """Return the exchange and the routing key of a point."""
        return f"{self._place}, key {self._keys.keys(PointBatch.of([point]).frame)[0]}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place()})"


def encode_messages(batch: PointBatch, keys: KeyPattern) -> list[Message]:
    """Return one message a row, in order, but one for a row that the batch names twice."""
    messages: dict[str, Message] = {}
    now = int(time.time())
    frame = batch.frame
    for name, key, value in zip(row_names(batch), keys.keys(frame), encode_values(frame), strict=True):
        batch_id, _, row = name.rpartition(":")
        content = amqp.Message(
            value,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=_PERSISTENT,
            message_id=name,
            timestamp=now,
            application_headers={"batch": batch_id, "row": int(row), "route": batch.route_id or ""},
        )
        messages.setdefault(name, Message(key, content))
    return list(messages.values())
