"""The fault suite in short, and with rules left out: a suite that cannot fail proves nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.acceptance.fleet_fixture import clean_environment
from tests.faults.scene import REPOSITORY

SEED = "20261124"
#: What is left out, the fault that shows it, and how often it is injected.
NOTICED = {
    "without_ledger_check": ("kill -9 before and after the write", 12),
    "settled_before_written": ("kill -9 before and after the write", 8),
}


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite as `make faults` does."""
    return subprocess.run(
        [sys.executable, "-m", "tests.faults", "--seed", SEED, *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=clean_environment(),
        timeout=170,
        check=False,
    )


@pytest.mark.slow
def test_a_few_faults_lose_and_double_nothing() -> None:
    done = suite("--short")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| holds") == 5
    assert "`candlefleet audit` exits 0" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("rule", NOTICED)
def test_a_rule_left_out_is_noticed(rule: str) -> None:
    harm, times = NOTICED[rule]
    done = suite("--without", rule, "--only", harm, "--injections", str(times))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "doubled in" in done.stdout or "lost in" in done.stdout
