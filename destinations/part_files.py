"""Write files once, whole, into the folders of a dataset, so that no reader ever sees half of a step."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Final

from destinations.compression import Content
from destinations.files import Files, FileWrite
from destinations.records import FileEntry, Move, Records, Swap
from destinations.root import Root
from router.errors import ConfigError, TransientError, UnavailableError

#: Where files wait, under the ledger's root, until they are recorded and go to their folders.
STAGED: Final = "staged"
#: What the name of a folder ends with there once another took its place.
_OLD: Final = ".old"
#: Seconds that such a folder stays: who had opened it and lists it only then would take it for empty.
LISTING: Final = 2.0


class PartFiles(Files):
    """Files of a dataset's folder, none of which is ever changed.

    What is written waits beside the dataset, on the same file system, until it is recorded together with
    where it goes; only then it goes there. A crash before leaves what is removed, a crash after what is
    finished, by the next commit or `open`: under the dataset's folder there is never a file that is not
    recorded, nor half of one. A file takes the place of others by an exchange of the whole folder.

    The arguments are those of `Files`, and:

    Args:
        path: The dataset's folder, free of links.
        layout: How its files are encoded and named after their rows; one dataset never has two.

    Attributes:
        refusal: What the system answered when it last would not exchange two folders.
    """

    def __init__(self, root: Root, records: Records, *, durable: bool, path: Path, layout: str) -> None:
        """Remember what to do; nothing is opened."""
        super().__init__(root, records, durable=durable)
        self._path = path
        self._layout = layout
        self.refusal = ""
        self._disk = Root(
            path.parent
        )  # both folders lie there: one rename takes a file from one to the other

    def open(self) -> None:
        """Make the dataset's folder if need be, and open what holds it.

        Raises:
            ConfigError: `dataset.layout`, `path.mount`, or the folder cannot be written.
        """
        self._disk.open()
        if self._disk.make_folder(self._path.name).st_dev != self._device():
            message = f"{self._path} is a file system of its own: name a folder inside it, for the ledger"
            raise ConfigError("path.mount", "path", f"{message} has to lie beside the dataset, on the same")
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._path))
        if (begun_as := self._records.agree("layout", self._layout)) != self._layout:
            message = f"{self._path} was begun as {begun_as}, not {self._layout}: choose another path"
            raise ConfigError("dataset.layout", "path", message)

    def close(self) -> None:
        """Let go of the folder; twice is harmless."""
        self._disk.close()

    def recover(self) -> None:
        """Put files to their places that a crash kept from them, and remove what was never recorded.

        Raises:
            UnavailableError: Every file that is recorded was removed.
        """
        self._settle()
        self._clean()
        names = [file.name for file in self._records.tallies()]
        if names and not any(self._size(name) is not None for name in reversed(names)):
            raise UnavailableError(
                f"none of the {len(names)} files written under {self._path} is there any more: put them back,"
                f" or remove {self._root.path} as well to begin anew"
            )

    def add(self, writes: Sequence[FileWrite]) -> None:
        """Write each as a file of its own, and record them with their places.

        Its name is that of the write with a number before the suffix, which no file had before.
        """
        self._clean()
        # The numbers keep the order; the mark keeps a ledger that was set back from using a name twice.
        numbers, mark = self._records.take_numbers(len(writes)), token_hex(8)
        named = [(_named(w.name, f"{n:016}", mark), w) for n, w in zip(numbers, writes, strict=True)]
        self._check_folders(name for name, _ in named)
        self._stage({_last(name): write.content for name, write in named})
        self._records.save_files({name: _entry(write) for name, write in named})
        self._records.save_moves(Move(_last(name), name) for name, _ in named)

    def finish(self) -> None:
        """Put what is recorded to its place."""
        if self._records.moves():
            with self._records.transaction(synced=False):
                self._settle()

    def replace(self, gone: Sequence[str], write: FileWrite) -> str | None:
        """Let a new file take the place of some of its folder; within a transaction.

        The folder that will be is made beside the dataset: the new file, read back, and every other file
        of the old folder under a second name. The new file has the number of the first that goes.

        Returns:
            Its name; None: one of the old is not there, or not recorded, any more.

        Raises:
            UnavailableError: The folder holds something other than files.
            TransientError: What was read back is not what was written.
        """
        self._settle()
        self._clean()
        folder, mark = _folder(write.name), token_hex(8)
        old, here = self._records.files(gone), self._disk.entries(self._placed(folder))
        if len(old) < len(gone) or any(_length(here, name) != old[name].bytes for name in gone):
            return None
        new = {_named(write.name, _number(gone[0]), mark): _entry(write)}
        self._stage_others(mark, folder, here, {_last(name) for name in gone})
        self._stage_checked(f"{mark}/{_last(next(iter(new)))}", write.content)
        _make_alike(self._root.path / STAGED / mark, self._path / folder)
        for name in gone:
            self._records.forget_file(name)
        self._records.save_files(new)
        self._records.save_moves([Move(mark, folder, Swap(new, old))])
        return next(iter(new))

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        return self._disk.read(self._placed(name))

    def remove_replaced(self) -> bool:
        """Remove the files that others replaced; within a transaction.

        Returns:
            Whether all are gone: not while somebody may be in the middle of listing them.
        """
        self._clean()
        return not any(name.endswith(_OLD) for name in self._root.entries(STAGED))

    def missing(self) -> list[str]:
        """Return the names of files that are recorded and were removed; within a transaction."""
        self._settle()
        return [file.name for file in self._records.tallies() if self._size(file.name) is None]

    # -- before it is recorded ------------------------------------------------------------------

    def _check_folders(self, names: Iterable[str]) -> None:
        for folder in {_folder(name) for name in names}:
            if self._disk.make_folder(self._placed(folder)).st_dev != self._device():
                raise OSError(errno.EXDEV, "is on another file system than the dataset", folder)

    def _stage(self, contents: Mapping[str, Content]) -> None:
        staged = {f"{STAGED}/{name}": content for name, content in contents.items()}
        self._root.make_folder(STAGED)
        self._root.write_files(staged, durable=self._durable)
        if self._durable:
            self._root.sync_folders(staged)

    def _stage_checked(self, name: str, content: Content) -> None:
        self._stage({name: content})
        if self._root.read(f"{STAGED}/{name}") != content:
            raise TransientError(
                f"{name} under {self._root.path} was read back with other bytes than written"
            )

    def _stage_others(
        self, mark: str, folder: str, here: Mapping[str, os.stat_result], gone: set[str]
    ) -> None:
        others = here.keys() - gone
        if odd := [name for name in others if not stat.S_ISREG(here[name].st_mode)]:
            raise UnavailableError(f"{self._path / folder} holds {odd[0]}, which is not a file: move it away")
        self._root.make_folder(f"{STAGED}/{mark}")
        for name in others:
            self._disk.link(f"{self._placed(folder)}/{name}", f"{self._waiting(mark)}/{name}")

    # -- after ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        moves = self._records.moves()
        for move in moves:
            if move.swap is None:
                self._put(move)
            else:
                self._exchange(move, move.swap)
        if self._durable:
            self._disk.sync_folders(self._placed(move.place) for move in moves if move.swap is None)
        for move in moves:
            self._records.clear_move(move)

    def _put(self, move: Move) -> None:
        try:
            self._disk.move(self._waiting(move.staged), self._placed(move.place))
        except FileNotFoundError:
            if self._size(move.place) is None:
                raise self._lost(move.place) from None

    def _exchange(self, move: Move, swap: Swap) -> None:
        waiting, place = self._waiting(move.staged), self._placed(move.place)
        (new,) = swap.new
        if _last(new) not in self._disk.entries(place):
            if _last(new) not in self._disk.entries(waiting):
                raise self._lost(new)
            try:
                self._disk.exchange(waiting, place)
            except OSError as error:
                self.refusal = os.strerror(error.errno or 0)
                self._undo(swap)
                return
        if self._durable:
            self._disk.sync_folders([waiting, place])
        self._set_aside(waiting, place, {_last(name) for name in swap.gone})

    # What somebody else put into the old folder just before the exchange goes into the new one.
    def _set_aside(self, waiting: str, place: str, gone: set[str]) -> None:
        strangers = self._disk.entries(waiting).keys() - gone - self._disk.entries(place).keys()
        for name in strangers:
            self._disk.move(f"{waiting}/{name}", f"{place}/{name}")
        if strangers and self._durable:
            self._disk.sync_folders(f"{place}/{name}" for name in strangers)
        with suppress(FileNotFoundError):  # a crash came after it
            self._disk.move(waiting, waiting + _OLD)

    # Not every file system knows such an exchange: the folder stays as it was.
    def _undo(self, swap: Swap) -> None:
        for name in swap.new:
            self._records.forget_file(name)
        self._records.save_files(swap.gone)

    def _clean(self) -> None:
        kept = {move.staged for move in self._records.moves()}
        for name, found in self._root.entries(STAGED).items():
            if name not in kept and not _may_be_listed(name, found):
                self._root.remove(f"{STAGED}/{name}")

    def _lost(self, name: str) -> UnavailableError:
        return UnavailableError(
            f"{name} under {self._path} was written and is gone, from there and from {self._root.path}:"
            f" put it back, or give it up with Ledger.forget({name!r})"
        )

    # -- where it is ----------------------------------------------------------------------------

    def _device(self) -> int:
        return os.fstat(self._root.fd).st_dev

    def _size(self, name: str) -> int | None:
        return self._disk.size(self._placed(name))

    def _placed(self, name: str) -> str:
        return f"{self._path.name}/{name}" if name else self._path.name

    def _waiting(self, staged: str) -> str:
        return f"{self._root.path.name}/{STAGED}/{staged}"


def _make_alike(folder: Path, other: Path) -> None:
    owner = other.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    shutil.copystat(other, folder)


def _may_be_listed(name: str, found: os.stat_result) -> bool:
    return name.endswith(_OLD) and 0 <= time.time() - found.st_ctime < LISTING


def _entry(write: FileWrite) -> FileEntry:
    return FileEntry(write.holds, write.rows, len(write.content))


def _named(name: str, number: str, mark: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{number}-{mark}{path.suffix}"))


def _number(name: str) -> str:
    return name.rsplit("-", 2)[1]


def _last(name: str) -> str:
    return PurePosixPath(name).name


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _length(here: Mapping[str, os.stat_result], name: str) -> int:
    return here[_last(name)].st_size if _last(name) in here else -1
