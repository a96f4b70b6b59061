"""Publish many messages to RabbitMQ at once, and wait until it has confirmed every one."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import amqp
from amqp import exceptions as answers

from destinations.queue_url import QueueServer
from destinations.tls import connecting_hint, see_files
from router.errors import ConfigError, DestinationError, TerminalError, TransientError, UnavailableError

PORTS: Final = {"amqp": 5672, "amqps": 5671}
#: So many messages may be on their way without a confirm.
_WINDOW: Final = 10_000

_FAILED: Final = (answers.AMQPError, OSError, ssl.SSLError)

#: By the code of the answer: what it means for the points, and what to do.
#: Source: AMQP 0-9-1 specification, section 1.2.
_MEANINGS: Final[Mapping[int, tuple[type[DestinationError], str]]] = {
    320: (TransientError, ""),  # connection forced: the server is told to stop
    403: (UnavailableError, "mend user and password in url, or grant the user write and configure"),
    404: (UnavailableError, "make what is missing, or mend its name"),
    406: (TerminalError, "raise its max_message_size, then `candlefleet dead-letters replay`"),
    530: (UnavailableError, "make the virtual host, mend its name in url, or give this user access to it"),
}

#: What the server says, under a code that means something else, where there are too many clients already.
_LIMIT: Final = re.compile(r"limit (of )?\(\d+\)")


@dataclass(frozen=True, slots=True)
class ExchangePlace:
    """One exchange of one server; `str` tells people which."""

    server: QueueServer
    exchange: str

    def __str__(self) -> str:
        return f"{self.server}, exchange {self.exchange}"


class Message(NamedTuple):
    """What is published under a routing key."""

    key: str
    content: amqp.Message


@dataclass
class _Unconfirmed:
    """Which of the messages sent are not confirmed yet, by delivery tag, and what became of the others."""

    waiting: dict[int, int] = field(default_factory=dict)
    refused: int = 0

    def acked(self, tag: int, multiple: bool) -> None:
        self._take(tag, multiple)

    def nacked(self, tag: int, multiple: bool) -> None:
        self.refused += self._take(tag, multiple)

    # Tags ascend, so that all those up to one are the first.
    def _take(self, tag: int, multiple: bool) -> int:
        if not multiple:
            return int(self.waiting.pop(tag, None) is not None)
        before = len(self.waiting)
        while self.waiting and (first := next(iter(self.waiting))) <= tag:
            del self.waiting[first]
        return before - len(self.waiting)


class Publisher:
    """One connection, with a channel on which everything is confirmed.

    Args:
        place: Where to connect, and the exchange.
        tls: Options of Python's TLS for ``amqps``, as py-amqp takes them.
        timeout: Seconds that connecting, or waiting for the next confirm, may take.
    """

    def __init__(self, place: ExchangePlace, tls: Mapping[str, Any], timeout: float) -> None:
        """Connect.

        Raises:
            UnavailableError: No connection, or no permission; the message says what to do.
        """
        server = place.server
        self._place = place
        self._timeout = timeout
        self._blocked = False
        self._sent = 0
        self._unconfirmed = _Unconfirmed()
        self._returned: list[tuple[str, str]] = []
        self._connection = amqp.Connection(
            server.address,
            userid=server.user or "guest",
            password=server.password or "guest",
            login_method="PLAIN",
            virtual_host=_virtual_host(server),
            ssl={"server_hostname": server.host, **tls} if server.scheme == "amqps" else False,
            connect_timeout=timeout,
            read_timeout=timeout,
            write_timeout=timeout,
            heartbeat=0,  # nobody would send them while a worker has nothing to write
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
        )
        see_files(tls, place)
        with self._errors(connecting=True):
            self._connection.connect()
            self._channel = self._connection.channel()

    # -- the exchange ---------------------------------------------------------------------------

    def find_exchange(self, *, declare: bool) -> None:
        """Make a durable topic exchange, or see that there is one.

        Raises:
            ConfigError: `exchange.type`, if there is one of another type or with other arguments.
            UnavailableError: There is none, and it may not be made.
        """
        with self._errors(connecting=True):
            if declare:
                self._declare(self._place.exchange)
            else:
                self._channel.exchange_declare(self._place.exchange, "topic", passive=True)
            self._confirm()

    def _declare(self, name: str) -> None:
        try:
            self._channel.exchange_declare(name, "topic", durable=True, auto_delete=False)
        except answers.PreconditionFailed as error:
            message = (
                f"{self._place}: {error.reply_text}: name another exchange, delete this one, or pass"
                " declare=False if it is as you want it"
            )
            raise ConfigError("exchange.type", "exchange", message) from error
        except answers.AccessRefused:  # a user who may only write
            self._channel = self._connection.channel()
            self._channel.exchange_declare(name, "topic", passive=True)

    def _confirm(self) -> None:
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._on_ack)
        self._channel.events["basic_nack"].add(self._on_nack)
        self._channel.events["basic_return"].add(self._on_return)

    # -- publishing -----------------------------------------------------------------------------

    def publish(self, messages: Sequence[Message], *, mandatory: bool) -> list[tuple[str, str]]:
        """Publish messages and wait for the confirm of each.

        Returns:
            Message id and routing key of those that no queue is bound for; they are lost to the server.

        Raises:
            UnavailableError: The server blocks publishers, or the exchange or a permission is gone.
            TransientError: No answer in time, a lost connection, or a queue that is full.
            TerminalError: The server refuses some message, such as one larger than it takes.
        """
        self._unconfirmed, self._returned = _Unconfirmed(), []
        with self._errors():
            for message in messages:
                if len(self._unconfirmed.waiting) >= _WINDOW:
                    self._drain(_WINDOW // 2)
                self._sent += 1
                self._unconfirmed.waiting[self._sent] = self._sent
                self._channel.basic_publish(message.content, self._place.exchange, message.key, mandatory)
            self._drain(0)
        if refused := self._unconfirmed.refused:
            raise TransientError(
                f"{self._place}: {refused} of {len(messages)} messages were refused: a queue is full, so let"
                " its consumers catch up or raise its limit"
            )
        return self._returned

    def is_alive(self) -> bool:
        """Return whether the server has not ended the connection meanwhile, as far as is known here."""
        try:
            while True:
                self._connection.drain_events(timeout=0)
        except TimeoutError:
            return bool(self._connection.connected and self._channel.is_open)
        except _FAILED:
            return False

    def close(self) -> None:
        """Let go of the connection, without a word to a server that may not answer."""
        with suppress(*_FAILED):
            self._connection.collect()

    # Time starts anew with every answer: a server that is slow, but at work, is waited for.
    def _drain(self, most: int) -> None:
        ends = time.monotonic() + self._timeout
        while (left := len(self._unconfirmed.waiting)) > most:
            self._connection.drain_events(timeout=max(0.001, ends - time.monotonic()))
            if len(self._unconfirmed.waiting) < left:
                ends = time.monotonic() + self._timeout

    # -- what the server says -------------------------------------------------------------------

    def _on_blocked(self, _: str) -> None:
        self._blocked = True

    def _on_unblocked(self) -> None:
        self._blocked = False

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._unconfirmed.acked(tag, multiple)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._unconfirmed.nacked(tag, multiple)

    def _on_return(self, _: Exception, __: str, key: str, message: amqp.Message) -> None:
        self._returned.append((message.properties["message_id"], key))

    @contextmanager
    def _errors(self, *, connecting: bool = False) -> Iterator[None]:
        try:
            yield
        except _FAILED as error:
            self.close()
            said = getattr(error, "reply_text", None) or str(error) or type(error).__name__
            text = self._place.server.scrub(" ".join(str(said).split()))
            kind, hint = self._meaning(error, text, connecting=connecting)
            raise kind(f"{self._place}: {text}{f': {hint}' if hint else ''}") from error

    def _meaning(
        self, error: BaseException, said: str, *, connecting: bool
    ) -> tuple[type[DestinationError], str]:
        if self._blocked:
            return (
                UnavailableError,
                "it blocks publishers, for want of memory or disk: make room on the server",
            )
        if _LIMIT.search(said):
            return UnavailableError, "raise that limit, or run fewer workers"
        code: int = getattr(error, "reply_code", None) or 0
        kind, hint = _MEANINGS.get(code, (TransientError, ""))
        if not connecting:
            return kind, hint
        return UnavailableError, hint or connecting_hint(said, self._place.server.scheme)


def _virtual_host(server: QueueServer) -> str:
    return server.path[1:] or "/"
