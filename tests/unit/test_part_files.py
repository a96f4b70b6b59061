from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from destinations import part_files
from destinations import root as root_module
from destinations.files import FileWrite
from destinations.part_files import PartFiles
from destinations.part_ledger import PartLedger
from destinations.records import FileTally
from router.batch import PointBatch
from router.errors import ConfigError, TransientError, UnavailableError
from tests.make import make_batch

Make = Callable[..., PartLedger]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[PartLedger] = []

    def make_ledger(path: Path = tmp_path / "bars", layout: str = "lines", **options: Any) -> PartLedger:
        made.append(PartLedger(path, layout, **{"durability": "process", "shared": False} | options))
        return made[-1]

    yield make_ledger
    for ledger in made:
        ledger.close()


def into(*folders: str) -> Callable[[PointBatch], Sequence[FileWrite]]:
    """Encode a batch as its row numbers, once for every folder."""

    def encode(batch: PointBatch) -> list[FileWrite]:
        content = " ".join(str(row) for part in batch.parts for row in part.rows.positions).encode()
        return [FileWrite(f"{folder}/part.txt", "lines", len(batch), content) for folder in folders]

    return encode


def texts(folder: Path) -> list[str]:
    return sorted(file.read_text() for file in folder.rglob("*.txt"))


def staged(ledger: PartLedger) -> list[Path]:
    return list((ledger.root.path / "staged").glob("*"))


def three(ledger: PartLedger) -> list[str]:
    """Commit three parts into one folder, and return their names."""
    batch = make_batch(3)
    for row in range(3):
        ledger.commit(batch.slice(row, row + 1), into("a"))
    return [file.name for file in ledger.files()]


MERGED = FileWrite("a/part.txt", "lines", 3, b"0 1 2")


# -- parts -------------------------------------------------------------------------------------


def test_parts_are_named_in_the_order_they_were_written(make: Make, tmp_path: Path):
    names = three(make())
    assert names == sorted(names)
    assert [(tmp_path / "bars" / name).read_text() for name in names] == ["0", "1", "2"]


def test_parts_never_have_a_name_twice_though_the_ledger_was_set_back(make: Make, tmp_path: Path):
    ledger, batch = make(), make_batch(1)
    ledger.commit(batch, into("a"))
    ledger.close()
    for path in ledger.root.path.iterdir():
        if path.is_file():
            path.unlink()
    make().commit(batch, into("a"))
    assert texts(tmp_path / "bars") == ["0", "0"]


def test_parts_are_named_after_those_of_a_ledger_that_was_lost(make: Make, tmp_path: Path):
    old = three(make())
    shutil.rmtree(tmp_path / ".bars.candlefleet")
    new = three(make())
    assert max(old) < min(new)


def test_parts_are_named_in_order_though_the_clock_went_back(make: Make, monkeypatch):
    ledger = make()
    old = three(ledger)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert three(ledger)[:3] == old


def test_parts_and_folders_are_not_for_everybody(make: Make, tmp_path: Path):
    ledger = make()
    ledger.commit(make_batch(1), into("a"))
    (name,) = [file.name for file in ledger.files()]
    paths = [tmp_path / "bars", tmp_path / "bars/a", ledger.root.path, tmp_path / "bars" / name]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o750, 0o750, 0o750, 0o640]


def test_parts_of_one_commit_are_all_there_or_none(make: Make, tmp_path: Path, monkeypatch):
    ledger, batch = make(), make_batch(2)
    ledger.open()
    (tmp_path / "bars" / "b").write_text("a file where a folder should be")
    with pytest.raises(UnavailableError, match="Not a directory"):
        ledger.commit(batch, into("a", "b"))
    assert texts(tmp_path / "bars") == []
    (tmp_path / "bars" / "b").unlink()
    assert ledger.commit(batch, into("a", "b")) == 2
    assert texts(tmp_path / "bars") == ["0 1", "0 1"]
    assert staged(ledger) == []


@pytest.mark.parametrize(
    ("call", "code", "expected"),
    [
        ("pwrite", errno.ENOSPC, UnavailableError),
        ("pwrite", errno.EIO, TransientError),
        ("fsync", errno.EIO, TransientError),
        ("rename", errno.EIO, TransientError),
        ("rename", errno.EXDEV, UnavailableError),
        ("mkdir", errno.EDQUOT, UnavailableError),
    ],
)
def test_parts_are_written_once_after_any_error_of_the_disk(
    make: Make, tmp_path: Path, monkeypatch, call: str, code: int, expected
):
    ledger, batch = make(durability="power"), make_batch(2)
    ledger.open()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, lambda *_, **__: (_ for _ in ()).throw(OSError(code, os.strerror(code))))
        with pytest.raises(expected, match=os.strerror(code)):
            ledger.commit(batch, into("a"))
    ledger.commit(batch, into("a"))
    assert texts(tmp_path / "bars") == ["0 1"]
    assert ledger.rows_written("everything") == 2
    assert staged(ledger) == []


