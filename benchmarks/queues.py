"""Points/s into RabbitMQ and a stream of Redis, confirmed and on record, beside the plain clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Final

import kombu
import redis

from benchmarks.bars import batches, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.timing import alternate, in_fresh_process
from destinations import RabbitMQDestination, RedisStreamDestination
from destinations.messages import encode_values, row_names
from router.batch import PointBatch
from tests.servers.rabbitmq import installed, make_queue, own_rabbitmq
from tests.servers.redis import own_redis

#: What a part holds.
PART: Final = 10_000
KOMBU: Final = "kombu, Producer.publish with confirms"
PIPELINE: Final = "redis-py, XADD in pipelines of 1,000, which records nothing"
_STEP: Final = 1000


def run_rabbitmq(*, quick: bool) -> Iterator[Figure]:
    """Measure RabbitMQ, where it is installed."""
    if not installed():
        say("rabbitmq: RabbitMQ is not installed")
        return
    rows, few, seconds = (20_000, 1_000, 5.0) if quick else (100_000, 3_000, 30.0)
    say(f"rabbitmq: {rows:,} bars into a queue, beside {KOMBU}")
    ours, theirs = in_fresh_process(measure_rabbitmq, rows, few, seconds)
    yield Figure(
        case="rabbitmq", what="bars into a durable queue, each confirmed", unit="points/s", runs=ours,
        peer=KOMBU, peer_runs=theirs, goal=Goal(1, "ratio"),
    )  # fmt: skip


def run_redis_stream(*, quick: bool) -> Iterator[Figure]:
    """Measure a stream of Redis."""
    rows, seconds = (50_000, 5.0) if quick else (200_000, 30.0)
    say(f"redis_stream: {rows:,} bars into a stream, beside {PIPELINE}")
    ours, theirs = in_fresh_process(measure_redis, rows, seconds)
    yield Figure(
        case="redis_stream", what="bars into a stream, on record", unit="points/s", runs=ours,
        peer=PIPELINE, peer_runs=theirs, goal=Goal(1, "ratio"),
    )  # fmt: skip


def measure_rabbitmq(rows: int, few: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination and of kombu, which gets a few rows: it is slow."""
    parts, names = list(batches(make_bars(rows), PART)), (f"bars{number}" for number in count())
    (sample,) = batches(make_bars(few), few)
    with own_rabbitmq() as server:

        def ours() -> int:
            make_queue(server.url, name := next(names))
            with closing(RabbitMQDestination(server.url, name)) as destination:
                for part in parts:
                    destination.write_batch(part)
            return rows

        def theirs() -> int:
            make_queue(server.url, name := next(names))
            publish(server.url, name, sample)
            return few

        return alternate(ours, theirs, seconds=seconds)


def publish(url: str, name: str, batch: PointBatch) -> None:
    """Publish rows. Source: kombu documentation, Producers; py-amqp, confirm_publish."""
    with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer(exchange=kombu.Exchange(name, "topic"))
        for value, row in zip(encode_values(batch.frame), row_names(batch), strict=True):
            producer.publish(
                value, routing_key="crypto.BTC.1m", mandatory=True, delivery_mode=2, message_id=row,
                content_type="application/json", content_encoding="utf-8",
            )  # fmt: skip


def measure_redis(rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination and of redis-py, each into streams of its own."""
    parts, names = list(batches(make_bars(rows), PART)), (f"bars{number}" for number in count())
    with own_redis() as server, redis.Redis(port=server.port) as client:

        def ours() -> int:
            name = next(names)
            with closing(RedisStreamDestination(server.url, name)) as destination:
                for part in parts:
                    destination.write_batch(part)
            client.flushdb()
            return rows

        def theirs() -> int:
            name = next(names)
            for part in parts:
                add(client, name, part)
            client.flushdb()
            return rows

        return alternate(ours, theirs, seconds=seconds)


def add(client: redis.Redis, name: str, batch: PointBatch) -> None:
    """Add rows in pipelines. Source: redis-py documentation, Pipelines."""
    pipeline = client.pipeline(transaction=False)
    for value, row in zip(encode_values(batch.frame), row_names(batch), strict=True):
        pipeline.xadd(name, {"point": value, "row": row})
        if len(pipeline) == _STEP:
            pipeline.execute()
    pipeline.execute()
