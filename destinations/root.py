"""Reach the files under one root folder, following no links and leaving it never."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Final

from destinations.compression import Content
from router.errors import Reason, TransientError, UnavailableError

_CLOSED: Final = -1
#: Bytes of free disk below which somebody should know before bars come.
_SCARCE: Final = 256_000_000
_FILE_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750
_FILE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Files open at once, and threads that sync them: eight take half the time of one for 40 files.
OPEN_FILES: Final = 64
_SYNC_THREADS: Final = 8

#: Of `renameat2` (Linux) and of `renameatx_np` (macOS) alike.
_EXCHANGE: Final = 2

#: Errors that go away when somebody acts, not when the write is tried again.
_NEEDS_A_HAND: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EXDEV,
    }
)


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn what the operating system answers into what happens next.

    Raises:
        UnavailableError: The disk is full, not writable, or a link stands where a file should be.
        TransientError: Anything else, such as an input or output error.
    """
    try:
        yield
    except OSError as error:
        kind = UnavailableError if error.errno in _NEEDS_A_HAND else TransientError
        raise kind(f"{error.filename or root}: {error.strerror} (under {root})") from error


class Root:
    """One folder and everything below it; names are relative, with '/' between folders.

    Every component is opened by itself, relative to the one before, and refused if it is a link.
    """

    def __init__(self, path: Path) -> None:
        """Remember the folder; nothing is opened or made."""
        self.path = path
        self._fd = _CLOSED

    def open(self) -> None:
        """Make the folder if need be (mode 0750) and hold it open."""
        make_folder(self.path.absolute())
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the folder; twice is harmless."""
        if self._fd != _CLOSED:
            os.close(self._fd)
            self._fd = _CLOSED

    @property
    def fd(self) -> int:
        """The open folder's descriptor; one that no call accepts before `open`."""
        return self._fd

    def size(self, name: str) -> int | None:
        """Return a file's length in bytes; None: there is none of that name.

        Raises:
            OSError: ELOOP, if it is not a plain file but a link, a folder or a device.
        """
        path = PurePosixPath(name)
        try:
            with self._folder(path.parent) as folder:
                found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ELOOP, "not a plain file, and links are not followed", name)
        return found.st_size

    def open_file(self, name: str) -> int:
        """Return a descriptor of a file, made (mode 0640) with its folders (0750) if need be."""
        path = PurePosixPath(name)
        with self._folder(path.parent, make=True) as folder:
            return os.open(path.name, _FILE_FLAGS | os.O_CREAT, _FILE_MODE, dir_fd=folder)

    def cut(self, name: str, length: int) -> None:
        """Shorten a file to a length in bytes if it is longer."""
        if (self.size(name) or 0) <= length:
            return
        fd = self.open_file(name)
        try:
            os.ftruncate(fd, length)
        finally:
            os.close(fd)

    def set_aside(self, name: str) -> str:
        """Rename a file to the first free of ``name~1``, ``name~2`` and so on, and return that name."""
        aside = next(new for number in count(1) if self.size(new := f"{name}~{number}") is None)
        path = PurePosixPath(name)
        with self._folder(path.parent) as folder:
            os.rename(path.name, PurePosixPath(aside).name, src_dir_fd=folder, dst_dir_fd=folder)
        return aside

    def write_files(self, contents: Mapping[str, Content], *, durable: bool) -> None:
        """Write new files, and bring their bytes to the disk if they are to survive a power cut."""
        names = list(contents)
        for start in range(0, len(names), OPEN_FILES):
            with ExitStack() as files:
                fds = []
                for name in names[start : start + OPEN_FILES]:
                    fd = self.open_file(name)
                    files.callback(os.close, fd)
                    write_all(fd, contents[name], 0)
                    fds.append(fd)
                if durable:
                    sync_files(fds)

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        with os.fdopen(self._open_present(name), "rb") as file:
            return file.read()

    def make_folder(self, name: str) -> os.stat_result:
        """Make a folder (mode 0750) with those above it if need be, and return what it is."""
        with self._folder(PurePosixPath(name), make=True) as folder:
            return os.fstat(folder)

    def entries(self, name: str) -> dict[str, os.stat_result]:
        """Return what is in a folder, by name; nothing if there is no such folder."""
        try:
            with self._folder(PurePosixPath(name)) as folder, os.scandir(folder) as found:
                return {entry.name: entry.stat(follow_symlinks=False) for entry in found}
        except FileNotFoundError:
            return {}

    def move(self, name: str, place: str) -> None:
        """Rename a file; the folders it goes to are made if need be."""
        old, new = PurePosixPath(name), PurePosixPath(place)
        with self._folder(old.parent) as source, self._folder(new.parent, make=True) as folder:
            os.rename(old.name, new.name, src_dir_fd=source, dst_dir_fd=folder)

    def link(self, name: str, place: str) -> None:
        """Give a file a second name."""
        old, new = PurePosixPath(name), PurePosixPath(place)
        with self._folder(old.parent) as source, self._folder(new.parent) as folder:
            os.link(old.name, new.name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    def exchange(self, name: str, other: str) -> None:
        """Let two folders change places, in one step that nobody sees half done.

        Raises:
            OSError: Among others, ENOSYS, EINVAL or EOPNOTSUPP where the file system has no such step.
        """
        one, two = PurePosixPath(name), PurePosixPath(other)
        with self._folder(one.parent) as folder, self._folder(two.parent) as second:
            if swap_names(folder, os.fsencode(one.name), second, os.fsencode(two.name), _EXCHANGE):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), other)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with the files in it; what is not there need not be removed."""
        path = PurePosixPath(name)
        with suppress(FileNotFoundError), self._folder(path.parent) as folder:
            if not stat.S_ISDIR(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(path.name, dir_fd=folder)
                return
            with self._folder(path) as inner, os.scandir(inner) as found:
                for inside in [entry.name for entry in found]:
                    os.unlink(inside, dir_fd=inner)
            os.rmdir(path.name, dir_fd=folder)

    def sync_present(self, names: Sequence[str]) -> None:
        """Bring files to the disk that somebody else may have written, and may remove meanwhile."""
        for start in range(0, len(names), OPEN_FILES):
            with ExitStack() as files:
                fds = []
                for name in names[start : start + OPEN_FILES]:
                    with suppress(FileNotFoundError):
                        fds.append(self._open_present(name))
                        files.callback(os.close, fds[-1])
                if fds:
                    sync_files(fds)

    def sync_folders(self, names: Iterable[str]) -> None:
        """Bring the entries of files, and of the folders they are in, to the disk, the outermost first."""
        folders = {parent for name in names for parent in PurePosixPath(name).parents}
        for path in sorted(folders, key=lambda folder: len(folder.parts)):
            with self._folder(path) as folder:
                os.fsync(folder)

    def _open_present(self, name: str) -> int:
        path = PurePosixPath(name)
        with self._folder(path.parent) as folder:
            return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)

    @contextmanager
    def _folder(self, path: PurePosixPath, *, make: bool = False) -> Iterator[int]:
        fd = self.fd
        try:
            for name in path.parts:
                inner = _open_folder(fd, name, make=make)
                if fd != self.fd:
                    os.close(fd)
                fd = inner
            yield fd
        finally:
            if fd != self.fd:
                os.close(fd)


def _swap_names() -> Callable[..., int]:
    libc = ctypes.CDLL(None, use_errno=True)
    found = getattr(libc, "renameat2", None) or getattr(libc, "renameatx_np", None)
    if found is None:
        return _no_such_step
    swap: Callable[..., int] = found
    return swap


def _no_such_step(*_: object) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1


#: Renames as the system's own function does; not zero: it failed, and `ctypes.get_errno` says why.
swap_names: Final = _swap_names()


def sync_files(fds: Sequence[int]) -> None:
    """Bring the bytes of open files to the disk."""
    # Only syncing happens in threads: an interrupted commit leaves none behind that could still write.
    with ThreadPoolExecutor(min(_SYNC_THREADS, len(fds))) as pool:
        list(pool.map(os.fsync, fds))


def make_folder(path: Path) -> None:
    """Make a folder and those above it (mode 0750), each brought to the disk in the one that holds it."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    fd = os.open(path.parent, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def obstacles_under(path: Path) -> list[Reason]:
    """Return what would keep files from being written under a folder, which need not be there yet.

    ``path.not_writable``: it is no folder, or this user may not write there. ``disk.full``: nothing is left.
    ``disk.nearly_full``: less than 256 MB are.
    """
    try:
        there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        space = os.statvfs(there)
    except OSError as error:
        return [Reason("path.not_writable", "path", f"{path}: {error.strerror}")]
    if not there.is_dir():
        return [Reason("path.not_writable", "path", f"{path}: {there} is a file, not a folder")]
    if not os.access(there, os.W_OK | os.X_OK):
        return [Reason("path.not_writable", "path", f"{path}: this user may not write to {there}")]
    free = space.f_bavail * space.f_frsize
    if not space.f_blocks or free >= _SCARCE:  # what is no disk has no blocks
        return []
    code = "disk.nearly_full" if free else "disk.full"
    return [Reason(code, "path", f"{path}: its disk has {free / 1e6:,.1f} MB left")]


def write_all(fd: int, content: Content, offset: int) -> None:
    """Write all of some bytes at an offset, however few the system takes at once."""
    left = memoryview(content)
    while left:
        written = os.pwrite(fd, left, offset)
        left, offset = left[written:], offset + written


def _open_folder(parent: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, _FOLDER_MODE, dir_fd=parent)
    return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
