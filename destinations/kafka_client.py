"""Make a producer whose failures say their cause, which kafka-python only logs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaProducer, errors
from kafka.future import Future
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

#: Everything waits in one write until it is flushed: there is nothing to gain by sending small batches.
DEFAULTS: Final = {"client_id": "candlefleet", "linger_ms": 50, "batch_size": 1 << 18}

#: No other broker of the cluster would let this user in: asking on could lock the account.
_LOGIN: Final = (
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
)
#: They write every request to the log, and the password is in one of them.
_TALKATIVE: Final = ("kafka.net.connection", "kafka.protocol.parser")


@dataclass
class Cause:
    """Why a connection or a request failed, the last that did."""

    error: BaseException | None = None

    def of(self, error: BaseException) -> BaseException:
        """Return the cause of an error of the client that does not say it; else the error."""
        vague = type(error) in (errors.KafkaError, errors.KafkaTimeoutError)
        return self.error if vague and self.error is not None else error


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    """Connections that end in time, and note why they failed."""

    def __init__(self, net: NetworkSelector, cause: Cause, **configs: Any) -> None:
        super().__init__(net, **configs)
        self._selector, self._cause = net, cause

    def get_connection(self, node_id: Any, timeout_ms: float | None = None, **options: Any) -> Any:
        """Return a connection, which may be on its way.

        Raises:
            KafkaError: The brokers do not let this user in.
        """
        if self.cluster.is_bootstrap(node_id) and isinstance(self._cause.error, _LOGIN):
            raise self._cause.error
        known = node_id in self._conns
        connection = super().get_connection(node_id, timeout_ms=timeout_ms, **options)
        if not known:
            connection.init_future.add_errback(self._note)
            self._end_in_time(connection, timeout_ms or self.socket_connection_setup_timeout_ms(node_id))
        return connection

    # A server that is silent in the TLS handshake would be waited for without end.
    def _end_in_time(self, connection: Any, timeout_ms: float) -> None:
        def end() -> None:
            if not connection.init_future.is_done:
                connection.close(errors.KafkaTimeoutError("the server says nothing"))

        timer = self._selector.call_at(time.monotonic() + timeout_ms / 1000, end)
        connection.init_future.add_both(lambda _: self._selector.cancel(timer))

    def _note(self, error: BaseException) -> None:
        if isinstance(error, KeyError):  # what the client's SCRAM makes of a refusal
            error = errors.SaslAuthenticationFailedError("the brokers do not know user and password")
        self._cause.error = error


class _Client(KafkaNetClient):  # type: ignore[misc]
    """A client that notes what is answered to its requests."""

    def __init__(self, cause: Cause, **configs: Any) -> None:
        net = NetworkSelector(**configs)
        super().__init__(net, _Connections(net, cause, **configs))
        self._cause = cause

    def send(self, node_id: Any, request: Any, **options: Any) -> Future:
        """Send a request, and note its fate."""
        future = super().send(node_id, request, **options)
        future.add_callback(self._note)
        return future

    def _note(self, answer: Any) -> None:
        codes = [
            partition.error_code
            for topic in getattr(answer, "responses", ())
            for partition in getattr(topic, "partition_responses", ())
        ]
        code = next(filter(None, [*codes, getattr(answer, "error_code", 0)]), 0)
        if code:
            self._cause.error = errors.for_code(code)()


def made_producer(settings: Mapping[str, Any], cause: Cause) -> KafkaProducer:
    """Return a connected producer; where it cannot be made, its connections are closed.

    Args:
        settings: Of the client.
        cause: Where it notes why something failed.

    Raises:
        KafkaError: The cause, where one is known.
    """
    if str(settings.get("security_protocol")).startswith("SASL"):
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_without_requests)
    clients: list[_Client] = []

    def remembered(**options: Any) -> _Client:
        clients.append(_Client(cause, **options))
        return clients[-1]

    try:
        return KafkaProducer(**settings, kafka_client=remembered)
    except BaseException as error:
        for client in clients:
            client.close()
        raise cause.of(error) from None


def _without_requests(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
