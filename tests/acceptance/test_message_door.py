"""The door for Celery messages: any client is served, any malformed message is buried, the worker lives."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from ulid import ULID

from tests.acceptance.brokers import over_rabbitmq
from tests.acceptance.door_fixture import Door, door_of
from tests.acceptance.fleet_fixture import CELERY, QUIET, Crew, alive, pool, run, running, until
from tests.make import make_point
from tests.make_messages import MALFORMED, UNREADABLE, as_amqp, bytes_kept, make_message
from workers.envelope import QUEUE, TASK

BAD = [
    one for one in UNREADABLE + MALFORMED if not over_rabbitmq() or as_amqp(one[1])
]  #: of which RabbitMQ can carry some only


@pytest.fixture(scope="module")
def door(crew: Crew, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Give a door with its worker at work."""
    folder = tmp_path_factory.mktemp("door")
    command = [*CELERY, "worker", "-n", "points@%h", "-Q", QUEUE, "-c", "1", "-E", *QUIET]
    environment = {**crew.environment, "CANDLEFLEET_TASK_TIME_LIMIT": "8"}
    with running(command, folder / "door.log", environment) as worker:
        until(lambda: "@points" in crew.store.served(), "the door is served")
        made = door_of(crew, worker.pid)
        yield made
        made.client.close()
        print((folder / "door.log").read_text())


def bars(count: int, symbol: str) -> list[dict[str, Any]]:
    """Return points for the route `jsonl`, as JSON has them."""
    return [make_point(row=row, source="plain", symbol=symbol).to_json_dict() for row in range(count)]


def times(crew: Crew, symbol: str) -> list[str]:
    """Return the timestamps of a symbol in the files of the route `jsonl`, in their order."""
    return [row["timestamp"] for row in crew.rows("jsonl") if row["symbol"] == symbol]


# -- good messages -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip"},
        {"compression": "bzip2"},
        {"priority": 9},
        {"countdown": 0.5},
        {"expires": 0.0},
    ],
    ids=["plain", "gzip", "bzip2", "priority", "countdown", "expired"],
)
def test_any_celery_client_sends_points_and_gets_its_answer(door: Door, options: dict[str, Any]) -> None:
    symbol = f"C{ULID()}"
    answer = door.send(bars(5, symbol), **options).get(timeout=30)
    assert answer == {"accepted": 5, "refused": [], "again": False}
    door.crew.settled()
    assert len(times(door.crew, symbol)) == len(set(times(door.crew, symbol))) == 5


def test_the_answer_names_every_refused_point_and_holds_none(door: Door) -> None:
    points = bars(3, "REFUSED")
    points[1]["close"] = "?"
    points[1]["volume"] = -1
    answer = door.send(points).get(timeout=30)
    assert (answer["accepted"], answer["again"]) == (2, False)
    (refused,) = answer["refused"]
    assert refused["index"] == 1
    assert {reason["field"] for reason in refused["reasons"]} == {"close", "volume"}
    assert "REFUSED" not in json.dumps(answer)


def test_a_message_that_comes_twice_adds_nothing(door: Door) -> None:
    name, points = str(ULID()), bars(4, "TWICE_AT_THE_DOOR")
    first = door.send(points, task_id=name)
    assert first.get(timeout=30) == {"accepted": 4, "refused": [], "again": False}
    first.forget()
    door.push(make_message(points, headers__id=name))
    with Celery("another", backend=door.crew.url, set_as_current=False) as other:  # told of no answer yet
        second = other.AsyncResult(name).get(timeout=30)
    assert second == {"accepted": 0, "refused": [], "again": True}
    door.crew.settled()
    assert len(times(door.crew, "TWICE_AT_THE_DOOR")) == 4


def test_context_travels_with_the_points(door: Door) -> None:
    sent = door.client.send_task(TASK, [bars(1, "CONTEXT")], {"context": {"feed": 7}}, queue=QUEUE)
    assert sent.get(timeout=30)["accepted"] == 1


# -- malformed ones ----------------------------------------------------------------------------


@pytest.mark.slow
def test_every_malformed_message_is_one_dead_letter_and_the_worker_lives(door: Door) -> None:
    before, children = {letter["id"] for letter in door.letters()}, pool(door.pid)
    for number, (_, raw, _) in enumerate(BAD):
        door.push(make_message(bars(1, f"BEFORE{number}"), headers__id=f"before-{number}-{ULID()}"))
        door.push(raw)
    door.push(make_message(bars(1, "AFTER"), headers__id=f"after-{ULID()}"))
    until(lambda: door.waiting() == 0, "every message is taken")
    door.crew.settled()

    letters = [letter for letter in door.letters() if letter["id"] not in before]
    assert [letter["reasons"][0]["code"] for letter in letters] == [code for *_, code in BAD]
    if not over_rabbitmq():  # which hands over body and properties, and not these bytes
        assert [bytes_kept(letter["original"]) for letter in letters] == [raw for _, raw, _ in BAD]
    assert {(letter["route_id"], letter["where"]) for letter in letters} == {("", "queue points")}
    delivered = {row["symbol"] for row in door.crew.rows("jsonl")}
    assert {f"BEFORE{number}" for number in range(len(BAD))} | {"AFTER"} <= delivered
    assert alive(door.pid)
    assert pool(door.pid) == children


def test_an_eta_further_ahead_than_a_message_can_be_held_is_refused(door: Door) -> None:
    known = len(door.letters())
    door.send(bars(1, "LATER"), countdown=86_400)
    until(lambda: len(door.letters()) > known, "a dead letter")
    assert door.letters()[-1]["reasons"][0]["code"] == "task.eta"


