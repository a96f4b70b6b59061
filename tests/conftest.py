"""The services that tests share: one of each for the session, started for the first test that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from router.errors import ConfigError
from tests.servers import postgres, rabbitmq
from tests.servers.postgres import own_postgres
from tests.servers.rabbitmq import own_rabbitmq
from workers.embedded import EmbeddedRedis
from workers.store import Store


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a Redis that belongs to this session alone."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("session"), memory=256 << 20)
    try:
        server.start()
    except ConfigError as error:
        if error.code != "embedded.missing" or "CI" in os.environ:
            raise
        pytest.skip(f"needs redis: {error.message}")
    yield server.url
    server.stop()


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """Give the store of a fleet that has not accepted anything yet."""
    fresh = Store.connect(redis_url)
    with closing(fresh.redis):
        fresh.redis.flushdb()
        yield fresh


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give the URL of a PostgreSQL, as SQLAlchemy takes it; tests name tables of their own in it."""
    if given := os.environ.get(postgres.GIVEN):
        yield given
        return
    with own_postgres() as server:
        yield server.url


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """Give the URL of a RabbitMQ, as kombu and Celery take it; tests name queues of their own in it."""
    if given := os.environ.get(rabbitmq.GIVEN):
        yield given
        return
    with own_rabbitmq() as server:
        yield server.url