def test_parts_that_wait_are_put_in_place_by_whoever_commits_next(make: Make, tmp_path: Path, monkeypatch):
    ledger, other, batch = make(), make(), make_batch(2)
    other.open()
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ledger.commit(batch, into("a"))
    assert texts(tmp_path / "bars") == []
    assert other.commit(batch, into("a")) == 0
    assert texts(tmp_path / "bars") == ["0 1"]


def test_parts_that_were_never_recorded_are_removed_by_whoever_commits_next(make: Make, tmp_path: Path):
    ledger, batch = make(), make_batch(2)
    ledger.commit(batch.slice(0, 1), into("a"))
    (ledger.root.path / "staged" / "torn.txt").write_text("half a fi")
    ledger.commit(batch, into("a"))
    assert texts(tmp_path / "bars") == ["0", "1"]
    assert staged(ledger) == []


def test_parts_that_wait_and_are_removed_need_a_hand(make: Make, tmp_path: Path, monkeypatch):
    ledger, batch = make(), make_batch(2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ledger.commit(batch, into("a"))
    (waiting,) = staged(ledger)
    waiting.unlink()
    with pytest.raises(UnavailableError, match=r"was written and is gone.*Ledger\.forget"):
        ledger.open()
    ledger.forget(f"a/{waiting.name}")
    ledger.open()
    assert ledger.files() == []


def test_parts_follow_no_link(make: Make, tmp_path: Path):
    ledger = make()
    ledger.open()
    (tmp_path / "outside").mkdir()
    (tmp_path / "bars" / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(UnavailableError):
        ledger.commit(make_batch(1), into("a"))
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(("folder", "message"), [("bars", "Permission denied"), ("", "name a folder inside")])
def test_parts_need_folders_that_may_be_written(
    make: Make, tmp_path: Path, monkeypatch, folder: str, message: str
):
    real, denied = os.access, tmp_path / folder
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != denied and real(path, mode))
    with pytest.raises(ConfigError, match=message) as refusal:
        make().open()
    assert refusal.value.code == "path.not_writable"


@pytest.mark.parametrize("where", ["file", "file/bars"])
def test_parts_need_a_folder_at_all(make: Make, tmp_path: Path, where: str):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as refusal:
        make(tmp_path / where).open()
    assert refusal.value.code == "path.not_writable"


def test_parts_need_their_ledger_on_the_same_file_system(make: Make, monkeypatch):
    monkeypatch.setattr(PartFiles, "_device", lambda _: -1)
    with pytest.raises(ConfigError, match="name a folder inside it") as refusal:
        make().open()
    assert refusal.value.code == "path.mount"


def test_parts_need_their_folders_on_the_same_file_system(make: Make, monkeypatch):
    ledger = make()
    ledger.open()
    monkeypatch.setattr(PartFiles, "_device", lambda _: -1)
    with pytest.raises(UnavailableError, match="on another file system"):
        ledger.commit(make_batch(1), into("a"))
    assert ledger.files() == []


# -- one for many ------------------------------------------------------------------------------


def test_replaced_parts_are_one_with_the_number_of_the_first(make: Make, tmp_path: Path):
    ledger = make()
    names = three(ledger)
    found = ledger.replace(names[:2], MERGED._replace(rows=2, content=b"0 1"))
    assert found is not None
    assert texts(tmp_path / "bars") == ["0 1", "2"]
    assert sorted(ledger.files()) == sorted([found, FileTally(names[2], 1, 1)])
    assert found.name.rsplit("-", 1)[0] == names[0].rsplit("-", 1)[0]


def test_replaced_parts_leave_files_of_others_and_the_folders_mode_alone(
    make: Make, tmp_path: Path, monkeypatch
):
    ledger, folder = make(), tmp_path / "bars" / "a"
    names = three(ledger)
    (folder / "notes").write_text("mine")
    folder.chmod(0o2755)
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "chown", lambda _, *owner: given.append(owner))
    assert ledger.replace(names, MERGED) is not None
    assert (folder / "notes").read_text() == "mine"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2755
    assert given == [(folder.stat().st_uid, folder.stat().st_gid)]


def test_replaced_parts_leave_a_file_alone_that_came_at_the_last_moment(
    make: Make, tmp_path: Path, monkeypatch
):
    ledger, folder = make(), tmp_path / "bars" / "a"
    names = three(ledger)
    real = root_module.swap_names

    def late(*arguments: Any) -> int:
        (folder / "late").write_text("mine")
        return real(*arguments)

    monkeypatch.setattr(root_module, "swap_names", late)
    assert ledger.replace(names, MERGED) is not None
    assert (folder / "late").read_text() == "mine"
    assert texts(folder) == ["0 1 2"]


