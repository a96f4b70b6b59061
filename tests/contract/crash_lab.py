"""Act in child processes that are killed at one of their steps, and say which left wrong bytes.

A script of its own. Points are columns in its own memory before it forks, and its children only ever
use the ledger: Polars and its threads do not survive a fork. It prints one JSON object.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tests.contract.killed import die_at, in_child
from tests.contract.scenes import SCENES


def kills(root: Path, name: str, durability: str) -> dict[str, Any]:
    """Kill an actor at each of its steps, then two in a row at random ones; each time another finishes."""
    scene = SCENES[name]
    old, expected, stage = root / "old", root / "expected", root / "stage"
    scene.begin(old, durability)
    shutil.copytree(old, expected)
    scene.act(expected, durability)
    before, after = scene.look(old), scene.look(expected)
    wrong: list[list[int]] = []
    seen: list[list[int]] = []

    def killed(plan: list[int]) -> bool:
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(old, stage)
        act = functools.partial(scene.act, stage, durability)
        ends = []
        for step in plan:
            ends.append(in_child(functools.partial(die_at, step), act))
            if not scene.may_be_seen(before, scene.look(stage), after):
                seen.append(plan)
        act()
        if scene.look(stage) != after or scene.recorded(stage) != scene.recorded(expected):
            wrong.append(plan)
        return any(end == -signal.SIGKILL for end in ends)

    steps = next(step for step in itertools.count(1) if not killed([step]))
    chance = random.Random(durability)
    for _ in range(20):
        killed([chance.randint(1, steps), chance.randint(1, steps)])
    return {"steps": steps, "wrong": wrong, "seen": seen, "files": sorted({file for file, _ in after})}


if __name__ == "__main__":
    print(json.dumps(kills(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
