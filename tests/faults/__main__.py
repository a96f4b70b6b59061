"""The fault suite: `python -m tests.faults` does every harm to a real fleet and prints what was left."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from tests.acceptance.brokers import over_rabbitmq
from tests.acceptance.fleet_fixture import CANDLEFLEET
from tests.faults import disks
from tests.faults.broken import VARIANTS
from tests.faults.fault import Fault, Run, run
from tests.faults.left_out import LEFT_OUT, Noticed, noticed
from tests.faults.matrix import FAULTS, clocks
from tests.faults.scene import DRAINED_WITHIN, PATIENCE, REPOSITORY, Scene, Throughput
from tests.faults.table import beside_the_frozen, of_rules, printed

#: What some faults need of a machine, and whether this one has it.
AVAILABLE = {
    "": lambda: True,
    "root": disks.mountable,
    "strace": lambda: shutil.which("strace") is not None,
    "faketime": clocks.LIBRARY.exists,
    "rabbitmq": over_rabbitmq,
}

#: A few for a first look: the turns of each.
SHORT: Final = {
    "kill -9 of a pool process": (1,),
    "destination resets, is away, refuses": (1, 8),
    "nudges doubled, reordered, late, lost, invented": (0,),
    "Redis killed, started again": (0,),
    "RabbitMQ killed, started again": (0,),
    "RabbitMQ killed, started anew and empty": (0,),
}


class Suite:
    """Injects faults one after another into one fleet; one that leaves something waiting gets it replaced.

    Args:
        folder: Where everything lies.
        seed: Of all chance.
        without: A rule that is left out; '' for none.
        small_disks: Whether files lie on small disks of their own, if that can be.
    """

    def __init__(self, folder: Path, seed: int, *, without: str = "", small_disks: bool = True) -> None:
        self.runs: list[Run] = []
        self.frozen: list[Throughput] = []
        self.audit = 0
        self.left_out: list[Noticed] = []
        self.during = ""  #: what is being done
        self._folder, self._seed, self._without = folder, seed, without
        self._small_disks = small_disks and disks.mountable()
        self._scene: Scene | None = None
        self._began = time.monotonic()

    def inject(self, fault: Fault, turns: Sequence[int]) -> None:
        """Inject a fault in each of some turns."""
        if not AVAILABLE[fault.needs]():
            say(f"{fault.name}: left out, it needs {fault.needs}")
            return
        self._begin(fault.name)
        if self._scene is None:
            place, dice = self._folder / str(len(self.runs)), random.Random(self._seed)
            self._scene = Scene(place, dice, small_disks=self._small_disks, without=self._without)
        done = run(self._scene, fault, turns, DRAINED_WITHIN if self._without else PATIENCE)
        self.runs.append(done)
        self.frozen = self.frozen or self._scene.frozen
        say(f"         {', '.join(done.struck)}")
        for sentence in done.findings.wrong:
            say(f"         WRONG: {sentence}")
        if done.drained is None:  # what waits for ever would be in the way of the next one
            self.close()

    def leave_out(self, rule: str) -> None:
        """Run a fleet that leaves a rule out, in processes of its own, and see whether anything notices."""
        self._begin(rule)
        self.left_out.append(noticed(rule, self._seed))
        say(f"         {self.left_out[-1].found}")

    def end(self) -> None:
        """Audit the fleet once all is done; without a rule it cannot add up."""
        if self._scene is not None and not self._without:
            environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
            audit = subprocess.run([*CANDLEFLEET, "audit"], stdout=sys.stderr, env=environment, check=False)
            self.audit = audit.returncode
        self.during = ""

    def close(self) -> None:
        """Stop the fleet. Safe to call twice."""
        if self._scene is not None:
            self._scene.close()
            self._scene = None

    def show(self) -> None:
        """Print what was found so far."""
        print(of_rules(self.left_out) if self.left_out else printed(self.runs))
        if self.frozen:
            print("\n" + beside_the_frozen(self.frozen))
        ended = f"stopped during: {self.during}" if self.during else f"`candlefleet audit` exits {self.audit}"
        print(f"\nseed {self._seed}, {self._seconds():.0f} s, {ended}", flush=True)

    @property
    def failed(self) -> bool:
        """Whether anything is wrong, or a rule that was left out was missed by nobody."""
        return bool(
            self.audit
            or self.during
            or any(one.findings.wrong for one in self.runs)
            or not all(one.is_noticed for one in self.left_out)
        )

    def _begin(self, what: str) -> None:
        self.during = what
        say(f"{self._seconds():5.0f} s  {what}")

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def main() -> int:
    """Run what was asked for; return 1 if anything was lost, doubled, disordered or left waiting."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, _stop_in_order)
    say(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="candlefleet-faults-", ignore_cleanup_errors=True) as folder:
        small_disks = not (asked.short or asked.without)
        suite = Suite(Path(folder), asked.seed, without=asked.without, small_disks=small_disks)
        try:
            for rule in LEFT_OUT if asked.rules else ():
                suite.leave_out(rule)
            for fault, turns in () if asked.rules else _chosen(asked):
                suite.inject(fault, turns)
            suite.end()
        finally:
            suite.show()
            if asked.keep:
                say(f"left in {folder}")
                input()
            suite.close()
    return int(suite.failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", metavar="FAULT", help="those whose name contains this")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--injections", type=int, default=0, help="of each fault; its own number otherwise")
    parser.add_argument("--turns", type=_turns, default=(), metavar="N,N", help="these, of each fault")
    parser.add_argument("--short", action="store_true", help="a few of the faults, once or twice each")
    parser.add_argument(
        "--without",
        default="",
        choices=["", *VARIANTS],
        metavar="RULE",
        help=f"leave out one of {', '.join(VARIANTS)}, and do what shows it",
    )
    parser.add_argument("--rules", action="store_true", help="instead: leave out each rule in turn")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def _turns(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _chosen(asked: argparse.Namespace) -> list[tuple[Fault, Sequence[int]]]:
    shown = LEFT_OUT.get(asked.without)
    if shown is not None and not asked.only:
        return [(fault, shown.turns) for fault in FAULTS if fault.name == shown.fault]
    faults = [fault for fault in FAULTS if asked.only.lower() in fault.name.lower()]
    if asked.short:
        chosen = [fault for fault in faults if fault.name in SHORT and AVAILABLE[fault.needs]()]
        return [(fault, SHORT[fault.name]) for fault in chosen]
    most = asked.injections or max(fault.injections for fault in FAULTS)
    return [(fault, asked.turns or range(min(most, fault.injections))) for fault in faults]


# Disks are to be unmounted, and processes ended, whoever asks to stop; once is enough.
def _stop_in_order(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def say(text: str) -> None:
    """Tell how far it is, beside the table."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
