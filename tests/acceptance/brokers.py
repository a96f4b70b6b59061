"""Which broker the crews of the tests have: their Redis, or a virtual host of a RabbitMQ for each."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from ulid import ULID

if TYPE_CHECKING:
    from tests.servers.rabbitmq import RabbitMQ

#: `amqp`: every crew of this run has RabbitMQ as its broker.
SWITCH: Final = "CANDLEFLEET_TEST_BROKER"
_asked = os.environ.get(SWITCH)  # before anybody gives this process the settings of a fleet


def over_rabbitmq() -> bool:
    """Return whether this run was asked to have RabbitMQ as its broker."""
    return _asked == "amqp"


@cache
def rabbitmq() -> RabbitMQ:
    """Return the RabbitMQ of this process, which ends with it."""
    from tests.servers.rabbitmq import own_rabbitmq  # which waits as these tests do

    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(own_rabbitmq())


@contextlib.contextmanager
def virtual_host(server: RabbitMQ) -> Iterator[str]:
    """Give the URL of a virtual host of nobody else."""
    name = f"crew-{ULID()}"
    server.api("PUT", f"vhosts/{name}")
    yield server.url_for(vhost=name)
    server.api("DELETE", f"vhosts/{name}")


@contextlib.contextmanager
def broker_of_the_run(redis: str) -> Iterator[str]:
    """Give the URL of the broker for a crew with this Redis."""
    if not over_rabbitmq():
        yield redis
        return
    with virtual_host(rabbitmq()) as url:
        yield url
