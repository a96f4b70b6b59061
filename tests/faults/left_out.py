"""Rules left out of a real fleet, and the fault that must find something then."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final, NamedTuple

from tests.acceptance.fleet_fixture import clean_environment
from tests.faults.matrix import brokers, kills, nudges
from tests.faults.proxy import MOMENTS
from tests.faults.scene import REPOSITORY

AT_WRITE: Final = "kill -9 before and after the write"
AT_PLACE: Final = "kill -9 at a named place"
AT_WORD: Final = "connections reset at a command or reply"


class Shown(NamedTuple):
    """What shows that a rule is missing.

    Attributes:
        fault: A fault of the matrix.
        turns: Which of its injections.
        finds: What it must find, as a regular expression.
    """

    fault: str
    turns: tuple[int, ...]
    finds: str


class Noticed(NamedTuple):
    """A rule that was left out, and what a fault found.

    Attributes:
        rule: Its name.
        found: The first thing that was found.
        is_noticed: Whether that is what the rule prevents.
    """

    rule: str
    found: str
    is_noticed: bool


def _place(point: str) -> int:
    return [name for name, _ in kills.PLACES].index(point)


def _cut(moment: str, word: str) -> int:
    return MOMENTS.index(moment) * len(brokers.SAID) + brokers.SAID.index(word)


LEFT_OUT: Final = {
    "without_ledger_check": Shown(AT_WRITE, (2,), r"doubled in"),
    "settled_before_written": Shown(AT_WRITE, (0,), r"lost in"),
    "without_tombstone": Shown(AT_PLACE, (_place("accept.after"),) * 2, r"delivered, but|doubled in"),
    "without_match_guard": Shown(AT_WORD, (_cut("after", "match"),) * 2, r"matched|routed|doubled in"),
    "without_sweep": Shown(nudges.FAULTS[0].name, (3,), r"not drained"),
    "without_freed_slots": Shown(AT_WORD, (_cut("before", "ack"),) * 6, r"not drained|stopped"),
}


def noticed(rule: str, seed: int) -> Noticed:
    """Run a fleet without a rule, and return what its fault found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--seed", str(seed), "--without", rule],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=clean_environment(),
        check=False,
    )
    wrong = re.findall(r"WRONG: (.*)", done.stderr)
    shown = [sentence for sentence in wrong if re.search(LEFT_OUT[rule].finds, sentence)]
    found = next(iter(shown or wrong), done.stderr[-500:] if done.returncode else "nothing")
    return Noticed(rule, found, bool(shown) and done.returncode == 1)
