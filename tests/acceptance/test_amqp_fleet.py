"""A fleet whose broker is a RabbitMQ: Redis keeps the state, and a lost message costs no point."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import Connection
from ulid import ULID

from router.errors import CandlefleetError
from tests.acceptance.brokers import virtual_host
from tests.acceptance.door_fixture import AmqpDoor
from tests.acceptance.fleet_fixture import (
    CELERY,
    QUIET,
    Crew,
    alive,
    crew_at_work,
    pool,
    run,
    running,
    until,
)
from tests.make import make_point
from tests.make_messages import MALFORMED, UNREADABLE, as_amqp, make_message
from tests.servers.certificates import CA, STRANGER
from tests.servers.rabbitmq import RabbitMQ, own_rabbitmq
from workers.broker import check, client, messages, queue
from workers.envelope import QUEUE

LATE = "destinations.late"  #: a queue that the crew leaves to others


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """Give a RabbitMQ that this module may kill."""
    with own_rabbitmq(secure=True) as server:
        yield server


@pytest.fixture(scope="module")
def crew(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew whose messages a virtual host of it carries."""
    routes = Path(__file__).with_name("amqp_routes.py")
    with (
        virtual_host(rabbitmq) as url,
        crew_at_work(tmp_path_factory.mktemp("amqp"), routes, without=["late"], broker=url) as at_work,
    ):
        yield at_work
        print((at_work.folder / "worker.log").read_text())


@pytest.fixture(scope="module")
def door(crew: Crew) -> Iterator[AmqpDoor]:
    """Give the door for Celery messages, with its worker at work."""
    command = [*CELERY, "worker", "-n", "points@%h", "-Q", QUEUE, "-c", "1", *QUIET]
    with running(command, crew.folder / "door.log", crew.environment) as worker:
        until(lambda: "@points" in crew.store.served(), "the door is served")
        made = AmqpDoor(crew, worker.pid)
        yield made
        made.client.close()
        print((crew.folder / "door.log").read_text())


def bars(count: int, symbol: str) -> list[dict[str, Any]]:
    """Return points for the route `jsonl`, as JSON has them."""
    return [make_point(row=row, source="plain", symbol=symbol).to_json_dict() for row in range(count)]


def delivered(crew: Crew, symbol: str) -> int:
    """Return how many points of a symbol lie in the file of the route `jsonl`; none lies there twice."""
    lines = (crew.exports / "jsonl" / f"{symbol}.jsonl").read_text().splitlines()
    times = [json.loads(line)["timestamp"] for line in lines]
    assert len(times) == len(set(times))
    return len(times)


def queues(crew: Crew, rabbitmq: RabbitMQ) -> dict[str, dict[str, Any]]:
    """Return what RabbitMQ says of the queues of a crew."""
    return {one["name"]: one for one in rabbitmq.api("GET", f"queues/{crew.broker.rpartition('/')[2]}")}


# -- messages ----------------------------------------------------------------------------------


def test_points_are_delivered(crew: Crew) -> None:
    crew.deliver(bars(50, "FIRST"))
    assert delivered(crew, "FIRST") == 50


def test_the_parts_of_a_large_flush_are_a_chord_whose_results_redis_holds(crew: Crew) -> None:
    crew.deliver(bars(25_000, "CHORD"))
    assert delivered(crew, "CHORD") == 25_000
    assert "flushed.jsonl" in (crew.folder / "worker.log").read_text()


def test_queues_outlive_the_server_and_have_priorities_but_for_the_one_of_strangers(
    crew: Crew, door: AmqpDoor, rabbitmq: RabbitMQ
) -> None:
    known = queues(crew, rabbitmq)
    for name in ("router", "maint", "destinations.jsonl", QUEUE):
        assert known[name]["durable"]
    assert known["destinations.jsonl"]["arguments"] == {"x-max-priority": 9}
    assert known[QUEUE]["arguments"] == {}


def test_status_tells_how_many_messages_wait(crew: Crew, candlefleet) -> None:
    with client(crew.broker) as sender:
        for _ in range(3):
            sender.send_task("maint.canary", ("!",), queue=queue(LATE), ignore_result=True)
    said = candlefleet("status", "--json", environment=crew.environment)
    assert said.json["queues"][LATE] == {"messages": 3, "owed": 0, "served": False}
    assert said.json["queues"]["router"]["served"]
    purged = run([*CELERY, "purge", "-f", "-Q", LATE], crew.environment, crew.folder)
    assert "Purged 3 messages" in purged.stdout


