"""Put a finished training set in place of the one before it: all of it, or nothing.

It is made in a folder beside, which gets another name once it is complete: from then on whoever comes next
puts it in place, however often they are killed. The shards change places with the old ones in one step; the
card follows and the manifest comes last, so that data which is not what the manifest says is being replaced.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from destinations.root import Root
from destinations.training.manifest import DATA, MANIFEST, read_manifest
from router.errors import ConfigError

#: The dataset card, which the Hub and `load_dataset` read.
CARD: Final = "README.md"
#: Where a finished set is made, and what that folder is called once it is complete.
MADE: Final = ".finalize.making"
COMPLETE: Final = ".finalize.complete"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others from finishing the same training set, and put in place what one of them left complete.

    Raises:
        ConfigError: `dataset.busy`, if somebody else is at work.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(fd, folder)
        settle(folder)
        yield
    finally:
        os.close(fd)


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Give a new folder to make a finished set in, with one for shards; put it in place at the end.

    Raises:
        ConfigError: `dataset.foreign`, if a file would be lost that no finished set has.
    """
    _refuse_foreign(folder)
    made = folder / MADE
    _remove(made)
    (made / DATA).mkdir(parents=True)
    try:
        yield made
        _sync(made / DATA, made)
        made.rename(folder / COMPLETE)
    finally:
        _remove(made)
    settle(folder)


def settle(folder: Path) -> None:
    """Put in place what was left complete, and remove what was not."""
    complete = folder / COMPLETE
    _sync(folder)
    if (new := read_manifest(complete)) is not None:
        if not new.is_whole(folder):
            _exchange(folder)
        for name in (CARD, MANIFEST):
            with suppress(FileNotFoundError):  # whoever was killed had come so far
                (complete / name).replace(folder / name)
            _sync(folder)
    _remove(complete)
    _remove(folder / MADE)


def write_synced(path: Path, text: str) -> None:
    """Write a file and bring its bytes to the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _lock(fd: int, folder: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = "somebody else is finishing this training set: wait for that"
        raise ConfigError("dataset.busy", str(folder), message) from None


# Where the system cannot exchange two folders there is none for a moment, but never a wrong one.
def _exchange(folder: Path) -> None:
    data, new = folder / DATA, folder / COMPLETE / DATA
    if data.exists():
        with closing(Root(folder)) as root:
            root.open()
            try:
                root.exchange(f"{COMPLETE}/{DATA}", DATA)
            except OSError:
                data.rename(folder / COMPLETE / f"{DATA}.old")
    if new.exists() and not data.exists():
        new.rename(data)
    _sync(folder)


# What hides, such as what a file manager leaves, is nobody's work.
def _refuse_foreign(folder: Path) -> None:
    data, old = folder / DATA, read_manifest(folder)
    known = {shard.name for shard in old.shards} if old is not None else set()
    found = {f"{DATA}/{file.name}" for file in data.glob("[!.]*")}
    if foreign := sorted(found - known):
        message = f"{foreign[0]} is no shard of a finished set: move it away, since {DATA} is replaced"
        raise ConfigError("dataset.foreign", str(folder), message)


def _sync(*folders: Path) -> None:
    for folder in folders:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
