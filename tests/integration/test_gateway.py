"""What subscribers of a real gateway get, whatever happens to it, to its Redis, and to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from ulid import ULID

from destinations import WebSocketDestination
from tests.make import make_batch
from tests.servers.gateway import Gateway, own_gateway, subscriber
from tests.servers.redis import Redis, own_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """Give a Redis that may be killed."""
    with own_redis() as its_own:
        yield its_own


@pytest.fixture(scope="module")
def gateway(redis: Redis) -> Iterator[Gateway]:
    """Give a gateway that may be killed."""
    with own_gateway(redis.url) as its_own:
        yield its_own


@pytest.fixture
def live(redis: Redis) -> Iterator[WebSocketDestination]:
    """Give the destination whose points the gateway sends on."""
    with closing(WebSocketDestination(redis.url, keep=1_000_000)) as destination:
        yield destination


def symbols_of(points) -> list[str]:
    return [point["symbol"] for point in points]


def numbers_of(points) -> list[int]:
    return [point["seq"] for point in points]


def test_a_subscriber_gets_the_points_it_chose_and_no_others(gateway, live):
    a, b = f"A{ULID()}", f"é 文 {ULID()}"
    with subscriber(gateway) as everything, subscriber(gateway) as one, subscriber(gateway) as none:
        everything.subscribe()
        one.subscribe(symbols=[b], timeframes=["1m"])
        none.subscribe(symbols=[b], asset_classes=["equity"])
        live.write_batch(make_batch(10, [a, b]))
        found = everything.points(10)
        assert symbols_of(found) == [a, b] * 5
        assert numbers_of(found) == list(range(found[0]["seq"], found[0]["seq"] + 10))
        assert symbols_of(one.points(5)) == [b] * 5
        live.write_batch(make_batch(1, [b], asset_class="equity", open=1, high=1, low=1, close=1))
        assert none.points(1)[0]["asset_class"] == "equity"
        assert set(found[0]) == {"seq", *make_batch(1).frame.columns}


def test_a_subscriber_that_comes_back_gets_what_it_missed_and_then_what_comes(gateway, live):
    with subscriber(gateway) as client:
        client.subscribe()
        live.write_batch(make_batch(3))
        seen, after = client.points(3), client.after
    live.write_batch(make_batch(2500, ["A", "B"]))
    with subscriber(gateway) as client:
        assert client.subscribe(after)["seq"] == after["seq"]
        missed = client.points(2500)
        live.write_batch(make_batch(2))
        assert numbers_of(missed + client.points(2)) == list(
            range(seen[-1]["seq"] + 1, seen[-1]["seq"] + 2503)
        )
