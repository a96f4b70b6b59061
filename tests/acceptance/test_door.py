"""What the door does to the lists of a real Redis: it looks, and takes in one step or not at all."""

from __future__ import annotations

import json
import time
from queue import Full

import pytest
from kombu import Connection

from router.errors import ConfigError
from tests.make_messages import bytes_kept, make_message
from workers import transport
from workers.door import Door
from workers.store import PREFIX, Store

LISTS = ["points", "points\x06\x163", "points\x06\x166", "points\x06\x169"]


@pytest.fixture
def door(store: Store) -> Door:
    """Give a door to the queue `points` of this Redis."""
    return Door(store, LISTS, held="unacked", order="unacked_index", patience=300)


def push(store: Store, raw: bytes, name: str = "points") -> None:
    store.redis.lpush(name, raw)


def lengths(store: Store) -> list[int]:
    return [store.redis.llen(name) for name in LISTS]


def test_a_look_takes_nothing(store: Store) -> None:
    push(store, b"anything")
    assert store.peek(LISTS) == ("points", b"anything")
    assert lengths(store) == [1, 0, 0, 0]


def test_a_message_is_taken_in_one_step_with_the_note_that_it_is_held(store: Store, door: Door) -> None:
    push(store, make_message())
    message = door.take()
    tag = message["properties"]["delivery_tag"]
    assert lengths(store) == [0, 0, 0, 0]
    assert json.loads(store.redis.hget("unacked", tag)) == [message, "", "points"]
    assert abs(store.redis.zscore("unacked_index", tag) - time.time()) < 60
    assert door.take() is None


def test_kombu_brings_back_a_message_whose_holder_died(store: Store, door: Door, redis_url: str) -> None:
    push(store, make_message(properties__priority=6), "points\x06\x166")
    message = door.take()
    with Connection(redis_url, transport=transport.Transport) as connection, connection.channel() as channel:
        channel.qos.restore_by_tag(message["properties"]["delivery_tag"])
    assert lengths(store) == [0, 0, 1, 0]
    assert (store.redis.hlen("unacked"), store.redis.zcard("unacked_index")) == (0, 0)
    again = door.take()
    assert again["body"] == message["body"]
    assert again["properties"]["delivery_tag"] != message["properties"]["delivery_tag"]


def test_messages_come_oldest_first_and_the_urgent_before_the_others(store: Store, door: Door) -> None:
    for name, number in (("points\x06\x169", 1), ("points", 2), ("points\x06\x163", 3), ("points", 4)):
        push(store, make_message(headers__id=f"n{number}"), name)
    assert [door.take()["headers"]["id"] for _ in range(4)] == ["n2", "n4", "n3", "n1"]


def test_of_two_that_looked_at_the_same_message_one_takes_it(store: Store, door: Door) -> None:
    push(store, make_message(headers__id="first"))
    _, raw = store.peek(LISTS)
    assert door.take(raw)["headers"]["id"] == "first"
    assert door.take(raw) is None
    push(store, make_message(headers__id="second"))
    assert door.take(raw) is None
    assert lengths(store) == [1, 0, 0, 0]


def test_messages_with_the_same_tag_are_held_apart(store: Store, door: Door) -> None:
    for number in range(2):
        push(store, make_message(headers__id=f"n{number}"))
    assert all(door.take() for _ in range(2))
    assert store.redis.hlen("unacked") == 2


def test_a_malformed_message_is_buried_in_one_step_with_its_removal(store: Store, door: Door) -> None:
    push(store, b"\xff not json", "points\x06\x163")
    assert door.take() is None
    assert lengths(store) == [0, 0, 0, 0]
    (letter,) = store.letters()
    assert bytes_kept(letter["original"]) == b"\xff not json"
    assert (letter["where"], letter["reasons"][0]["code"]) == ("queue points", "envelope.encoding")


def test_a_malformed_message_without_room_for_its_letter_lets_the_others_pass(
    store: Store, door: Door
) -> None:
    push(store, b"[")
    push(store, make_message(headers__id="good"))
    store.redis.hset(PREFIX + "marks", "letters", 10)
    with pytest.raises(Full):
        door.take()
    assert door.take()["headers"]["id"] == "good"
    store.redis.hdel(PREFIX + "marks", "letters")
    assert door.take() is None
    assert [letter["original"] for letter in store.letters()] == ["["]


@pytest.mark.parametrize("first", ["points", "router"])
def test_foreign_messages_are_consumed_alone(redis_url: str, store: Store, first: str) -> None:
    second = {"points": "router", "router": "points"}[first]
    with Connection(redis_url, transport=transport.Transport) as connection, connection.channel() as channel:
        channel.basic_consume(first, False, lambda _: None, "1")
        with pytest.raises(ConfigError, match="a worker of their own"):
            channel.basic_consume(second, False, lambda _: None, "2")
