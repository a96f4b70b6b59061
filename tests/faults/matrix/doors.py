"""Malformed messages between good ones, at the doors for producers in other languages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

import polars as pl

from tests.acceptance.brokers import over_rabbitmq
from tests.acceptance.fleet_fixture import until
from tests.faults.fault import Fault
from tests.faults.scene import Scene
from tests.faults.send_batches import make_bars
from tests.make_messages import MALFORMED, TOO_MANY, UNREADABLE, as_amqp, make_message
from workers.envelope import QUEUE
from workers.store import PREFIX

STREAM = f"{PREFIX}ingress"
#: Fields of an entry of the stream that is none, and the code it is buried under.
ENTRIES: tuple[tuple[dict[str, bytes], str], ...] = (
    *(({"json": raw}, code) for _, raw, code in UNREADABLE),
    ({"json": json.dumps([{"symbol": "x" * 5_000_000}]).encode()}, "envelope.size"),
    ({"json": TOO_MANY}, "batch.too_many"),
    ({"xml": b"<point/>", "version": b"1"}, "envelope.shape"),
)
#: Which of the malformed messages are sent, beside those that cannot be read at all.
CHOSEN = (
    *("S056-object", "S062", "S063", "S064", "S068", "S069", "content type missing", "body missing"),
    *("not base64", "id missing", "delivery tag missing", "eta a word"),
)
MESSAGES = [*UNREADABLE, *(one for one in MALFORMED if one[0] in CHOSEN)]
if over_rabbitmq():  # which can carry some only
    MESSAGES = [one for one in MESSAGES if as_amqp(one[1])]


def at_the_stream(scene: Scene, turn: int) -> str:
    """Add an entry that is none to the stream, between two that are."""
    fields, code = ENTRIES[turn % len(ENTRIES)]
    redis = scene.store.redis

    def send_good(text: str, name: str) -> None:
        redis.execute_command("FCALL", "candlefleet_add", 1, STREAM, text, name)

    _between_good_ones(scene, turn, send_good, lambda: redis.xadd(STREAM, fields), "stream ", code)
    return code


def at_the_queue(scene: Scene, turn: int) -> str:
    """Send a message that is none to the queue for Celery messages, between two that are."""
    name, raw, code = MESSAGES[turn % len(MESSAGES)]

    def send_good(text: str, name: str) -> None:
        scene.mail.push(QUEUE, make_message(json.loads(text), headers__id=name))

    _between_good_ones(scene, turn, send_good, lambda: scene.mail.push(QUEUE, raw), f"queue {QUEUE}", code)
    return f"{name} {code}"


def _between_good_ones(
    scene: Scene,
    turn: int,
    send_good: Callable[[str, str], object],
    send_bad: Callable[[], object],
    where: str,
    code: str,
) -> None:
    names = [f"{scene.feeder.source}-{turn}-{when}" for when in ("before", "after")]
    buried = _buried(scene, where, code)
    with scene.apart(20) as rows:
        send_good(_as_json(rows[:10], scene.feeder.source), names[0])
        send_bad()
        send_good(_as_json(rows[10:], scene.feeder.source), names[1])
        accepted = [f"{PREFIX}accepted:{name}" for name in names]
        until(lambda: scene.store.redis.exists(*accepted) == 2, "both good ones are accepted", within=40)
    until(lambda: _buried(scene, where, code) > buried, f"{code} is a dead letter", within=40)
    assert _buried(scene, where, code) == buried + 1, f"{code} became more than one dead letter"


def _buried(scene: Scene, where: str, code: str) -> int:
    return sum(
        letter["where"].startswith(where) and letter["reasons"][0]["code"] == code
        for letter in scene.store.letters(100_000)
    )


def _as_json(rows: range, source: str) -> str:
    bars = make_bars(rows.start, rows.stop, source)
    return json.dumps(bars.with_columns(pl.col("timestamp").dt.to_string("iso:strict")).to_dicts())


@contextlib.contextmanager
def nobody_ends(scene: Scene) -> Iterator[None]:
    """See to it that the workers at the doors, and their pools, are the same afterwards."""
    before = _at_the_doors(scene)
    yield
    assert _at_the_doors(scene) == before, "a worker at a door ended"


def _at_the_doors(scene: Scene) -> list[tuple[int, int]]:
    return [(scene.leader(name), scene.child(name)) for name in ("router", QUEUE)]


FAULTS = (
    Fault("malformed entries in the stream", at_the_stream, around=nobody_ends),
    Fault("malformed Celery messages", at_the_queue, around=nobody_ends),
)
