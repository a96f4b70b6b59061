"""RabbitMQ that dies, freezes, comes back empty or cuts its connections, where it is the broker."""

from __future__ import annotations

import shutil

from tests.faults.fault import Fault
from tests.faults.scene import Scene


def killed(scene: Scene, turn: int) -> str:
    """Kill RabbitMQ and start it again: what was confirmed is still there."""
    scene.rabbitmq.kill()
    scene.rest(scene.dice.uniform(0.0, 2.0))
    scene.rabbitmq.start()
    return "rabbitmq"


def emptied(scene: Scene, turn: int) -> str:
    """Kill RabbitMQ and start it anew, without a message, without a queue."""
    scene.rabbitmq.kill()
    shutil.rmtree(scene.rabbitmq.folder / "mnesia")
    scene.rabbitmq.start()
    return "every message"


def stopped(scene: Scene, turn: int) -> str:
    """Freeze RabbitMQ: for moments, and once for longer than anyone waits for a confirmation."""
    seconds = 15.0 if turn == 1 else scene.dice.uniform(0.2, 1.5)
    scene.rabbitmq.freeze()
    try:
        scene.rest(seconds)
    finally:
        scene.rabbitmq.thaw()
    return f"{seconds:.1f} s"


def cut(scene: Scene, turn: int) -> str:
    """Let RabbitMQ close every connection."""
    scene.rabbitmq.control("close_all_connections", "for a test")
    return "connections"


FAULTS = (
    Fault("RabbitMQ killed, started again", killed, injections=4, needs="rabbitmq"),
    Fault("RabbitMQ killed, started anew and empty", emptied, injections=4, needs="rabbitmq"),
    Fault("RabbitMQ stopped", stopped, injections=4, needs="rabbitmq"),
    Fault("connections closed by RabbitMQ", cut, injections=4, needs="rabbitmq"),
)
