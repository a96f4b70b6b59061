"""A finished training set takes the place of another: killed anywhere, the old one is there or the new."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from destinations.training import publish
from destinations.training.manifest import DATA
from router.errors import ConfigError
from tests.finished_sets import data_of, finish, make_set, seen, some_bars

ROWS = 10  #: of the new shards; the old ones hold all examples of a split
STEPS = [
    (publish.os, "fsync"),
    (publish.Root, "exchange"),
    (publish.Path, "rename"),
    (publish.Path, "replace"),
    (publish.shutil, "rmtree"),
]

KILL = """
import os, signal, sys
from destinations.training import finalize as module, publish
from destinations.training.finalize import finalize, recipe_of
from destinations.training.parts import TrainingParts

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def settle(folder, settle=publish.settle):
    settle(folder) if not (folder / publish.COMPLETE).exists() else kill()

def exchange(folder, exchange=publish._exchange):
    exchange(folder)
    kill()

folder, moment, rows = sys.argv[1:]
if moment == "card":
    module.card = kill
elif moment == "complete":
    publish.settle = settle
elif moment == "exchanged":
    publish._exchange = exchange
parts = TrainingParts.of(folder)
finalize(parts, recipe_of(parts, rows=int(rows)), kill if moment == "writing" else lambda _: None)
"""


class KilledError(BaseException):
    """Stands for the end of a process, which does nothing more."""


def die_at(step: int, patch: pytest.MonkeyPatch) -> None:
    left = iter(range(step))

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(left, None) is None:
                raise KilledError
            return real(*args, **kwargs)

        return call

    for owner, name in STEPS:
        patch.setattr(owner, name, dying(getattr(owner, name)))


def kill(folder: Path, moment: str) -> None:
    """Let another process finish a set, which dies at a moment."""
    command = [sys.executable, "-c", KILL, str(folder), moment, str(ROWS)]
    ended = subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL


def no_exchange(*_: object) -> None:
    raise OSError(errno.EINVAL, "no such step")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Give a training set that is finished and will be again."""
    folder = tmp_path / "old" / "set"
    make_set(folder, some_bars(60))
    finish(folder)
    return folder


@pytest.fixture
def new(old: Path, tmp_path: Path) -> Path:
    """Give what the set is to become."""
    folder = tmp_path / "new" / "set"
    shutil.copytree(old, folder)
    finish(folder, rows=ROWS)
    return folder


@pytest.mark.parametrize(
    ("time", "system"), [("first", "exchanges"), ("second", "exchanges"), ("second", "renames only")]
)
def test_killed_at_any_step_of_taking_its_place_it_is_put_there_by_the_next(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: str, system: str
):
    if time == "first":
        shutil.rmtree(old)
        make_set(old, some_bars(60))
    new, complete = tmp_path / "new" / "set", tmp_path / "complete" / "set"
    for folder in (new, complete):
        shutil.copytree(old, folder)
    finish(new, rows=ROWS)
    kill(complete, "complete")
    allowed = [data_of(old), data_of(new)]
    if system == "renames only":
        monkeypatch.setattr(publish.Root, "exchange", no_exchange)
        allowed.append({})
    died = True
    steps = 0
    while died:
        folder = tmp_path / str(steps) / "set"
        shutil.copytree(complete, folder)
        with monkeypatch.context() as patch:
            die_at(steps, patch)
            try:
                publish.settle(folder)
                died = False
            except KilledError:
                steps += 1
        assert data_of(folder) in allowed
        publish.settle(folder)
        assert seen(folder) == seen(new)
    assert 5 < steps < 30


@pytest.mark.parametrize("moment", ["writing", "card", "complete", "exchanged"])
def test_a_process_killed_at_any_moment_leaves_the_old_shards_or_the_new(old: Path, new: Path, moment: str):
    before = seen(old)
    kill(old, moment)
    assert data_of(old) == data_of(new if moment == "exchanged" else old)
    if moment != "exchanged":
        assert {name: content for name, content in seen(old).items() if name[0] != "."} == before
    finish(old, rows=ROWS)
    assert seen(old) == seen(new)


def test_two_do_not_finish_one_set_at_once(old: Path, new: Path):
    with publish.held(old), pytest.raises(ConfigError, match=r"dataset\.busy"):
        finish(old, rows=ROWS)
    finish(old, rows=ROWS)
    assert seen(old) == seen(new)


def test_a_folder_that_is_a_link_is_replaced_by_a_folder(old: Path, new: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    (old / DATA).rename(elsewhere)
    (old / DATA).symlink_to(elsewhere)
    kept = sorted(elsewhere.iterdir())
    finish(old, rows=ROWS)
    assert seen(old) == seen(new)
    assert sorted(elsewhere.iterdir()) == kept
