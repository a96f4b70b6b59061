"""The fault suite in short: some faults of each kind on one fleet, and rules left out that it must notice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fault import Fault, run
from tests.faults.matrix import FAULTS
from tests.faults.scene import Scene

SEED = 20_261_124

#: Enough to see each kind once; `make faults` injects them all, twenty times.
SHORT = (
    "kill -9 of a pool process",
    "kill -9 of a worker",
    "destination resets, is away, refuses",
    "nudges doubled, reordered, late, lost, invented",
    "Redis killed, started again",
)
#: What is left out, and the fault that shows it.
NOTICED = {
    "without_ledger_check": "kill -9 at a named place",
    "settled_before_written": "kill -9 of all workers",
    "without_sweep": "nudges doubled, reordered, late, lost, invented",
}


def fault(name: str) -> Fault:
    """Return the fault of a name."""
    return next(one for one in FAULTS if one.name == name)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("scene"), random.Random(SEED))
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_fault_loses_and_doubles_nothing(scene: Scene, name: str) -> None:
    done = run(scene, fault(name), 2)
    assert len(done.struck) == 2
    assert done.points > 100
    assert done.findings.wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", NOTICED)
def test_a_rule_left_out_is_noticed(tmp_path: Path, rule: str) -> None:
    broken = Scene(tmp_path, random.Random(SEED))
    try:
        broken.restaff(CANDLEFLEET_TEST_BROKEN=rule)
        name = NOTICED[rule]
        turns = 13 if name == "kill -9 at a named place" else 3
        assert run(broken, fault(name), turns).findings.wrong != []
    finally:
        broken.close()
