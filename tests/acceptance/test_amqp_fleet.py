"""A fleet whose broker is a RabbitMQ: Redis keeps the state, and no message that goes astray costs a point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.acceptance.brokers import virtual_host
from tests.acceptance.fleet_fixture import (
    Crew,
    crew_at_work,
)
from tests.make import make_point
from tests.servers.rabbitmq import RabbitMQ, own_rabbitmq


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """Give a RabbitMQ that this module may kill."""
    with own_rabbitmq() as server:
        yield server


@pytest.fixture(scope="module")
def crew(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew whose messages a virtual host of it carries."""
    routes = Path(__file__).with_name("fleet_routes.py")
    with (
        virtual_host(rabbitmq) as url,
        crew_at_work(tmp_path_factory.mktemp("amqp"), routes, without=["late"], broker=url) as at_work,
    ):
        yield at_work
        print((at_work.folder / "worker.log").read_text())


def bars(count: int, symbol: str) -> list[dict[str, Any]]:
    return [make_point(row=row, source="plain", symbol=symbol).to_json_dict() for row in range(count)]


def delivered(crew: Crew, symbol: str) -> int:
    rows = [row["timestamp"] for row in crew.rows("jsonl") if row["symbol"] == symbol]
    assert len(rows) == len(set(rows))
    return len(rows)


def test_points_are_delivered(crew: Crew) -> None:
    crew.deliver(bars(50, "FIRST"))
    assert delivered(crew, "FIRST") == 50


# -- messages ----------------------------------------------------------------------------------


def test_messages_are_confirmed_and_queues_survive(crew: Crew, rabbitmq: RabbitMQ) -> None:
    vhost = crew.broker.rpartition("/")[2]
    queues = {queue["name"]: queue for queue in rabbitmq.api("GET", f"queues/{vhost}")}
    for name in ("router", "maint", "destinations.jsonl"):
        assert queues[name]["durable"]
        assert queues[name]["arguments"] == {"x-max-priority": 9}


def test_status_knows_what_waits_in_rabbitmq(crew: Crew, candlefleet) -> None:
    with Celery("stranger", broker=crew.broker, set_as_current=False) as client:
        client.send_task("router.route", queue=client.amqp.queues["router"]) if False else None
    said = candlefleet("status", "--json", environment=crew.environment)
    assert said.code == 0
    assert said.json["queues"]["router"]["served"]
    assert said.json["queues"]["destinations.late"]["messages"] >= 0


def test_the_account_adds_up(crew: Crew, candlefleet) -> None:
    assert candlefleet("audit", environment=crew.environment).code == 0