def test_the_urgent_among_the_messages_that_wait_go_first(crew: Crew) -> None:
    levels = ["LOW", "NORMAL", "HIGH"]
    crew.store.advertise([level.lower() for level in levels])  # by a worker that has just left
    with client(crew.broker) as sender:
        for level in levels:
            before = messages(sender, [LATE])
            crew.producer.send_batch([make_point(row=row, source="late", symbol=level) for row in range(10)])
            until(lambda before=before: messages(sender, [LATE]) != before, f"{level} waits")
    command = [*CELERY, "worker", "-n", "late@%h", "-Q", LATE, "-c", "1", *QUIET]
    with running(command, crew.folder / "late.log", crew.environment):
        crew.settled()
    written = [row["symbol"] for row in crew.rows("late")]
    assert written == [level for level in reversed(levels) for _ in range(10)]


# -- the door ----------------------------------------------------------------------------------


def test_any_celery_client_sends_points_and_gets_its_answer(door: AmqpDoor) -> None:
    for options in ({}, {"compression": "gzip"}, {"priority": 9}, {"countdown": 0.2}):
        answer = door.send(bars(5, f"C{ULID()}"), **options).get(timeout=30)
        assert answer == {"accepted": 5, "refused": [], "again": False}


def test_every_malformed_message_is_one_dead_letter_and_the_worker_lives(door: AmqpDoor) -> None:
    bad = [(as_amqp(raw), code) for _, raw, code in UNREADABLE + MALFORMED]
    sent = [(*said, code) for said, code in bad if said is not None]
    sent += [(b"[]", {}, "envelope.shape"), (b"[]", {"content_type": "application/json"}, "envelope.shape")]
    children, before = pool(door.pid), len(door.letters())
    for number, (body, properties, _) in enumerate(sent):
        door.push(make_message(bars(1, f"BEFORE{number}"), headers__id=f"before-{number}"))
        door.publish(body, properties)
    door.push(make_message(bars(1, "AFTER"), headers__id="after"))
    until(lambda: not door.waiting(), "every message is taken")
    door.crew.settled()
    letters = door.letters()[before:]
    assert [letter["reasons"][0]["code"] for letter in letters] == [code for *_, code in sent]
    assert len(sent) > 40
    assert all(delivered(door.crew, f"BEFORE{number}") for number in range(len(sent)))
    assert delivered(door.crew, "AFTER") == 1
    assert (alive(door.pid), pool(door.pid)) == (True, children)


def test_properties_that_cannot_be_unpacked_are_left_out(door: AmqpDoor) -> None:
    before = len(door.letters())
    door.publish(b"odd", {"properties": {"message_id": b"\xff\xfe"}})
    until(lambda: len(door.letters()) > before, "a dead letter")
    assert door.letters()[-1]["reasons"][0]["code"] == "envelope.shape"
    assert "odd" in door.letters()[-1]["original"]
    assert alive(door.pid)


def test_two_messages_of_the_same_bytes_are_two_dead_letters(door: AmqpDoor) -> None:
    before = len(door.letters())
    for _ in range(2):
        door.publish(b"the same", {})
    until(lambda: len(door.letters()) == before + 2, "two dead letters")


def test_a_dead_letter_of_the_door_is_replayed_as_it_was_sent(door: AmqpDoor, candlefleet) -> None:
    known = len(door.letters())
    door.send(bars(2, "REPLAYED"), countdown=86_400)
    until(lambda: len(door.letters()) > known, "a dead letter")
    letter = door.letters()[-1]
    assert letter["reasons"][0]["code"] == "task.eta"
    said = candlefleet("dead-letters", "replay", letter["id"], environment=door.crew.environment)
    assert said.code == 0, said.err
    door.crew.settled()
    assert delivered(door.crew, "REPLAYED") == 2


# -- what dies ---------------------------------------------------------------------------------


