"""Compress what is appended to a file, one whole member a write, so that a file may end after any of them."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from typing import Final, NamedTuple

import pyarrow as pa

from router.errors import ConfigError

Content = bytes | memoryview


class Compression(NamedTuple):
    """How bytes are packed, and what a packed file's name ends with."""

    suffix: str
    pack: Callable[[Content], Content]


def _gzip(content: Content) -> bytes:
    # No time of writing in it: the same rows give the same bytes on every retry.
    return gzip.compress(content, compresslevel=6, mtime=0)


def _zstd(content: Content) -> bytes:
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return packed


def _as_it_is(content: Content) -> Content:
    return content


PLAIN: Final = Compression("", _as_it_is)

COMPRESSIONS: Final[dict[str | None, Compression]] = {
    None: PLAIN,
    "gzip": Compression(".gz", _gzip),
    "bz2": Compression(".bz2", bz2.compress),
    "zstd": Compression(".zst", _zstd),
}


def compression(name: str | None) -> Compression:
    """Return the compression of that name.

    Raises:
        ConfigError: `enum`, if there is none of that name.
    """
    if name not in COMPRESSIONS:
        allowed = ", ".join(str(known) for known in COMPRESSIONS)
        raise ConfigError("enum", "compression", f"{name!r} is not one of {allowed}")
    return COMPRESSIONS[name]
