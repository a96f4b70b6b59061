"""Write points as messages to a topic of Kafka, each under the name of its row."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import polars as pl
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.partitioner import murmur2

from destinations.base import DataDestination
from destinations.kafka_client import DEFAULTS, Cause, made_producer
from destinations.kafka_errors import TOO_LARGE, advice, meaning, said
from destinations.kafka_settings import (
    COMPRESSIONS,
    check_brokers,
    check_compression,
    check_settings,
    check_topic,
    secrets_of,
)
from destinations.messages import encode_values
from router.batch import PointBatch
from router.errors import ConfigError, TerminalError, TransientError, UnavailableError
from router.hidden import scrub
from router.names import nearest
from router.points import NormalizedDataPoint
from router.schema import COLUMNS

#: The fields of a point that may be the key of its message.
KEY_FIELDS: Final = tuple(name for name in COLUMNS if name != "technical_indicators")
#: What a message says of its row; copies of one row say the same.
HEADERS: Final = ("candlefleet-batch", "candlefleet-row", "candlefleet-route")


#: Key, value, headers, partition.
Message: TypeAlias = tuple[bytes | None, bytes, list[tuple[str, bytes]], int | None]


class KafkaDestination(DataDestination):
    """One message a point: its JSON as the value, one of its fields as the key.

    A write returns when all replicas have acknowledged every message. A repeat after a failed write or a
    killed worker may leave copies: the headers of copies are equal, and a reader drops all but the first.

    Args:
        brokers: Some of the cluster's, as ``host:port``.
        topic: Where all messages go.
        key_field: The field whose messages stay in order, in one partition; a null has no key.
        compression_type: ``gzip``, ``lz4``, ``snappy``, ``zstd`` or None.
        name: The destination's name, and its queue.
        timeout: Seconds until what is not acknowledged counts as failed.
        settings: Of `kafka.KafkaProducer`: security, sizes; not those that the promise rests on.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is connected before `open`.
    """

    def __init__(
        self,
        brokers: str | Sequence[str],
        topic: str,
        key_field: str = "symbol",
        compression_type: str | None = "gzip",
        *,
        name: str | None = None,
        timeout: float = 30.0,
        **settings: Any,
    ) -> None:
        """Check the arguments; nothing is connected."""
        super().__init__(name=name)
        self._brokers = check_brokers(brokers)
        self._topic = check_topic(topic)
        self._compression = check_compression(compression_type)
        self._settings = check_settings(settings)
        if key_field not in KEY_FIELDS:
            message = f"{key_field!r} cannot be the key, which is one of {', '.join(KEY_FIELDS)}"
            raise ConfigError("unknown_field", "key_field", message + nearest(str(key_field), KEY_FIELDS))
        self._key_field = key_field
        if not 1 <= timeout < math.inf:
            raise ConfigError("range", "timeout", f"{timeout!r} is not a number of seconds from 1 up")
        self._timeout = timeout
        self._lock = threading.RLock()
        self._producer: KafkaProducer | None = None
        self._pid = 0
        self._cause = Cause()

    # -- open and close -------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, and ask for the topic.

        Raises:
            ConfigError: A code of `check`.
            UnavailableError: No broker, no permission, no such topic; the message says what to do.
        """
        with self._lock:
            self.close()
            self.check()
            self._pid = os.getpid()
            try:
                self._cause = Cause()
                self._producer = made_producer(self._client_settings(), self._cause)
                self._producer.partitions_for(self._topic)
            except (KafkaError, OSError, ImportError, TypeError, ValueError) as error:
                cause = self._cause.of(error)
                hint = advice(cause, connected=self._producer is not None and cause is error)
                self.close()
                raise self._failed(UnavailableError, cause, hint) from self._shown(cause)

    def close(self) -> None:
        """Let go of the connection; twice is harmless. The next write connects again."""
        with self._lock:
            producer, self._producer = self._producer, None
            if producer is None:
                return
            if self._pid != os.getpid():  # the parent's: its thread is not here
                _INHERITED.append(producer)
                return
            with suppress(KafkaError):  # nothing is pending after a write but what has expired
                producer.close(timeout=min(self._timeout, 5.0))

    def check(self) -> None:
        """Refuse a compression whose package is not installed, and files of certificates that are not there.

        Raises:
            ConfigError: `compression.library`, `path.missing`.
        """
        for setting in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile"):
            path = self._settings.get(setting)
            if path is not None and not Path(path).is_file():
                raise ConfigError("path.missing", setting, f"there is no file {path}")
        if self._compression is not None and not COMPRESSIONS[self._compression]():
            message = f"{self._compression} is not installed: pip install 'candlefleet[kafka]'"
            raise ConfigError("compression.library", "compression_type", message)

    # -- writing --------------------------------------------------------------------------------

    def write_batch(self, batch: PointBatch) -> None:
        """Send every row, and wait until all are acknowledged.

        Raises:
            UnavailableError: No broker, no permission, no such topic, too few replicas.
            TransientError: A connection was lost, or some row was not acknowledged in time; write again.
            TerminalError: With rows: those are refused, all others are written. Without: the brokers took
                none, and which of them they mind is not known.
        """
        if not len(batch):
            return
        refused: dict[int, BaseException] = {}
        with self._lock:
            messages = self._messages(batch)
            failures = self._send(messages, refused)
            acknowledged = len(messages) - len(failures) - len(refused)
            if failures and not acknowledged and len(messages) > 1:
                raise self._failed(TerminalError, next(iter(failures.values())))
            self._sift(messages, failures, refused)
        if refused:
            message = f"{self.place()}: {said(next(iter(refused.values())))}"
            raise TerminalError(scrub(message, self._secrets()), sorted(refused))

    # A message that the brokers refuse takes along those that are on their way with it, named or not.
    def _sift(
        self,
        messages: Mapping[int, Message],
        failures: Mapping[int, BaseException],
        refused: dict[int, BaseException],
    ) -> None:
        if len(messages) == 1:
            refused |= failures
            return
        rows = list(failures)
        middle = (len(rows) + 1) // 2
        for some in filter(None, (rows[:middle], rows[middle:])):
            part = {row: messages[row] for row in some}
            self._sift(part, self._send(part, refused), refused)

    # Those that failed because some were refused. What is not acknowledged by the end, closing takes back.
    def _send(
        self, messages: Mapping[int, Message], refused: dict[int, BaseException]
    ) -> dict[int, BaseException]:
        producer, futures = self._opened(), {}
        for row, (key, value, headers, partition) in messages.items():
            try:
                futures[row] = producer.send(self._topic, value, key, headers, partition)
            except TOO_LARGE as error:
                refused[row] = error
            except (KafkaError, ValueError) as error:  # a ValueError: the partition is no longer there
                self._give_up(error)
        self._flush(producer, futures.values())
        late = KafkaTimeoutError("not acknowledged in time")
        failures = {
            row: self._cause.of(future.exception or late)
            for row, future in futures.items()
            if not future.succeeded()
        }
        if lost := [error for error in failures.values() if meaning(error) is not TerminalError]:
            self._give_up(lost[0])
        if failures:
            self.close()  # the client takes nothing after a refusal
        self._cause.error = None
        return failures

    def _opened(self) -> KafkaProducer:
        if self._producer is None or self._pid != os.getpid():
            self.open()
        return self._producer

    def _give_up(self, error: BaseException) -> NoReturn:
        self.close()
        cause = self._cause.of(error)
        raise self._failed(meaning(cause), cause) from self._shown(cause)

    # The client's flush comes back early where it has split what was too large for the brokers.
    def _flush(self, producer: KafkaProducer, futures: Iterable[Any]) -> None:
        ends = time.monotonic() + self._timeout * 2
        while not all(future.is_done for future in futures) and (left := ends - time.monotonic()) > 0:
            with suppress(KafkaError):
                producer.flush(left)

    def _messages(self, batch: PointBatch) -> dict[int, Message]:
        try:
            partitions = sorted(self._opened().partitions_for(self._topic))
        except KafkaError as error:
            self._give_up(error)
        keys = encode_keys(batch.frame, self._key_field)
        places = {key: None if key is None else place_of(key, partitions) for key in set(keys)}
        found = zip(keys, encode_values(batch.frame), row_headers(batch), map(places.get, keys), strict=True)
        return dict(enumerate(found))

    # -- where ----------------------------------------------------------------------------------

    def place(self) -> str:
        """Return the brokers and the topic."""
        return f"Kafka at {', '.join(self._brokers)}, topic {self._topic}"

    def target(self, point: NormalizedDataPoint) -> str:
        """Return the topic."""
        return self._topic

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place()})"

    # -- the client -----------------------------------------------------------------------------

    def _client_settings(self) -> dict[str, Any]:
        milliseconds = math.ceil(self._timeout * 1000)
        settings = {**DEFAULTS, **self._settings}
        return settings | {
            "bootstrap_servers": list(self._brokers),
            "compression_type": self._compression,
            "acks": "all",
            "enable_idempotence": True,
            "bootstrap_timeout_ms": milliseconds,
            "max_block_ms": milliseconds,
            "delivery_timeout_ms": milliseconds,
            "request_timeout_ms": milliseconds // 2,
        }

    def _failed(
        self, kind: type[Any], error: BaseException, hint: str = ""
    ) -> UnavailableError | TransientError | TerminalError:
        made: UnavailableError | TransientError | TerminalError
        made = kind(scrub(f"{self.place()}: {said(error, hint)}", self._secrets()))
        return made

    # A client that repeats a secret is not to be read in a traceback either.
    def _shown(self, error: BaseException) -> BaseException | None:
        return error if scrub(str(error), self._secrets()) == str(error) else None

    def _secrets(self) -> list[str]:
        return secrets_of(self._settings)


def encode_keys(frame: pl.DataFrame, field: str) -> list[bytes | None]:
    """Return the key of each point: its field as text, None for a null."""
    values = frame.get_column(field).to_list()
    keys = {value: None if value is None else _text(value).encode() for value in set(values)}
    return [keys[value] for value in values]


def place_of(key: bytes, partitions: Sequence[int]) -> int:
    """Return the partition of a key, the one that every Kafka client gives it by default."""
    number: int = murmur2(key) & 0x7FFFFFFF
    return partitions[number % len(partitions)]


def row_headers(batch: PointBatch) -> Iterator[list[tuple[str, bytes]]]:
    """Return what the message of each row says of it: accepted batch, row in that batch, route."""
    of_batch, of_row, of_route = HEADERS
    route = (of_route, (batch.route_id or "").encode())
    for part in batch.parts:
        accepted = (of_batch, part.batch_id.encode())
        for row in part.rows.positions.tolist():
            yield [accepted, (of_row, b"%d" % row), route]


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


_INHERITED: list[KafkaProducer] = []
