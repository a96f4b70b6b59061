"""The mended Redis transport: an acknowledgement that meets a dead connection costs no prefetch slot."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import redis
from kombu import Connection
from kombu.transport import redis as kombu_redis
from kombu.transport import resolve_transport

from workers import transport


@pytest.fixture
def admin(redis_url: str) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(redis_url)) as connected:
        connected.flushdb()
        yield connected


@contextmanager
def one_message_in_hand(redis_url: str, kind: type[Any]) -> Iterator[tuple[Any, str]]:
    """Give a channel that may hold one message and holds one, and the tag of that message."""
    with Connection(redis_url, transport=kind) as connection, connection.channel() as channel:
        channel.qos.prefetch_count = 1
        with connection.Producer(channel=channel) as producer:
            queue = connection.SimpleQueue("looked-at", channel=channel).queue
            producer.publish("look", routing_key="looked-at", exchange="looked-at")
        tag = queue.get(no_ack=False).delivery_tag
        assert not channel.qos.can_consume()
        yield channel, tag


@contextmanager
def acknowledgements_cut(admin: redis.Redis) -> Iterator[None]:
    """Kill every connection that has sent an acknowledgement, before Redis carries it out."""
    done = threading.Event()

    def kill() -> None:
        while not done.is_set():
            for client in admin.client_list():
                if int(client["multi"]) >= 0:
                    admin.client_kill_filter(_id=client["id"])

    admin.client_pause(60_000, all=False)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        done.set()
        killer.join()
        admin.client_unpause()


@pytest.mark.parametrize(
    ("kind", "slot_is_free"),
    [(transport.Transport, True), (kombu_redis.Transport, False)],
    ids=["ours", "kombu's"],
)
def test_a_connection_lost_during_an_acknowledgement_frees_the_slot_and_is_told(
    redis_url: str, admin: redis.Redis, kind: type[Any], slot_is_free: bool
) -> None:
    with one_message_in_hand(redis_url, kind) as (channel, tag):
        with acknowledgements_cut(admin), pytest.raises(redis.ConnectionError):
            channel.basic_ack(tag)
        assert channel.qos.can_consume() == slot_is_free
        assert admin.hlen("unacked") == 1, "Redis was not told: the message comes again"


def test_a_message_acknowledged_in_peace_is_gone(redis_url: str, admin: redis.Redis) -> None:
    with one_message_in_hand(redis_url, transport.Transport) as (channel, tag):
        channel.basic_ack(tag)
        assert channel.qos.can_consume()
        assert admin.hlen("unacked") == 0


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_urls_are_served_by_it_once_it_is_installed(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("redis", "rediss"):
        monkeypatch.setitem(transport.TRANSPORT_ALIASES, name, "kombu.transport.redis:Transport")
    assert resolve_transport(scheme) is kombu_redis.Transport
    transport.install()
    assert resolve_transport(scheme) is transport.Transport
    assert isinstance(Connection(f"{scheme}://localhost/0").transport, transport.Transport)
    assert transport.Channel.QoS is transport.SlotFreeingQoS