# -- nobody sees the points --------------------------------------------------------------------


ENDS = ("task-succeeded", "task-failed", "task-revoked", "task-rejected")


def test_events_and_logs_name_the_task_and_show_no_point(door: Door) -> None:
    seen: list[dict[str, Any]] = []
    sent: list[str] = []

    def look(event: dict[str, Any]) -> None:
        seen.append(event)
        if not sent:  # the first heartbeat: from now on nothing is missed
            sent.append(door.send(bars(2, "SECRETIVE"), argsrepr="SECRETIVE").id)
        if event.get("uuid") == sent[0] and event["type"] in ENDS:
            receiver.should_stop = True  # and it stays so: several events come in one message

    with door.client.connection_for_read() as connection:
        receiver = door.client.events.Receiver(connection, handlers={"*": look})
        receiver.capture(limit=None, timeout=60)
    (ended,) = (e["type"] for e in seen if e.get("uuid") == sent[0] and e["type"] in ENDS)
    assert ended == "task-succeeded"
    received = next(e for e in seen if (e["type"], e.get("uuid")) == ("task-received", sent[0]))
    assert (received["name"], received["args"], received["kwargs"]) == (TASK, "(2 points)", "{}")
    assert "SECRETIVE" not in json.dumps(seen)


# -- a worker of its own -----------------------------------------------------------------------


def test_messages_of_lower_priority_are_found_by_a_worker_that_waits(door: Door) -> None:
    for priority in (3, 6, 9):
        assert door.send(bars(1, f"P{priority}"), priority=priority).get(timeout=10)["accepted"] == 1


def test_the_queue_is_not_mixed_with_others(crew: Crew, tmp_path: Path) -> None:
    said = run([*CELERY, "worker", "-Q", f"router,{QUEUE}"], crew.environment, tmp_path)
    assert said.returncode != 0
    assert "foreign messages need a worker of their own" in said.stderr + said.stdout


# -- messages that cannot be worked on ---------------------------------------------------------


@pytest.fixture
def busy(door: Door) -> Iterator[Callable[[], Any]]:
    """Let the fleet be busy until the test calls this."""
    redis = door.crew.store.redis
    redis.sadd("candlefleet:full", "hopeless")
    yield lambda: redis.srem("candlefleet:full", "hopeless")
    redis.srem("candlefleet:full", "hopeless")


def test_a_busy_fleet_gives_the_message_back_until_it_has_room(door: Door, busy: Callable[[], Any]) -> None:
    answer = door.send(bars(2, "PATIENT"))
    first = until(door.held, "the message is in hand")
    until(lambda: (now := door.held()) and not now & first, "it was given back and taken again")
    assert not answer.ready()
    busy()
    assert answer.get(timeout=30)["accepted"] == 2


def test_points_of_a_task_that_was_revoked_are_a_dead_letter(door: Door) -> None:
    revoked = str(ULID())
    inspect = door.client.control.inspect(timeout=0.5)

    def known() -> bool:
        door.client.control.revoke(revoked)
        told = inspect.revoked() or {}
        return any(revoked in ids for name, ids in told.items() if name.startswith("points@"))

    until(known, "the worker at the door knows")
    answer = door.send(bars(1, "REVOKED"), task_id=revoked)
    with pytest.raises(TaskRevokedError):
        answer.get(timeout=30)
    until(lambda: revoked in buried(door), "its points are a dead letter")  # Celery answers before that
    letter = buried(door)[revoked]
    assert letter["reasons"][0]["code"] == "task.revoked"
    assert json.loads(letter["original"])[0] == [bars(1, "REVOKED")]
    until(lambda: door.waiting() == 0, "its message is gone")


def test_points_of_a_task_that_takes_too_long_are_a_dead_letter(door: Door, busy: Callable[[], Any]) -> None:
    answer = door.send(bars(1, "SLOW"))
    child = until(lambda: door.working(answer.id), "it is being worked on", every=0.01)
    os.kill(child, signal.SIGSTOP)
    until(lambda: answer.id in buried(door), "its points are a dead letter")
    letter = buried(door)[answer.id]
    assert letter["reasons"][0]["code"] in ("task.timeout", "task.failed")
    assert json.loads(letter["original"])[0] == [bars(1, "SLOW")]
    busy()
    assert door.send(bars(1, "AFTER_SLOW")).get(timeout=30)["accepted"] == 1


@pytest.mark.slow
def test_points_whose_process_dies_every_time_are_a_dead_letter(door: Door, busy: Callable[[], Any]) -> None:
    answer = door.send(bars(1, "DEADLY"))

    def killed_again() -> bool:
        child = door.working(answer.id)
        if child is not None:
            os.kill(child, signal.SIGKILL)
        return answer.id in buried(door)

    until(killed_again, "its points are a dead letter", every=0.05)
    letter = buried(door)[answer.id]
    assert letter["reasons"][0]["code"] in ("task.failed", "task.timeout")
    assert json.loads(letter["original"])[0] == [bars(1, "DEADLY")]
    busy()
    assert door.send(bars(1, "AFTER_DEADLY")).get(timeout=30)["accepted"] == 1


def buried(door: Door) -> dict[str, dict[str, Any]]:
    """Return the dead letters of this door by the id of their batch."""
    return {letter["batch_id"]: letter for letter in door.letters()}
