"""Open what bars are read from: files, standard input, streams; packed or not."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import fstat
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final

from router.errors import ConfigError, DecodeError
from router.unpack import Packing, Unpacked, packing_of

#: Bytes of the content that can be looked at before any is taken.
HEAD: Final = 256 * 1024


class Source:
    """The content of a file or stream, from its beginning.

    Attributes:
        name: What to call it.
        stream: Its content, unpacked.
        packing: How it was packed; None: not at all.
        total: Bytes of the file; None for a stream.
    """

    def __init__(self, stream: BinaryIO, name: str, total: int | None = None) -> None:
        """Take a binary stream that stands at its beginning."""
        self.name = name
        self.total = total
        self._file = stream
        self._copies = ExitStack()
        self._raw = _Counted(stream)
        self._unpacked: Unpacked | None = None
        content = io.BufferedReader(self._raw, HEAD)
        self.packing: Packing | None = packing_of(content.peek(1))
        if self.packing is not None:
            self._unpacked = Unpacked(content, self.packing, self.taken)
            content = io.BufferedReader(self._unpacked, HEAD)  # type: ignore[arg-type]
        self.stream: BinaryIO = content
        self.head = content.peek(1)  #: how the content begins

    @property
    def fault(self) -> DecodeError | None:
        """Why the content ends before its end; None: it does not, as far as it was read."""
        return None if self._unpacked is None else self._unpacked.fault

    def seekable(self) -> BinaryIO:
        """Return the whole content as a file in which one can go back; a copy of it, if need be."""
        if self.packing is None and self.total is not None:
            self._file.seek(0)
            return self._file
        copy = self._copies.enter_context(TemporaryFile())  # noqa: SIM115 - closed by `close`
        shutil.copyfileobj(self.stream, copy)
        copy.seek(0)
        return copy

    def close(self) -> None:
        """Delete the copies that were needed."""
        self._copies.close()

    def taken(self) -> int:
        """Return how many bytes of the file were read so far, somewhat ahead of what was made of them."""
        return self._raw.count


class _Counted(io.RawIOBase):
    def __init__(self, stream: BinaryIO) -> None:
        self.count = 0
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self.count += count
        return count


@contextmanager
def opened(source: str | Path | BinaryIO) -> Iterator[Source]:
    """Open a path, `-` for standard input, or a binary stream; what was opened is closed at the end.

    Raises:
        ConfigError: `path`, if it cannot be read.
    """
    with ExitStack() as stack:
        if not isinstance(source, str | Path):
            name = getattr(source, "name", None)
            found = Source(source, Path(name).name if isinstance(name, str) else "stream")
        elif str(source) == "-":
            found = Source(sys.stdin.buffer, "stdin")
        else:
            file = stack.enter_context(open_file(source))
            found = Source(file, Path(source).name, _size_of(file))
        stack.callback(found.close)
        yield found


def open_file(path: str | Path) -> io.BufferedReader:
    """Open a file to read its bytes as they are.

    Raises:
        ConfigError: `path`, if it cannot be read.
    """
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def state_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file does; None for what cannot be read twice, as a pipe cannot.

    Raises:
        ConfigError: `path`, if there is nothing, or it cannot be looked at.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _size_of(file: BinaryIO) -> int | None:
    status = fstat(file.fileno())
    return status.st_size if S_ISREG(status.st_mode) else None


def _unreadable(path: str | Path, error: OSError) -> ConfigError:
    if isinstance(error, IsADirectoryError):
        message = f"is a folder: name the files in it, as in {path}/*.csv"
        return ConfigError("path", str(path), message)
    return ConfigError("path", str(path), f"cannot be read: {error.strerror}")
