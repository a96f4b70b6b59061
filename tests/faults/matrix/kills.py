"""Processes that die: at random, at named places, at a system call, and by signals that ask politely."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from tests.acceptance.fleet_fixture import alive, until
from tests.faults.fault import Fault
from tests.faults.scene import Scene, kill_family, send_signal


def pool_process(scene: Scene, turn: int) -> str:
    """Kill a pool process while it works on a part."""
    name = scene.workers[turn % len(scene.workers)]
    send_signal(scene.busy_child(name), signal.SIGKILL)
    return f"child of {name}"


def worker(scene: Scene, turn: int) -> str:
    """Kill a worker's main process, and so its pool."""
    name = scene.workers[turn % len(scene.workers)]
    send_signal(scene.leader(name), signal.SIGKILL)
    scene.rest(0.5)
    return name


def all_workers(scene: Scene, turn: int) -> str:
    """Kill every worker and its pool at one time."""
    pids = [scene.leader(name) for name in scene.workers]
    with scene.unmended():
        for pid in pids:
            kill_family(pid)
    scene.rest(1.0 + turn)
    return f"{len(pids)} workers"


def beat_or_producer(scene: Scene, turn: int) -> str:
    """Kill Beat and the producer in turn."""
    if turn % 2:
        send_signal(scene.leader("beat"), signal.SIGKILL)
        scene.rest(0.5)
        return "beat"
    until(scene.feeder.unacknowledged, "a batch is on its way", every=0.001)
    send_signal(scene.feeder.producer.process.pid, signal.SIGKILL)
    scene.rest(0.5)
    return "producer"


WHEN = ("before", "after")
#: Fail points, and the trouble that leads a part there.
PLACES = (
    *((f"{script}.{when}", "") for script in ("accept", "take", "match", "cut") for when in WHEN),
    *((f"{script}.{when}", "") for script in ("claim", "settle", "sweep") for when in WHEN),
    *((f"renew.{when}", "slow") for when in WHEN),
    *((f"nack.{when}", "reset_before") for when in WHEN),
    *((f"pause.{when}", "away") for when in WHEN),
    ("write.before", ""),
    ("write.after", ""),
    ("nudge.before", ""),
    ("advertise.after", ""),
)


def named_place(scene: Scene, turn: int) -> str:
    """Kill whoever reaches a fail point first."""
    point, trouble = PLACES[turn % len(PLACES)]
    if trouble:
        scene.plan_trouble(trouble)
    fired = scene.arm(point)
    until(fired.exists, f"somebody died at {point}", within=40)
    return point


def around_the_write(scene: Scene, turn: int) -> str:
    """Kill whoever is about to write, or is about to say that it wrote; every third has a ledger."""
    if turn % 3 == 2:
        planned = scene.plan_trouble("killed_after")
        until(lambda: not planned.exists(), "somebody died at troubled", within=40)
        return "troubled, written"
    point = ("write.before", "settle.before")[turn % 3]
    until(scene.arm(point).exists, f"somebody died at {point}", within=40)
    return point


def polite_signal(scene: Scene, turn: int) -> str:
    """Ask a worker to stop in the middle of a write: SIGTERM, SIGQUIT, or SIGTERM and another one."""
    name = scene.workers[turn % len(scene.workers)]
    number = (signal.SIGTERM, signal.SIGQUIT, signal.SIGTERM)[turn % 3]
    pid = until(lambda: (pid := scene.leader(name)) not in scene.leaving and pid, f"{name} is back")
    scene.leaving.add(pid)
    if name == "troubled":
        scene.plan_trouble("slow")
    scene.busy_child(name)
    send_signal(pid, number)
    if turn % 3 == 2:
        scene.rest(0.05)
        send_signal(pid, number)
    return f"{name}, {'second ' * (turn % 3 == 2)}{number.name}"


@contextlib.contextmanager
def all_leave(scene: Scene) -> Iterator[None]:
    """See to it that whoever is asked to stop does."""
    yield
    until(lambda: not any(map(alive, scene.leaving)), "whoever was asked to stop ended")


FAULTS = (
    Fault("kill -9 of a pool process", pool_process),
    Fault("kill -9 of a worker", worker),
    Fault("kill -9 of all workers", all_workers, injections=4),
    Fault("kill -9 of Beat, of the producer", beat_or_producer),
    Fault("kill -9 at a named place", named_place, injections=len(PLACES)),
    Fault("kill -9 before and after the write", around_the_write),
    Fault("SIGTERM, SIGQUIT, second SIGTERM", polite_signal, around=all_leave),
)
