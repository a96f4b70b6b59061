"""Read a stream by the line, counted, with an end to how long one may be."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import BinaryIO, Final

from router.admission import Unreadable
from router.decode import LIMITS
from router.errors import Reason

#: Bytes that lines may have; what is longer is cut, which marks it as too long.
MAX_LINE: Final = LIMITS.point_bytes
_BLOCK_BYTES: Final = 16 * 1024 * 1024


class Lines:
    """The lines of a binary stream, without its byte order mark.

    Attributes:
        count: Lines read so far.
        bytes_read: Bytes read so far, a held line included.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Take a stream that stands at its beginning."""
        self.count = 0
        self.bytes_read = 0
        self._stream = stream
        self._held = self._read().removeprefix(BOM_UTF8)

    def first(self) -> bytes:
        """Return the first line again and again, without taking it."""
        return self._held

    def take(self) -> bytes:
        """Return the next line with its end; nothing after the last."""
        line = self._held or self._read()
        self._held = b""
        self.count += bool(line)
        return line

    def block(self, count: int) -> list[bytes]:
        """Return up to so many lines, fewer if they take more than 16 MiB; none after the last."""
        lines: list[bytes] = []
        stop = self.bytes_read + _BLOCK_BYTES
        while len(lines) < count and self.bytes_read < stop and (line := self.take()):
            lines.append(line)
        return lines

    def _read(self) -> bytes:
        line = self._stream.readline(MAX_LINE)
        self.bytes_read += len(line)
        rest = line
        while len(rest) == MAX_LINE and not rest.endswith(b"\n"):
            rest = self._stream.readline(MAX_LINE)
            self.bytes_read += len(rest)
        return line


def fault_of(line: bytes) -> Unreadable | None:
    """Return what makes a line unreadable as text, None if nothing does."""
    if len(line) == MAX_LINE and not line.endswith(b"\n"):
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
