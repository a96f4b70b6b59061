"""The door for Celery messages as a stranger finds it, over Redis or RabbitMQ."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Connection

from tests.acceptance.fleet_fixture import Crew, alive
from tests.make_messages import as_amqp
from workers.broker import messages
from workers.envelope import QUEUE, TASK


class Door:
    """A worker of the queue `points`, and a client that knows nothing of this project."""

    def __init__(self, crew: Crew, pid: int) -> None:
        self.crew = crew
        self.pid = pid
        self.client = Celery("stranger", broker=crew.broker, backend=crew.url, set_as_current=False)

    def send(self, points: Any, **options: Any) -> Any:
        """Send a task as anyone would."""
        return self.client.send_task(TASK, [points], queue=QUEUE, **options)

    def push(self, raw: bytes) -> None:
        """Put a message into the queue, as a list of Redis holds it."""
        self.crew.store.redis.lpush(QUEUE, raw)

    def letters(self) -> list[dict[str, Any]]:
        """Return the dead letters of this door, oldest first."""
        return [letter for letter in self.crew.letters("") if letter["where"].startswith("queue points")]

    def active(self) -> list[dict[str, Any]]:
        """Return what its worker says of the tasks in hand."""
        told = self.client.control.inspect(timeout=0.5).active() or {}
        return [task for tasks in told.values() for task in tasks]

    def working(self, name: str) -> int | None:
        """Return the process that works on a task."""
        pids = [task["worker_pid"] for task in self.active() if task["id"] == name]
        return next((pid for pid in pids if pid and alive(pid)), None)

    def held(self) -> set[bytes]:
        """Return the names of the messages in hand, another one for each time that one is taken."""
        return set(self.crew.store.redis.hkeys("unacked"))

    def waiting(self) -> int:
        """Return the messages that nobody has finished."""
        lists = [QUEUE, *(f"{QUEUE}\x06\x16{step}" for step in (3, 6, 9))]
        return sum(map(self.crew.store.redis.llen, lists)) + len(self.held())


class AmqpDoor(Door):
    """The same over RabbitMQ."""

    def push(self, raw: bytes) -> None:
        """Publish what a message of a Redis list says."""
        said = as_amqp(raw)
        assert said is not None, "no message of AMQP says this"
        self.publish(*said)

    def publish(self, body: bytes, properties: dict[str, Any]) -> None:
        """Publish bytes with these properties, and no others."""
        with Connection(self.crew.broker) as connection, connection.channel() as channel:
            channel.basic_publish(channel.prepare_message(body, **properties), exchange="", routing_key=QUEUE)

    def held(self) -> set[bytes]:
        """Return the names of the messages in hand, another one for each time that one is taken."""
        return {f"{task['id']} {task['delivery_info']['redelivered']}".encode() for task in self.active()}

    def waiting(self) -> int:
        """Return the messages that nobody has finished."""
        return sum(messages(self.client, [QUEUE]).values()) + len(self.held())


def door_of(crew: Crew, pid: int) -> Door:
    """Return the door that a worker keeps."""
    return Door(crew, pid) if crew.broker == crew.url else AmqpDoor(crew, pid)
