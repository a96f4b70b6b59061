"""Read a stream by the line, counted, with an end to how long one may be."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Final

from router.admission import Unreadable
from router.decode import LIMITS
from router.errors import Reason
from router.sources import Source

#: Bytes that lines may have; what is longer is cut, which marks it as too long.
MAX_LINE: Final = LIMITS.point_bytes
_BLOCK_BYTES: Final = 16 * 1024 * 1024
_AT_ONCE: Final = 256


class Lines:
    """The lines of a file, without its byte order mark; one that damage cut short is none of them.

    Attributes:
        source: What they are read from.
        count: Lines read so far.
        bytes_read: Bytes of the content read so far.
    """

    def __init__(self, source: Source) -> None:
        """Take a source that stands at its beginning."""
        self.count = 0
        self.bytes_read = 0
        self.source = source
        self._pieces = iter(partial(source.stream.readline, MAX_LINE), b"")
        first = next(self._pieces, b"")
        self._marked = len(first) - len(first.removeprefix(BOM_UTF8))
        self._pieces = chain(filter(None, [first[self._marked :]]), self._pieces)

    def done(self) -> int:
        """Return how many bytes of the file were read so far, packed as they may be."""
        return self.bytes_read if self.source.packing is None else self.source.taken()

    def blocks(self, count: int) -> Iterator[tuple[list[bytes], int]]:
        """Yield all that is left as `block` gives it, with the number of the first line of each."""
        while block := self.block(count):
            yield block, self.count - len(block) + 1

    def take(self) -> bytes:
        """Return the next line with its end; nothing after the last."""
        return next(iter(self._some(1)), b"")

    def give_back(self, line: bytes) -> None:
        """Let a line that was taken come again."""
        self._pieces = chain([line], self._pieces)
        self.bytes_read -= len(line)
        self.count -= 1

    def block(self, count: int) -> list[bytes]:
        """Return up to so many lines, fewer if they take more than 16 MiB; none after the last."""
        lines: list[bytes] = []
        stop = self.bytes_read + _BLOCK_BYTES
        while len(lines) < count and self.bytes_read < stop and (more := self._some(count - len(lines))):
            lines += more
        return lines

    def _some(self, count: int) -> list[bytes]:
        pieces = list(islice(self._pieces, min(count, _AT_ONCE)))
        if self.source.fault is not None and pieces and _is_torn(pieces[-1]):
            pieces.pop()
        self.bytes_read += sum(map(len, pieces)) + self._marked
        self._marked = 0
        lines = pieces if max(map(len, pieces), default=0) < MAX_LINE else self._whole(pieces)
        self.count += len(lines)
        return lines

    def _whole(self, pieces: list[bytes]) -> list[bytes]:
        """Return the first piece of each line, and read on to the end of the last line."""
        last = pieces[-1]
        while is_cut(last) and (last := next(self._pieces, b"")):
            self.bytes_read += len(last)
        return [piece for before, piece in zip([b"", *pieces], pieces, strict=False) if not is_cut(before)]


def is_cut(line: bytes) -> bool:
    """Return whether a line is longer than what was read of it."""
    return len(line) == MAX_LINE and not line.endswith(b"\n")


def _is_torn(piece: bytes) -> bool:
    return len(piece) < MAX_LINE and not piece.endswith(b"\n")


def fault_of(line: bytes) -> Unreadable | None:
    """Return what makes a line unreadable as text, None if nothing does."""
    if is_cut(line):
        return unreadable(line, "envelope.size", f"the line is longer than {MAX_LINE} bytes")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return unreadable(line, "envelope.encoding", f"the line is not UTF-8 at byte {error.start}")
    return None


def unreadable(line: bytes, code: str, message: str) -> Unreadable:
    """Return a line as what is refused for one reason; bytes that are no text are written as ``\\xff``."""
    text = line.decode(errors="backslashreplace").rstrip("\r\n")
    return Unreadable(text, (Reason(code, "", message),))
