"""A power cut leaves of each file what was synced: what the ledger says is there must be among that."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from destinations import growing
from destinations.ledger import Ledger
from destinations.root import Root
from router.errors import DestinationError
from tests.contract.crash_lab import BATCHES, WRITES
from tests.contract.reading import data_files, snapshot

CALLS = ("open", "pwrite", "ftruncate", "fsync")


class PowerCut(BaseException):
    """The machine is off."""


class Disk:
    """Knows what was synced under a root, and loses the rest when the power is cut at the fatal-th step.

    SQLite syncs its own files: what it said is committed is on the disk, what it had not is not.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, fatal: int) -> None:
        self.bytes: dict[Path, bytes] = {}
        self.entries: set[Path] = set()
        self._root, self._fatal, self._steps = root, fatal, itertools.count(1)
        self._sync = os.fsync
        for name in CALLS:
            patch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(self._steps) == self._fatal:
                raise PowerCut
            answer = real(*arguments, **options)
            if real is self._sync:
                self._keep(Path(f"/proc/self/fd/{arguments[0]}").resolve())
            return answer

        return call

    def _keep(self, path: Path) -> None:
        if path.is_dir():
            self.entries.update(path.iterdir())
        else:
            self.bytes[path] = path.read_bytes()

    def cut_power(self) -> None:
        """Leave what was synced."""
        for path in data_files(self._root):
            inside = [path, *path.parents][: len(path.relative_to(self._root).parts)]
            if path in self.bytes and self.entries.issuperset(inside):
                path.write_bytes(self.bytes[path])
            else:
                path.unlink()


def commit(root: Path, batch: str) -> None:
    ledger = Ledger(root, header=b"header\n", durability="power")
    try:
        ledger.open()
        ledger.commit(BATCHES[batch], lambda _: WRITES[batch])
    finally:
        ledger.close()


def steps_survived(root: Path, expected: dict[str, bytes]) -> int:
    """Cut the power at each step of two commits, finish them afterwards, compare; return the steps."""
    for fatal in itertools.count(1):
        with pytest.MonkeyPatch.context() as patch:
            place = root / str(fatal)
            disk, off = Disk(place, patch, fatal), False
            try:
                commit(place, "old")
                commit(place, "new")
            except PowerCut:
                off = True
        disk.cut_power()
        commit(place, "old")
        commit(place, "new")
        assert snapshot(place) == expected, f"power cut at step {fatal}"
        if not off:
            return fatal - 1
    raise AssertionError("unreachable: the steps of a commit end")


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    commit(tmp_path / "expected", "old")
    commit(tmp_path / "expected", "new")
    return snapshot(tmp_path / "expected")


def test_a_power_cut_at_any_step_leaves_exact_bytes_after_the_retry(tmp_path: Path, expected):
    assert steps_survived(tmp_path, expected) > 20


def leave_out_sync_of_data(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(growing, "_sync", lambda fds: None)


def leave_out_sync_of_folders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Root, "sync_folders", lambda self, names: None)


@pytest.mark.parametrize("leave_out", [leave_out_sync_of_data, leave_out_sync_of_folders])
def test_a_sync_left_out_is_noticed(tmp_path: Path, expected, monkeypatch, leave_out):
    leave_out(monkeypatch)
    with pytest.raises((AssertionError, DestinationError), match=r"power cut|bytes of the"):
        steps_survived(tmp_path, expected)
