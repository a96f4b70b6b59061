"""What subscribers of a real gateway get, whatever happens to it, to its Redis, and to them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from ulid import ULID
from websockets.exceptions import ConnectionClosed

from destinations import WebSocketDestination
from tests.acceptance.fleet_fixture import until
from tests.integration.writing import Writing
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
    with own_gateway(
        redis.url, CANDLEFLEET_GATEWAY_HEARTBEAT="0.2", CANDLEFLEET_GATEWAY_QUEUE="300000"
    ) as its_own:
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


def test_what_was_trimmed_meanwhile_is_said_and_the_rest_comes(gateway, redis):
    with closing(WebSocketDestination(redis.url, keep=1000)) as live, subscriber(gateway) as client:
        client.subscribe()
        live.write_batch(make_batch(1))
        (seen,), after = client.points(1), client.after
        for _ in range(3):
            live.write_batch(make_batch(1000))
    with subscriber(gateway) as client:
        client.subscribe(after)
        gap = client.next("gap")
        assert (gap["why"], gap["from"]) == ("trimmed", seen["seq"] + 1)
        found = numbers_of(client.points(seen["seq"] + 3000 - gap["to"]))
        assert found == list(range(gap["to"] + 1, seen["seq"] + 3001))
    with subscriber(gateway) as client:
        until(lambda: httpx.get(f"{gateway.url}/health").json()["oldest"] == found[0], "the gateway knows it")
        assert client.subscribe("oldest")["seq"] == found[0] - 1
        assert numbers_of(client.points(len(found))) == found


def test_numbers_that_begin_anew_are_said_to_those_who_are_there_and_those_who_come_back(
    gateway, redis, live
):
    live.write_batch(make_batch(5))
    with subscriber(gateway) as stays, subscriber(gateway) as leaves:
        before = stays.subscribe()
        leaves.subscribe()
        with redis.client() as admin:
            admin.flushall()
        live.write_batch(make_batch(3, ["NEW"]))
        gap = stays.next("gap")
        assert (gap["why"], gap["from"], gap["to"], gap["seq"]) == ("epoch", before["seq"] + 1, None, 0)
        assert gap["epoch"] != before["epoch"]
        assert numbers_of(stays.points(3)) == [1, 2, 3]
    with subscriber(gateway) as client:
        assert client.subscribe(leaves.after)["newest"] == 3
        assert client.next("gap")["why"] == "epoch"
        assert symbols_of(client.points(3)) == ["NEW"] * 3


def test_a_stream_that_begins_while_somebody_waits_begins_with_its_first_point(gateway, redis, live):
    with redis.client() as admin:
        admin.flushall()
    with own_gateway(redis.url) as fresh, subscriber(fresh) as client:
        hello = client.subscribe()
        assert (hello["epoch"], hello["seq"], hello["newest"]) == (None, 0, 0)
        live.write_batch(make_batch(2))
        assert numbers_of(client.points(2)) == [1, 2]


def test_a_redis_that_went_back_in_time_is_said(gateway, redis, live):
    live.write_batch(make_batch(5))
    with subscriber(gateway) as client:
        hello = client.subscribe()
        with redis.client() as admin:
            newest = admin.xrevrange("candlefleet:live:live", count=1)[0][1]
            admin.delete("candlefleet:live:live")
            admin.xadd("candlefleet:live:live", newest | {"first": 1, "size": 1}, id="2-0")
        gap = client.next("gap")
        assert (gap["why"], gap["from"], gap["to"]) == ("restarted", 3, hello["seq"])
        live.write_batch(make_batch(2))
        assert numbers_of(client.points(2)) == [3, 4]


def test_somebody_who_stops_reading_is_cut_with_a_reason_and_slows_nobody(gateway, live):
    with subscriber(gateway, max_queue=1) as slow, subscriber(gateway) as quick:
        slow.subscribe(), quick.subscribe()
        count, sent = httpx.get(f"{gateway.url}/health").json()["subscribers"], 0
        while httpx.get(f"{gateway.url}/health").json()["subscribers"] == count:
            live.write_batch(make_batch(5000))
            sent += 5000
            quick.points(5000)
        assert slow.closed() == (4008, "subscriber.slow")
        error = slow.messages[-1]
        assert (error["type"], error["code"]) == ("error", "subscriber.slow")
        assert "come back with the last number" in error["message"]
        slow.messages.pop()
        missed = quick.after["seq"] - slow.after["seq"]
    with subscriber(gateway) as again:
        again.subscribe(slow.after)
        assert len(again.points(missed)) == missed


def test_a_subscriber_without_points_hears_how_far_it_missed_nothing(gateway, live):
    with subscriber(gateway) as client:
        hello = client.subscribe(symbols=[str(ULID())])
        live.write_batch(make_batch(7))
        until(lambda: client.next("ping")["seq"] == hello["seq"] + 7, "a heartbeat has gone on")
        assert client.messages[-1] == {
            "type": "ping",
            "epoch": hello["epoch"],
            "seq": hello["seq"] + 7,
            "live": True,
        }


def test_a_redis_that_is_killed_costs_subscribers_nothing_but_time(gateway, redis, live):
    with subscriber(gateway) as client:
        hello = client.subscribe()
        redis.kill()
        until(lambda: client.next("ping")["live"] is False, "the subscriber is told")
        assert httpx.get(f"{gateway.url}/health").status_code == 503
        redis.start()
        live.write_batch(make_batch(3))
        assert numbers_of(client.points(3)) == [hello["seq"] + n for n in (1, 2, 3)]


def test_a_gateway_that_is_killed_while_points_flow_leaves_no_hole_and_no_double(gateway, live):
    seen: list[int] = []
    stop = threading.Event()

    def feed() -> None:
        while not stop.is_set():
            live.write_batch(make_batch(20, ["A", "B"]))

    with subscriber(gateway) as client:
        hello = client.subscribe(symbols=["A"])
        writing = Writing(feed)
        try:
            seen += numbers_of(client.points(500))
            gateway.kill()
            with contextlib.suppress(ConnectionClosed):
                while True:
                    seen += numbers_of(client.points(1))
            gateway.start()
            with subscriber(gateway) as again:
                again.subscribe(client.after, symbols=["A"])
                seen += numbers_of(again.points(500))
        finally:
            stop.set()
            assert writing.ended() is None
    assert seen == [hello["seq"] + 1 + 2 * n for n in range(len(seen))]
