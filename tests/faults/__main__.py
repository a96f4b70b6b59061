"""The fault suite: `python -m tests.faults` does every harm to a real fleet and prints what was left."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.acceptance.fleet_fixture import CANDLEFLEET
from tests.faults import disks
from tests.faults.broken import VARIANTS
from tests.faults.fault import Fault, Run, run
from tests.faults.matrix import FAULTS, clocks
from tests.faults.scene import REPOSITORY, Scene, Throughput
from tests.faults.table import beside_the_frozen, printed

#: What some faults need of a machine, and whether this one has it.
AVAILABLE = {
    "": lambda: True,
    "root": disks.mountable,
    "strace": lambda: shutil.which("strace") is not None,
    "faketime": clocks.LIBRARY.exists,
}

#: One of each kind, for a first look.
SHORT = (
    "kill -9 of a pool process",
    "kill -9 of a worker",
    "destination resets, is away, refuses",
    "nudges doubled, reordered, late, lost, invented",
    "Redis killed, started again",
)


def main() -> int:
    """Run what was asked for; return 1 if anything was lost, doubled, disordered or left waiting."""
    asked = _arguments()
    began = time.monotonic()
    say(f"seed {asked.seed}")
    chosen = [fault for fault in FAULTS if _wanted(fault, asked)]
    runs: list[Run] = []
    frozen: list[Throughput] = []
    with tempfile.TemporaryDirectory(prefix="candlefleet-faults-") as folder:
        scene = None
        try:
            for number, fault in enumerate(chosen):
                if not AVAILABLE[fault.needs]():
                    say(f"{fault.name}: left out, it needs {fault.needs}")
                    continue
                if scene is None:
                    small = disks.mountable() and not asked.short
                    place, dice = Path(folder) / str(number), random.Random(asked.seed)
                    scene = Scene(place, dice, small_disks=small, without=asked.without)
                say(f"{time.monotonic() - began:5.0f} s  {fault.name}")
                runs.append(run(scene, fault, min(asked.injections or fault.injections, fault.injections)))
                _say_what_happened(runs[-1])
                frozen = frozen or scene.frozen
                if runs[-1].drained is None:  # what waits for ever would be in the way of the next one
                    scene.close()
                    scene = None
            audit = _audit() if scene is not None else 0
        finally:
            if scene is not None:
                if asked.keep:
                    say(f"left in {scene.folder}")
                    input()
                scene.close()
    print(printed(runs))
    if frozen:
        print("\n" + beside_the_frozen(frozen))
    print(f"\nseed {asked.seed}, {time.monotonic() - began:.0f} s, `candlefleet audit` exits {audit}")
    return 1 if audit or any(one.findings.wrong for one in runs) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", metavar="FAULT", help="those whose name contains this")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--injections", type=int, default=0, help="of each fault; its own number otherwise")
    parser.add_argument("--short", action="store_true", help="a few of the faults, twice each")
    parser.add_argument(
        "--without", default="", choices=["", *VARIANTS], metavar="RULE", help="leave one out"
    )
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args()
    if asked.short and not asked.injections:
        asked.injections = 2
    return asked


def _wanted(fault: Fault, asked: argparse.Namespace) -> bool:
    return asked.only.lower() in fault.name.lower() and (not asked.short or fault.name in SHORT)


def _audit() -> int:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([*CANDLEFLEET, "audit"], stdout=sys.stderr, env=environment, check=False).returncode


def _say_what_happened(done: Run) -> None:
    say(f"         {', '.join(done.struck)}")
    for sentence in done.findings.wrong:
        say(f"         WRONG: {sentence}")


def say(text: str) -> None:
    """Tell how far it is, beside the table."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