def test_a_worker_that_is_killed_loses_and_doubles_nothing(crew: Crew) -> None:
    for number in range(4):
        crew.producer.send_batch(bars(200, f"KILLED{number}"))
        os.kill(until(lambda: next(iter(pool(crew.pid)), 0), "a pool process"), signal.SIGKILL)
    crew.settled()
    assert [delivered(crew, f"KILLED{number}") for number in range(4)] == [200] * 4


def test_what_is_sent_while_rabbitmq_is_away_is_accepted_and_delivered_when_it_is_back(
    crew: Crew, door: AmqpDoor, rabbitmq: RabbitMQ
) -> None:
    crew.producer.send_batch(bars(100, "BEFORE_DEATH"))
    rabbitmq.kill()
    receipt = crew.producer.send_batch(bars(100, "MEANWHILE"))
    assert receipt.accepted == 100
    rabbitmq.start()
    crew.settled()
    assert (delivered(crew, "BEFORE_DEATH"), delivered(crew, "MEANWHILE")) == (100, 100)
    assert door.send(bars(1, "DOOR_IS_BACK")).get(timeout=60)["accepted"] == 1


def test_the_account_adds_up(crew: Crew, candlefleet) -> None:
    crew.settled()
    assert candlefleet("audit", environment=crew.environment).code == 0


# -- who is not let in -------------------------------------------------------------------------


def test_a_rabbitmq_that_cannot_be_used_is_one_line_that_says_what_to_do(
    crew: Crew, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.api("PUT", "vhosts/taken")
    rabbitmq.api("PUT", "users/reader", {"password": "s3cr3t", "tags": ""})
    rabbitmq.api("PUT", "permissions/taken/reader", {"configure": "", "write": "", "read": ".*"})
    with Connection(rabbitmq.url_for(vhost="taken")) as connection, connection.channel() as channel:
        channel.queue_declare("router", durable=True, auto_delete=False)
    redis = urlsplit(crew.url).port
    for url, code, words in (
        (rabbitmq.url_for(password="wr0ng"), "broker.refused", "does not know the user 'candles'"),
        (rabbitmq.url_for(vhost="nowhere"), "broker.vhost", "`rabbitmqctl add_vhost nowhere`"),
        (rabbitmq.url_for(vhost="taken"), "broker.queue", "a virtual host of its own"),
        (rabbitmq.url_for("reader", vhost="taken"), "broker.refused", "set_permissions -p taken reader"),
        (rabbitmq.url_for(port=1), "", "127.0.0.1:1 does not answer"),
        (rabbitmq.url_for(port=redis), "", f"127.0.0.1:{redis} does not answer"),
    ):
        with pytest.raises(CandlefleetError) as caught:
            check(url)
        assert words in str(caught.value)
        assert getattr(caught.value, "code", "") == code
        assert not {"wr0ng", "s3cr3t"} & set(re.findall(r"\w+", repr(caught.value) + str(caught.value)))
        assert "\n" not in str(caught.value)


def test_a_rabbitmq_is_spoken_to_over_tls_if_its_certificate_names_it(
    rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = rabbitmq.url_for(port=rabbitmq.secure_port).replace("amqp://", "amqps://")
    named = url.replace("127.0.0.1", "localhost")
    for ca, at, words in (
        (STRANGER, named, "name in SSL_CERT_FILE the CA that signed its certificate"),
        (CA, url, "certificate is not valid for '127.0.0.1'"),
        (CA, f"{named}?ssl_ca_certs=x", "leave out what follows the ?"),
        (CA, "amqps://a..b", "a..b:5671: encoding with 'idna' codec failed"),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(rabbitmq.folder / ca))
        with pytest.raises(CandlefleetError) as caught:
            check(at)
        assert words in str(caught.value)
    check(named)


@pytest.mark.parametrize("command", [["worker", "-Q", "router"], ["beat"]], ids=" ".join)
def test_no_process_starts_where_it_is_not_let_in(
    crew: Crew, rabbitmq: RabbitMQ, tmp_path: Path, command: list[str]
) -> None:
    environment = crew.environment | {"CANDLEFLEET_BROKER_URL": rabbitmq.url_for(password="wr0ng")}
    said = run([*CELERY, *command], environment, tmp_path)
    assert said.returncode != 0
    assert "does not know the user 'candles'" in said.stderr + said.stdout
    assert "Traceback" not in said.stderr + said.stdout
    assert "wr0ng" not in said.stderr + said.stdout
