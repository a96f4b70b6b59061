"""Fault: one way to disturb a fleet, and the run that shows what became of its points."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.acceptance.fleet_fixture import until
from tests.faults.invariants import Findings, check
from tests.faults.scene import Scene

#: Strikes the n-th time and returns what it struck; None if this machine cannot do it.
Strike = Callable[[Scene, int], str]
Around = Callable[[Scene], contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def _nothing(scene: Scene):
    yield


@dataclass(frozen=True)
class Fault:
    """One row of the matrix, or a part of one.

    Attributes:
        name: What people call it.
        strike: Injects it once.
        injections: How often in a whole run.
        around: What must be so while it is injected.
        needs: What the machine must have; '' if nothing.
        points: The least number of points that must flow meanwhile.
    """

    name: str
    strike: Strike
    injections: int = 20
    around: Around = _nothing
    needs: str = ""
    points: int = 3000

    @property
    def slug(self) -> str:
        """The name as a source of points."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower()).strip("-")


def _wait_for_points(scene: Scene, points: float) -> None:
    until(lambda: scene.feeder.sent >= points, f"{points:.0f} points were sent", every=0.01)


@dataclass(frozen=True)
class Run:
    """A fault that was injected, and what it left."""

    fault: Fault
    struck: list[str]
    points: int
    drained: float | None
    lasted: float
    findings: Findings


def run(scene: Scene, fault: Fault, injections: int, tag: str = "") -> Run:
    """Inject a fault so many times while points flow, wait until they are delivered, and look."""
    began, source = time.monotonic(), f"{fault.slug}{tag}"
    scene.feeder.begin(source)
    struck: list[str] = []
    try:
        with fault.around(scene):
            for turn in range(injections):
                scene.feeder.resume()
                _wait_for_points(scene, fault.points * turn / fault.injections)
                scene.caught_working()
                struck.append(fault.strike(scene, turn))
    except AssertionError as error:  # a condition that was waited for did not come
        findings = Findings(wrong=[f"stopped after {len(struck)} injections: {error}"])
        return Run(fault, struck, scene.feeder.sent, None, time.monotonic() - began, findings)
    scene.feeder.resume()
    _wait_for_points(scene, fault.points * injections / fault.injections)
    drained = scene.drain()
    points = scene.feeder.sent
    findings = check(scene, source, points, drained, injections)
    return Run(fault, struck, points, drained, time.monotonic() - began, findings)
