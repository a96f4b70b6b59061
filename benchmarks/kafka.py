"""Points/s into a topic of Kafka, each acknowledged, beside the plain client with the same settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any, Final

from kafka import KafkaProducer
from kafka.serializer import Serializer

from benchmarks.bars import batches, json_points, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.timing import alternate, in_fresh_process
from destinations import KafkaDestination
from destinations.kafka_client import DEFAULTS
from tests.servers.kafka import own_kafka

#: What a part holds.
PART: Final = 10_000
PRODUCER: Final = "kafka-python, KafkaProducer.send and flush, which names no row"


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure a broker of our own, its topics in memory."""
    rows, seconds = (20_000, 5.0) if quick else (50_000, 40.0)
    say(f"kafka: {rows:,} bars into a topic, beside {PRODUCER}")
    ours, theirs = in_fresh_process(measure, rows, seconds)
    yield Figure(
        case="kafka", what="bars into a topic, each acknowledged", unit="points/s", runs=ours,
        peer=PRODUCER, peer_runs=theirs, goal=Goal(1, "ratio"),
    )  # fmt: skip


def measure(rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination and of the client, each into topics of its own."""
    frame = make_bars(rows)
    parts, points = list(batches(frame, PART)), json_points(frame)
    topics = (f"bars{number}" for number in count())
    with own_kafka() as server:

        def ours() -> int:
            with closing(KafkaDestination(server.address, next(topics))) as destination:
                for part in parts:
                    destination.write_batch(part)
            return rows

        def theirs() -> int:
            send(server.address, next(topics), points)
            return rows

        return alternate(ours, theirs, seconds=seconds)


class Json(Serializer):
    """What the client's documentation gives as `value_serializer`."""

    def serialize(self, topic: str, headers: list[tuple[str, bytes]], data: Any) -> bytes:
        """Return a point as JSON."""
        return json.dumps(data).encode()


def send(address: str, topic: str, points: list[dict[str, Any]]) -> None:
    """Send points, and see that each was acknowledged. Source: kafka-python documentation, KafkaProducer."""
    producer = KafkaProducer(
        bootstrap_servers=address, acks="all", enable_idempotence=True, compression_type="gzip",
        value_serializer=Json(), **DEFAULTS,
    )  # fmt: skip
    with closing(producer):
        for start in range(0, len(points), PART):
            sent = [
                producer.send(topic, point, key=point["symbol"].encode())
                for point in points[start : start + PART]
            ]
            producer.flush()
            for future in sent:
                future.get()
