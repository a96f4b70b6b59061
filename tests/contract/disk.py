"""A disk whose power may be cut: what was not synced by then is lost."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from destinations import root as root_module

CALLS = ("open", "pwrite", "ftruncate", "fsync", "mkdir", "rename", "link", "unlink", "rmdir")


class PowerCut(BaseException):
    """The machine is off."""


class Rename(NamedTuple):
    """A name that went to another folder, and what came back for it; folders and files by their numbers."""

    source: int
    old: str
    place: int
    new: str
    moved: int
    back: int | None

    @classmethod
    def of(cls, old: tuple[int, str], new: tuple[int, str], *, exchange: bool) -> Rename:
        (source, old_name), (place, new_name) = old, new
        return cls(
            os.fstat(source).st_ino,
            old_name,
            os.fstat(place).st_ino,
            new_name,
            os.stat(new_name, dir_fd=place).st_ino,
            os.stat(old_name, dir_fd=source).st_ino if exchange else None,
        )


class Disk:
    """Knows what was synced under a root, and loses the rest when the power is cut at the fatal-th step.

    A file's bytes are kept once it was synced, its name once its folder was; a rename or an exchange is
    kept in both folders or in neither. SQLite syncs its own files: what it said is committed is on the
    disk, what it had not is not.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, fatal: int) -> None:
        root.mkdir(exist_ok=True)
        self._root, self._fatal, self._steps = root, fatal, itertools.count(1)
        self._bytes: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {root.stat().st_ino: {}}
        self._renamed: list[Rename] = []
        self._held: list[int] = []  # open files keep their numbers: none is given to another
        for name in CALLS:
            patch.setattr(os, name, self._watched(getattr(os, name)))
        patch.setattr(root_module, "swap_names", self._watched(root_module.swap_names))

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(self._steps) == self._fatal:
                raise PowerCut
            answer = real(*arguments, **options)
            self._note(real.__name__, arguments, options)
            return answer

        return call

    def _note(self, call: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        if call == "fsync":
            self._keep(arguments[0])
        elif call == "rename":
            old, new = (options["src_dir_fd"], arguments[0]), (options["dst_dir_fd"], arguments[1])
            self._renamed.append(Rename.of(old, new, exchange=False))
        elif call not in CALLS:
            old, new = (arguments[0], arguments[1].decode()), (arguments[2], arguments[3].decode())
            self._renamed.append(Rename.of(old, new, exchange=True))

    def _keep(self, fd: int) -> None:
        self._held.append(os.dup(fd))
        number, path = os.fstat(fd).st_ino, Path(f"/proc/self/fd/{fd}")
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            self._bytes[number] = path.read_bytes()
            return
        self._entries[number] = {entry.name: entry.stat().st_ino for entry in path.resolve().iterdir()}
        for folder in filter(Path.is_dir, path.resolve().iterdir()):
            self._entries.setdefault(folder.stat().st_ino, {})
        for rename in [rename for rename in self._renamed if number in (rename.source, rename.place)]:
            self._renamed.remove(rename)
            if rename.place != number:
                self._entries.setdefault(rename.place, {})[rename.new] = rename.moved
            elif rename.back is not None:
                self._entries.setdefault(rename.source, {})[rename.old] = rename.back
            else:
                self._entries.setdefault(rename.source, {}).pop(rename.old, None)

    def cut_power(self) -> None:
        """Leave what was synced."""
        kept = dict(self._kept(self._root.stat().st_ino, Path()))
        for fd in self._held:
            os.close(fd)
        for path in sorted(self._root.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                shutil.rmtree(path)
            elif path.is_file() and not path.name.startswith("."):
                path.unlink()
        for name, content in kept.items():
            (self._root / name).parent.mkdir(parents=True, exist_ok=True)
            (self._root / name).write_bytes(content)

    def _kept(self, folder: int, name: Path) -> Iterator[tuple[Path, bytes]]:
        for entry, number in self._entries.get(folder, {}).items():
            if number in self._entries:
                yield from self._kept(number, name / entry)
            elif not entry.startswith("."):
                yield name / entry, self._bytes.get(number, b"")
