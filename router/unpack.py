"""Unpack gzip, zstd, bz2 and xz as they are read; where a file is damaged, keep what was good before."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NamedTuple

import pyarrow as pa

from router.errors import DecodeError

#: Bytes that may come out for each that went in, once `_EARLY` bytes are out.
MAX_RATIO: Final = 200
_EARLY: Final = 64 * 1024 * 1024
_STEP: Final = 16 * 1024
_ERRORS: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)


class Packing(NamedTuple):
    """A way of packing: its name, the suffix and the first bytes of its files, how to read them."""

    name: str
    suffix: str
    magic: bytes
    opened: Callable[[BinaryIO], Any]


PACKINGS: Final = (
    Packing("gzip", ".gz", b"\x1f\x8b", lambda packed: gzip.GzipFile(fileobj=packed)),
    Packing(
        "zstd",
        ".zst",
        b"\x28\xb5\x2f\xfd",
        lambda packed: pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd"),
    ),
    Packing("bz2", ".bz2", b"BZh", bz2.BZ2File),
    Packing("xz", ".xz", b"\xfd7zXZ\0", lzma.LZMAFile),
)


class Unpacked(io.RawIOBase):
    """What a packed stream holds; it ends early where that is damaged, and then has a `fault`.

    Attributes:
        fault: Why it ended early; None as long as it did not.
    """

    def __init__(self, packed: BinaryIO, packing: Packing, taken: Callable[[], int]) -> None:
        """Take a stream that stands at its beginning, and what tells how many bytes were taken from it."""
        self.fault: DecodeError | None = None
        self._packing = packing
        self._taken = taken
        self._out = 0
        self._inner = packing.opened(packed)
        self._read = getattr(self._inner, "read1", self._inner.read)

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as it goes; return how many bytes it got, 0 at the end."""
        filled = 0
        while filled < len(buffer) and (data := self._next(min(len(buffer) - filled, _STEP))):
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def _next(self, count: int) -> bytes:
        if self.fault is not None:
            return b""
        try:
            data: bytes = self._read(count)
        except _ERRORS as error:
            message = f"is damaged: its {self._packing.name} data cannot be unpacked further ({error})"
            self.fault = DecodeError("envelope.compression", message)
            return b""
        self._out += len(data)
        if self._out > max(_EARLY, MAX_RATIO * self._taken()):
            message = (
                f"grows more than {MAX_RATIO} times as it is unpacked, as no bars do: "
                f"if it is what you mean, unpack it and send that"
            )
            self.fault = DecodeError("envelope.size", message)
            return b""
        return data


def packing_of(beginning: bytes) -> Packing | None:
    """Return how a file that begins with these bytes is packed; None: not at all."""
    return next((packing for packing in PACKINGS if beginning.startswith(packing.magic)), None)
