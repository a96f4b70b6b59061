"""Celery's RabbitMQ transport, mended: no stranger can stop it, and no silence keeps a sender for ever.

Without the first a message in the queue for other producers that is not what Celery expects is thrown away,
or ends the worker while it is unpacked and comes back for the next one; without the second whoever sends to
a RabbitMQ that has frozen, or that is full, waits for its confirmation for good.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final

from amqp.basic_message import Message
from amqp.method_framing import frame_handler
from kombu.transport import TRANSPORT_ALIASES, pyamqp
from ulid import ULID

from router.errors import FleetError
from workers.door import judged, letter
from workers.envelope import QUEUE, Envelope, as_listed
from workers.records import Letter

logger = logging.getLogger(__name__)

#: Seconds that a message in hand may be put off; RabbitMQ takes back what is held for half an hour.
PATIENCE: Final = 300.0
#: Seconds to wait for the confirmation of what was sent.
CONFIRMED_WITHIN: Final = 10.0
#: Seconds until a malformed message is looked at again while there is no room for one more dead letter.
LOOK: Final = 1.0
#: The kind of a frame that holds a message's properties, and its length before them.
_HEADER, _BEFORE = 2, 12

Deliver = Callable[[Message], Any]


class Channel(pyamqp.Channel):
    """A channel that lets foreign messages in through a door, and waits for a confirmation so long."""

    def basic_consume(self, queue: str = "", *args: Any, callback: Deliver, **kwargs: Any) -> Any:
        """Start a consumer; what comes from the queue of foreign messages is checked first."""
        checked = partial(self._at_the_door, callback) if queue == QUEUE else callback
        return super().basic_consume(queue, *args, callback=checked, **kwargs)

    def basic_publish_confirm(self, *args: Any, confirm_timeout: float | None = None, **kwargs: Any) -> Any:
        """Send a message, and wait until RabbitMQ has it.

        Raises:
            TimeoutError: It did not say so; whoever sends again may send twice.
        """
        within = confirm_timeout or CONFIRMED_WITHIN
        return super().basic_publish_confirm(*args, confirm_timeout=within, **kwargs)

    def _at_the_door(self, deliver: Deliver, message: Message) -> None:
        raw = as_listed(message.body, message.properties)
        verdict = judged(raw, PATIENCE)
        if isinstance(verdict, Envelope):
            deliver(_anew(message, verdict))
        elif _buried(raw, letter(verdict, raw), again=message.delivery_info["redelivered"]):
            self.basic_ack(message.delivery_tag)
        else:  # it comes back at once, and before all others
            time.sleep(LOOK)
            self.basic_reject(message.delivery_tag, requeue=True)


# Burying and acknowledging are two steps: what comes again after a kill in between was buried already.
def _buried(raw: bytes, kept: Letter, *, again: bool) -> bool:
    from workers.tasks import store

    try:
        answer = store().bury(sha256(raw).hexdigest(), kept)
        if answer.verdict == "again" and not again:
            answer = store().bury(str(ULID()), kept)
    except FleetError as error:
        logger.warning("A malformed message has to wait.", extra={"error": str(error)})
        return False
    return answer.verdict != "busy"


def _anew(message: Message, envelope: Envelope) -> Message:
    written = envelope.message(str(message.delivery_tag))
    headers: Mapping[str, Any] = written["headers"]
    properties: Mapping[str, Any] = written["properties"]
    message.body = written["body"]
    message.properties = {
        "content_type": written["content-type"],
        "content_encoding": written["content-encoding"],
        "application_headers": headers,
        **{name: properties[name] for name in ("correlation_id", "delivery_mode", "priority")},
    }
    return message


# Properties that cannot be unpacked would end whoever reads them, and whoever is given the message next.
def _guarded_frames(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], Any]:
    on_frame = frame_handler(connection, callback)

    def guarded(frame: tuple[int, int, memoryview]) -> Any:
        kind, channel, data = frame
        return on_frame((kind, channel, _readable(data) if kind == _HEADER else data))

    return guarded


def _readable(data: Any) -> Any:
    try:
        Message().inbound_header(data)
    except Exception as error:
        logger.warning("Properties of a message left out: %s", type(error).__name__)
        return bytes(data[:_BEFORE]) + b"\0\0"
    return data


class Connection(pyamqp.Connection):
    """A connection with such channels, which no message's properties can break."""

    Channel: Any = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, frame_handler=_guarded_frames, **kwargs)


class Transport(pyamqp.Transport):
    """The transport behind `amqp://` URLs once `install` was called."""

    Connection: Any = Connection


class SSLTransport(pyamqp.SSLTransport):
    """The same behind `amqps://` URLs."""

    Connection: Any = Connection


def install() -> None:
    """Serve `amqp://` and `amqps://` by these transports; the schemes stay, for Flower knows no other."""
    TRANSPORT_ALIASES["amqp"] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:SSLTransport"
