"""Messages that are doubled, reordered, late, lost or invented, and Beat twice or never."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from tests.acceptance.fleet_fixture import CELERY, running, until
from tests.faults.fault import Fault
from tests.faults.scene import REPOSITORY, Scene, kill_family, send_signal
from workers.broker import client, queue
from workers.store import PREFIX


@contextlib.contextmanager
def waiting(scene: Scene, name: str) -> Iterator[list[Any]]:
    """Stop a worker until messages wait in its queue, and give them, taken out; it goes on afterwards."""
    pid, of = scene.leader(name), "router" if name == "router" else f"destinations.{name}"
    send_signal(pid, signal.SIGSTOP)
    try:
        yield until(lambda: scene.mail.take(of), f"messages wait for {name}", within=40, every=0.01)
    finally:
        send_signal(pid, signal.SIGCONT)


def doubled(scene: Scene, name: str) -> None:
    with waiting(scene, name) as messages:
        scene.mail.put(messages * 2)


def reordered(scene: Scene, name: str) -> None:
    _invent(scene, name)
    with waiting(scene, name) as messages:
        scene.dice.shuffle(messages)
        scene.mail.put(messages)


def late(scene: Scene, name: str) -> None:
    with waiting(scene, name) as messages:
        pass
    scene.rest(scene.dice.uniform(0.5, 3.0))
    scene.mail.put(messages)


def lost(scene: Scene, name: str) -> None:
    with waiting(scene, name):
        pass


def invented(scene: Scene, name: str) -> None:
    with waiting(scene, name) as messages:
        scene.mail.put(messages)
        _invent(scene, name)


def _invent(scene: Scene, name: str) -> None:
    parts = [part.decode() for part in scene.store.redis.zrange(f"{PREFIX}parts", 0, -1)]
    with client(scene.broker_url) as sender:
        for part in ("01J0000000000000000000NONE-1", *parts):
            sender.send_task("deliver.csv", (part,), {"rows": 1}, queue=queue("destinations.csv"))
        for _ in range(5):
            sender.send_task("router.route", queue=queue("router"))
            sender.send_task("maint.sweep", queue=queue("maint"))


HARMS = (doubled, reordered, late, lost, invented)


def nudges(scene: Scene, turn: int) -> str:
    """Do harm to the messages of one worker's queue."""
    nudged = [name for name in scene.workers if name != "points"]  # that queue carries points, not nudges
    harm, name = HARMS[turn % len(HARMS)], nudged[turn % len(nudged)]
    harm(scene, name)
    return f"{harm.__name__} for {name}"


def two_beats_or_none(scene: Scene, turn: int) -> str:
    """Let Beat run twice for a while, or not at all."""
    if turn % 2 == 0:
        command = [*CELERY, "beat", "-l", "WARNING"]
        log, environment = scene.logs / "beat2.log", scene.worker_environment()
        with running(command, log, environment, cwd=REPOSITORY) as second:
            scene.rest(5)
            assert second.poll() is None, log.read_text()
        return "two"
    scene.resting.add("beat")
    kill_family(scene.leader("beat"))
    scene.rest(5)
    scene.resting.discard("beat")
    return "none"


FAULTS = (
    Fault("nudges doubled, reordered, late, lost, invented", nudges),
    Fault("two Beats, no Beat", two_beats_or_none, injections=4),
)
