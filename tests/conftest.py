"""What all tests share: their order, and one of each service, started for the first test that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

from router.errors import ConfigError
from tests.servers import influx, postgres, rabbitmq, redis
from tests.servers.influx import Access, own_influx
from tests.servers.kafka import kafka_at_hand
from tests.servers.postgres import own_postgres
from tests.servers.rabbitmq import own_rabbitmq
from workers.embedded import EmbeddedRedis
from workers.store import Store

# Consoles look for these first: a shell may export them, and readline does for whatever is started after it.
for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)

# A test never says anything about time: this machine may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

#: Folders whose tests take longest: they come first, so that processes that share the suite end together.
LONGEST_FIRST = [Path(__file__).parent / name for name in ("faults", "acceptance")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the folders; within one the tests stay as they were."""
    items.sort(key=lambda item: [folder not in item.path.parents for folder in LONGEST_FIRST])


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
def kafka_address() -> Iterator[str]:
    """Give the address of a Kafka broker; tests name topics of their own in it."""
    with kafka_at_hand() as address:
        yield address


@pytest.fixture(scope="session")
def influx_access() -> Iterator[Access]:
    """Give the way into a bucket of InfluxDB; tests name measurements of their own in it."""
    if found := influx.given():
        yield found
        return
    with own_influx() as server:
        yield server.access


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """Give the URL of a RabbitMQ, as kombu and Celery take it; tests name queues of their own in it."""
    if given := os.environ.get(rabbitmq.GIVEN):
        yield given
        return
    with own_rabbitmq() as server:
        yield server.url


@pytest.fixture(scope="session")
def streams_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a Redis for points; tests name streams of their own in it."""
    return os.environ.get(redis.GIVEN) or str(request.getfixturevalue("redis_url"))
