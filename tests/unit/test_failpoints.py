"""Fail points: nothing by themselves, and what they are told when they are named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from router.errors import ConfigError
from workers.failpoints import FailPointError, parse

REACH_TWICE = """
from workers.failpoints import reach
reach('settle.before')
reach('settle.before')
print('alive')
"""


def run(points: str, fired: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CANDLEFLEET_FAILPOINTS": points}
    if fired is not None:
        environment["CANDLEFLEET_FAILPOINTS_FIRED"] = str(fired)
    return subprocess.run(
        [sys.executable, "-c", REACH_TWICE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_a_point_that_is_not_named_does_nothing():
    assert run("claim.before=kill").stdout == "alive\n"


@pytest.mark.parametrize(
    ("action", "number"), [("kill", signal.SIGKILL), ("segv", signal.SIGSEGV)], ids=["kill", "segv"]
)
def test_a_named_point_ends_the_process_that_reaches_it(action, number):
    assert run(f"settle.before={action}").returncode == -number


def test_a_point_waits_for_the_time_it_was_told():
    assert run("settle.before=kill:3").stdout == "alive\n"
    assert run("settle.before=kill:2").returncode == -signal.SIGKILL


def test_a_point_fires_once_in_all_processes_until_its_file_is_gone(tmp_path):
    assert run("settle.before=kill", tmp_path).returncode == -signal.SIGKILL
    assert run("settle.before=kill", tmp_path).stdout == "alive\n"
    (tmp_path / "settle.before").unlink()
    assert run("settle.before=kill", tmp_path).returncode == -signal.SIGKILL


def test_a_point_may_raise():
    with pytest.raises(FailPointError, match="settle"):
        parse("settle.before=raise")["settle.before"].reach("settle.before", None)


@pytest.mark.parametrize("text", ["settle.before", "settle.before=explode", "settle.before=kill:often"])
def test_a_text_that_cannot_be_read_says_so(text):
    with pytest.raises(ConfigError, match="CANDLEFLEET_FAILPOINTS"):
        parse(text)
