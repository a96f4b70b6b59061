"""The broker's queues, for those who send to the fleet or look at it without being part of it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from amqp import (
    AccessRefused,
    AMQPError,
    NotAllowed,
    PreconditionFailed,
)
from celery import Celery
from kombu.entity import Exchange, Queue

from destinations.rabbitmq_channel import PORTS
from router.errors import ConfigError, FleetUnreachableError
from router.route import RoutePriority
from workers.envelope import QUEUE
from workers.settings import settings

#: RabbitMQ's highest priority of a message, which is served first.
HIGHEST: Final = 9
#: Celery's priority of a message on Redis, where 0 is served first.
_ON_REDIS: Final = {RoutePriority.HIGH: 0, RoutePriority.NORMAL: 3, RoutePriority.LOW: 6}
_WHERE: Final = "CANDLEFLEET_BROKER_URL"


def client(url: str) -> Celery:
    """Return an application that sends messages to the fleet at a broker, and is not the current one."""
    sender = Celery("candlefleet-client", set_as_current=False)
    sender.config_from_object("celeryconfig")
    sender.conf.update(broker_url=url, result_backend=None, broker_transport_options=transport_options(url))
    return sender


def is_rabbitmq(url: str | None) -> bool:
    """Return whether a broker is a RabbitMQ, and not a Redis."""
    return (url or "").partition("://")[0].lower() in ("amqp", "amqps")


def transport_options(url: str | None) -> dict[str, Any]:
    """Return what Celery's connections to a broker are to be like."""
    if is_rabbitmq(url):
        return {"confirm_publish": True}
    return {
        "visibility_timeout": settings().visibility_timeout,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "queue_order_strategy": "priority",
    }


def priority(of: RoutePriority, url: str) -> int:
    """Return the priority of a route's messages: 0 is served first on Redis, 9 on RabbitMQ."""
    return HIGHEST - _ON_REDIS[of] if is_rabbitmq(url) else _ON_REDIS[of]


def queue(name: str) -> Queue:
    """Return a queue of the fleet, with an exchange of its own so that nothing else is routed to it.

    On RabbitMQ it is a durable classic queue with priorities. The one for other producers has none: theirs
    declare it as any Celery client does, and RabbitMQ refuses whoever declares it otherwise than the first.
    """
    highest = None if name == QUEUE else HIGHEST
    return Queue(name, Exchange(name), routing_key=name, max_priority=highest)


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


def check(url: str) -> None:
    """Find out whether a RabbitMQ lets the fleet in and have its queues; a Redis is checked by the store.

    Raises:
        ConfigError: ``broker.refused``, ``broker.vhost``, ``broker.queue``, ``broker.url``; the message says
            what to do.
        FleetUnreachableError: It does not answer.
    """
    if not is_rabbitmq(url):
        return
    parts = urlsplit(url)
    at, vhost = f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}", unquote(parts.path[1:]) or "/"
    if "ssl_" in parts.query:
        how = "leave out what follows the ? and name the CA in SSL_CERT_FILE"
        raise ConfigError("broker.url", _WHERE, f"{at}: options for TLS are not read from a URL: {how}")
    try:
        with (
            client(url) as app,
            app.connection_for_write(connect_timeout=5) as known,
            closing(known.transport.establish_connection()) as connection,  # which tries once
            connection.channel() as channel,
        ):
            queue("router")(channel).declare()
    except AccessRefused as error:
        raise ConfigError("broker.refused", _WHERE, _refused(at, vhost, parts.username, error)) from None
    except NotAllowed as error:
        how = f"make it with `rabbitmqctl add_vhost {vhost}` and let {parts.username or 'guest'} in with"
        how += f" `rabbitmqctl set_permissions -p {vhost} {parts.username or 'guest'} '.*' '.*' '.*'`"
        raise ConfigError("broker.vhost", _WHERE, f"{at}: {error.reply_text}: {how}") from None
    except PreconditionFailed as error:
        how = "delete that queue once it is empty, or give the fleet a virtual host of its own"
        raise ConfigError("broker.queue", _WHERE, f"{at}: {error.reply_text}: {how}") from None
    except UnicodeError as error:
        raise ConfigError("broker.url", _WHERE, f"{at}: {error}: mend the host in the URL") from None
    except (AMQPError, OSError) as error:
        how = f"start it, or mend {_WHERE}"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            how = (
                "name in SSL_CERT_FILE the CA that signed its certificate, and in the URL the host it is for"
            )
        said = f"RabbitMQ at {at} does not answer ({type(error).__name__}: {error}): {how}"
        raise FleetUnreachableError(said) from None


def _refused(at: str, vhost: str, user: str | None, error: AccessRefused) -> str:
    if "access to" in str(error.reply_text):
        how = f"`rabbitmqctl set_permissions -p {vhost} {user or 'guest'} '.*' '.*' '.*'` lets it"
        return f"{at}: {error.reply_text}: {how}"
    how = "mend the URL, with %XX for signs such as / and @"
    return f"{at} does not know the user {user or 'guest'!r} with this password: {how}"
