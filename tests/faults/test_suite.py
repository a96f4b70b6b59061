"""The fault suite in short, and with rules left out: a suite that cannot fail proves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.acceptance.fleet_fixture import clean_environment
from tests.faults.left_out import noticed
from tests.faults.scene import REPOSITORY

SEED = 20261124
#: What shows soonest; `python -m tests.faults --rules` leaves out all.
QUICKLY_SHOWN = ("without_ledger_check",)


def suite(*arguments: str) -> subprocess.Popen[str]:
    """Start the suite as `make faults` does."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults", "--seed", str(SEED), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=clean_environment(),
    )


@pytest.mark.slow
def test_a_few_faults_lose_and_double_nothing() -> None:
    with suite("--short") as done:
        out, err = done.communicate()
    assert done.returncode == 0, out + err
    assert out.count("| holds") == 4
    assert "`candlefleet audit` exits 0" in out


@pytest.mark.slow
@pytest.mark.parametrize("rule", QUICKLY_SHOWN)
def test_a_rule_left_out_is_noticed(rule: str) -> None:
    found = noticed(rule, SEED)
    assert found.is_noticed, found


@pytest.mark.slow
def test_a_suite_that_is_stopped_shows_what_it_found_so_far() -> None:
    with suite("--only", "malformed") as stopped:
        assert stopped.stderr is not None
        for line in stopped.stderr:
            if "malformed" in line:
                stopped.send_signal(signal.SIGTERM)
                break
        out, err = stopped.communicate()
    assert stopped.returncode == 128 + signal.SIGTERM, out + err
    assert "| fault" in out
    assert "stopped during: malformed input" in out