def test_replaced_parts_are_still_listed_by_who_had_opened_their_folder(make: Make, tmp_path: Path):
    ledger, folder = make(), tmp_path / "bars" / "a"
    names = three(ledger)
    with os.scandir(folder) as opened:
        assert ledger.replace(names, MERGED) is not None
        assert ledger.commit(make_batch(1), into("b")) == 1
        listed = [entry.name for entry in opened]
    assert sorted(listed) == [Path(name).name for name in names]
    assert not any((folder / name).exists() for name in listed)


def test_replaced_parts_are_removed_once_nobody_can_be_listing_them(make: Make, tmp_path: Path, monkeypatch):
    ledger = make()
    assert ledger.replace(three(ledger), MERGED) is not None
    assert staged(ledger) != []
    monkeypatch.setattr(part_files, "LISTING", 0.0)
    ledger.remove_replaced()
    assert staged(ledger) == []
    assert texts(tmp_path / "bars") == ["0 1 2"]


def test_replaced_parts_are_removed_though_the_clock_went_back(make: Make, monkeypatch):
    ledger = make()
    assert ledger.replace(three(ledger), MERGED) is not None
    monkeypatch.setattr(time, "time", lambda: 0.0)
    ledger.remove_replaced()
    assert staged(ledger) == []


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EBUSY, errno.EACCES])
def test_parts_stay_where_a_file_system_cannot_exchange_folders(
    make: Make, tmp_path: Path, monkeypatch, code: int
):
    ledger = make()
    names, before = three(ledger), ledger.files()

    def refuse(*_: Any) -> int:
        root_module.ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(root_module, "swap_names", refuse)
    with pytest.raises(UnavailableError, match=f"cannot exchange two folders.*{os.strerror(code)}"):
        ledger.replace(names, MERGED)
    assert texts(tmp_path / "bars") == ["0", "1", "2"]
    assert ledger.files() == before
    ledger.open()
    assert staged(ledger) == []


def test_parts_stay_where_a_folder_holds_more_than_files(make: Make, tmp_path: Path):
    ledger = make()
    names = three(ledger)
    (tmp_path / "bars" / "a" / "inner").mkdir()
    with pytest.raises(UnavailableError, match="holds inner, which is not a file"):
        ledger.replace(names, MERGED)
    assert texts(tmp_path / "bars") == ["0", "1", "2"]


def test_parts_stay_when_one_of_them_was_removed_or_changed(make: Make, tmp_path: Path):
    ledger = make()
    names = three(ledger)
    (tmp_path / "bars" / names[1]).unlink()
    assert ledger.replace(names, MERGED) is None
    (tmp_path / "bars" / names[1]).write_text("longer than it was")
    assert ledger.replace(names, MERGED) is None


def test_parts_are_replaced_once_when_two_try(make: Make, tmp_path: Path):
    ledger, other = make(), make()
    names = three(ledger)
    assert [one.replace(names, MERGED) is None for one in (ledger, other)] == [False, True]
    assert texts(tmp_path / "bars") == ["0 1 2"]


def test_parts_stay_when_what_is_read_back_is_not_what_was_written(make: Make, tmp_path: Path, monkeypatch):
    ledger = make()
    names = three(ledger)
    monkeypatch.setattr(root_module.Root, "read", lambda *_: b"0 1")
    with pytest.raises(TransientError, match="other bytes"):
        ledger.replace(names, MERGED)
    assert texts(tmp_path / "bars") == ["0", "1", "2"]


def test_parts_of_a_dataset_in_one_folder_are_replaced_too(make: Make, tmp_path: Path):
    ledger, other, batch = make(), make(), make_batch(3)
    other.open()
    for row in range(3):
        whole = FileWrite("part.txt", "lines", 1, str(row).encode())
        ledger.commit(batch.slice(row, row + 1), lambda _, whole=whole: [whole])
    names = [file.name for file in ledger.files()]
    assert ledger.replace(names, MERGED._replace(name="part.txt")) is not None
    other.commit(make_batch(1), lambda _: [FileWrite("part.txt", "lines", 1, b"new")])
    assert texts(tmp_path / "bars") == ["0 1 2", "new"]


def test_parts_that_were_removed_are_told_and_forgotten_when_asked(make: Make, tmp_path: Path):
    ledger = make()
    names = three(ledger)
    (tmp_path / "bars" / names[0]).unlink()
    assert ledger.missing() == ledger.missing(forget=True) == [names[0]]
    assert ledger.missing() == []
    assert [file.name for file in ledger.files()] == names[1:]
