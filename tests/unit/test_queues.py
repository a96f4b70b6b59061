from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations import RabbitMQDestination, RedisStreamDestination, load
from destinations.patterns import FIELDS, KeyPattern
from destinations.rabbitmq import encode_messages
from destinations.redis_stream import decode_entry, encode_entries, encode_entry
from destinations.repeats import Entry
from router.batch import PointBatch
from router.errors import ConfigError
from router.rows import Rows
from tests.make import make_batch, make_point

DEFAULT = "{asset_class}.{symbol}.{timeframe}"
PATTERNS = [DEFAULT, "{symbol}.{source}", "bars.{source}.{symbol}.{date}", "{symbol}"]
BAR = {"symbol": "BTC", "timeframe": "1h", "date": "20240101", "asset_class": "crypto", "source": "x"}
RABBITMQ, REDIS = "amqp://me:s3cr3t@mq.example/market", "redis://me:s3cr3t@redis.example/2"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=128)


def code_of(make) -> str:
    with pytest.raises(ConfigError) as refused:
        make()
    assert "s3cr3t" not in str(refused.value)
    return refused.value.code


@pytest.mark.parametrize("pattern", PATTERNS)
@given(one=st.tuples(texts, texts), other=st.tuples(texts, texts))
def test_keys_of_different_values_differ_and_have_as_many_words(pattern: str, one, other):
    keys = KeyPattern(pattern, "routing_key", hidden=".")
    made = [keys.key(BAR | {"symbol": symbol, "source": source}) for symbol, source in (one, other)]
    assert [key.count(".") for key in made] == [pattern.count(".")] * 2
    assert max(map(len, made)) <= 255
    assert not set("".join(made)) & set("#* ")
    different = one[0] != other[0] or ("source" in keys.fields and one[1] != other[1])
    assert (made[0] != made[1]) == different


def test_keys_are_made_for_every_row_in_order():
    batch = PointBatch.of([make_point(symbol=symbol) for symbol in ("A", "B.C", "A")])
    keys = KeyPattern("{symbol}.{date}", "routing_key", hidden=".").keys(batch.frame)
    assert keys == ["A.20240101", "B%2EC.20240101", "A.20240101"]
    assert KeyPattern("bars", "stream").keys(batch.frame) == ["bars"] * 3


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("{symbl}", "pattern.field"),
        ("{symbol.__class__}", "pattern.field"),
        ("{symbol", "pattern.syntax"),
        ("a%b", "pattern.syntax"),
        ("{symbol}{source}", "pattern.ambiguous"),
        ("", "pattern.length"),
        ("x" * 256, "pattern.length"),
        ("x" * 220 + ".{symbol}", "pattern.length"),
        ("é" * 128, "pattern.length"),
    ],
)
def test_a_pattern_that_makes_no_keys_is_refused(pattern: str, code: str):
    assert code_of(lambda: RabbitMQDestination(RABBITMQ, routing_key=pattern)) == code
    assert code_of(lambda: RedisStreamDestination(REDIS, pattern)) == code


