"""Fault: one way to disturb a fleet, and the run that shows what became of its points."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.acceptance.fleet_fixture import until
from tests.faults.invariants import Findings, check
from tests.faults.scene import PATIENCE, Scene

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
        keeps_order: Whether points arrive in order of acceptance; those that come back from the dead do not.
    """

    name: str
    strike: Strike
    injections: int = 20
    around: Around = _nothing
    needs: str = ""
    points: int = 3000
    keeps_order: bool = True

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


def run(scene: Scene, fault: Fault, turns: Sequence[int], patience: float = PATIENCE) -> Run:
    """Inject a fault in each of some turns while points flow, wait until they are delivered, and look.

    Whatever goes wrong, the harness itself included, is a finding.
    """
    began, struck = time.monotonic(), list[str]()
    share = fault.points / fault.injections
    scene.feeder.begin(fault.slug)
    try:
        letters = scene.letters_kept()
        with fault.around(scene):
            for number, turn in enumerate(turns):
                scene.feeder.resume()
                _wait_for_points(scene, share * number)
                scene.caught_working()
                struck.append(fault.strike(scene, turn))
        scene.feeder.resume()
        _wait_for_points(scene, share * len(turns))
        drained = scene.drain(patience)
        findings = check(scene, fault.slug, scene.feeder.sent, drained, len(turns), ordered=fault.keeps_order)
        findings.dead = scene.letters_kept() - letters
    except Exception as error:
        scene.feeder.pause()
        sentence = f"stopped after {len(struck)} injections: {type(error).__name__}: {error}"
        drained, findings = None, Findings(wrong=[sentence])
    return Run(fault, struck, scene.feeder.sent, drained, time.monotonic() - began, findings)
