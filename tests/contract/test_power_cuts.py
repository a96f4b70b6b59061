"""A power cut leaves of each file what was synced: what the ledger says is there must be among that."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from destinations import growing, root
from destinations.root import Root
from router.errors import CandlefleetError
from tests.contract.delta_scene import DELTA
from tests.contract.disk import Disk, PowerCut
from tests.contract.scenes import SCENES, Look, Scene


def steps_survived(folder: Path, scene: Scene, expected: Look) -> int:
    """Cut the power at each step of a scene, play it to its end afterwards, compare; return the steps."""
    for fatal in itertools.count(1):
        place = folder / str(fatal)
        before, off = Look(), False
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(place, patch, fatal)
            try:
                scene.begin(place, "power")
                before = scene.look(place)
                scene.act(place, "power")
            except PowerCut:
                off = True
        disk.cut_power()
        assert scene.may_be_seen(before, scene.look(place), expected) or not before, f"power cut at {fatal}"
        scene.begin(place, "power")
        scene.act(place, "power")
        assert scene.look(place) == expected, f"power cut at step {fatal}"
        assert scene.recorded(place) == scene.recorded(folder / "expected"), f"power cut at step {fatal}"
        if not off:
            return fatal - 1
    raise AssertionError("unreachable: the steps of a scene end")


ALL = SCENES | {"delta": DELTA}


@pytest.fixture(params=ALL)
def scene(request: pytest.FixtureRequest) -> Scene:
    found: Scene = ALL[request.param]
    return found


@pytest.fixture
def expected(scene: Scene, folder: Path) -> Look:
    scene.begin(folder / "expected", "power")
    scene.act(folder / "expected", "power")
    return scene.look(folder / "expected")


def test_a_power_cut_at_any_step_leaves_exact_bytes_after_the_retry(
    folder: Path, scene: Scene, expected: Look
):
    assert steps_survived(folder, scene, expected) > 20


def leave_out_sync_of_data(patch: pytest.MonkeyPatch) -> None:
    for module in (growing, root):
        patch.setattr(module, "sync_files", lambda fds: None)


def leave_out_sync_of_folders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Root, "sync_folders", lambda self, names: None)


@pytest.mark.parametrize("leave_out", [leave_out_sync_of_data, leave_out_sync_of_folders])
def test_a_sync_left_out_is_noticed(folder: Path, scene: Scene, expected: Look, monkeypatch, leave_out):
    leave_out(monkeypatch)
    with pytest.raises(
        (AssertionError, CandlefleetError), match=r"power cut|bytes of the|is gone|not what|is no Delta"
    ):
        steps_survived(folder, scene, expected)