@pytest.mark.parametrize("kind", [RabbitMQDestination, RedisStreamDestination])
@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "url.syntax"),
        ("me:s3cr3t@mq.example", "url.syntax"),
        ("ampq://me:s3cr3t@mq.example", "url.scheme"),
        ("http://me:s3cr3t@mq.example", "url.scheme"),
        ("amqp://me:s3cr3t@mq.example:port/", "url.syntax"),
        ("redis://me:s3cr3t@[::1/", "url.syntax"),
        ("amqp://me:s3cr3t@a..example/", "url.syntax"),
        ("redis://me:s3cr3t@" + "x" * 64 + ".example/", "url.syntax"),
        (None, "url.syntax"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_its_password(kind, url, code: str):
    assert code_of(lambda: kind(url)) == code


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: RabbitMQDestination(f"{RABBITMQ}?heartbeat=3"), "url.syntax"),
        (lambda: RabbitMQDestination(RABBITMQ, ""), "exchange.name"),
        (lambda: RabbitMQDestination(RABBITMQ, "é" * 128), "exchange.name"),
        (lambda: RabbitMQDestination(RABBITMQ, timeout=0), "range"),
        (lambda: RabbitMQDestination(RABBITMQ, tls={"certfile": "x"}), "tls.scheme"),
        (lambda: RabbitMQDestination("amqps://mq.example", tls={"cafile": "x"}), "tls.unknown"),
        (lambda: RabbitMQDestination("amqps://mq.example", tls={"ca_certs": None}), "tls.type"),
        (lambda: RabbitMQDestination("amqps://mq.example", tls={"keyfile": "x"}), "tls.type"),
        (lambda: RedisStreamDestination(REDIS, tls={"ssl_ca_certs": "x"}), "tls.scheme"),
        (lambda: RedisStreamDestination("redis://redis.example/" + "1" * 30), "url.syntax"),
        (lambda: RedisStreamDestination("redis://redis.example/zero"), "url.syntax"),
        (lambda: RedisStreamDestination(REDIS, maxlen=0), "range"),
        (lambda: RedisStreamDestination(REDIS, maxlen=True), "range"),
        (lambda: RedisStreamDestination(REDIS, timeout=float("nan")), "range"),
        (lambda: RedisStreamDestination("rediss://redis.example", tls={"ca": "x"}), "tls.unknown"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(make, code: str):
    assert code_of(make) == code


@pytest.mark.parametrize("made", [RabbitMQDestination(RABBITMQ), RedisStreamDestination(REDIS)])
def test_the_password_is_nowhere_to_be_seen(made):
    shown = f"{made!r} {made} {made.place()} {made.target(make_point())}"
    assert "s3cr3t" not in shown
    assert "me@" in made.place()


def test_parts_of_a_url_may_hold_any_character():
    url = "amqp://a%40b:p%2Fw@[::1]:5673/my%20host%2F1"
    assert RabbitMQDestination(url).place() == "amqp://a@b@[::1]:5673/my host/1, exchange candlefleet"


def test_a_target_is_named_for_each_point():
    point = make_point(symbol="BTC/USDT")
    assert RabbitMQDestination(RABBITMQ).target(point).endswith("key crypto.BTC%2FUSDT.1m")
    assert RedisStreamDestination(REDIS, "bars:{symbol}").target(point).endswith("stream bars:BTC%2FUSDT")


def test_kinds_are_found_by_name():
    assert load("rabbitmq") is RabbitMQDestination
    assert load("redis_stream") is RedisStreamDestination


def test_a_row_that_a_batch_names_twice_is_one_message():
    batch = make_batch(4, batch_id="b")
    twice = PointBatch.concat([batch.slice(0, 3), batch.slice(1, 4)])
    messages = encode_messages(twice, KeyPattern(DEFAULT, "routing_key", hidden="."))
    assert [message.content.properties["message_id"] for message in messages] == ["b:0", "b:1", "b:2", "b:3"]


def test_entries_name_each_row():
    value, *name = encode_entries(make_batch(3, batch_id="b").slice(2, 3))
    assert name == ["b", "2"]
    assert isinstance(value, bytes)
    assert value.startswith(b'{"timestamp":')


@given(digest=st.sampled_from(["", "0f"]), rows=st.sets(st.integers(0, 70_000), max_size=40))
def test_a_record_is_read_as_it_was_written(digest: str, rows: set[int]):
    entry = Entry(digest, Rows(sorted(rows)))
    assert decode_entry(encode_entry(entry)) == entry


def test_every_field_may_stand_in_a_key():
    pattern = ".".join(f"{{{field}}}" for field in FIELDS)
    assert KeyPattern(pattern, "routing_key", hidden=".").key(BAR) == "BTC.1h.20240101.crypto.x"
