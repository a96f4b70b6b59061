"""Read the body of a request: never more of it than is allowed, packed or not."""

from __future__ import annotations

import asyncio
import zlib
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.requests import Request

from router.decode import LIMITS, decode_json
from router.errors import CandlefleetError, DecodeError
from router.lines import MAX_LINE
from router.names import nearest
from router.read_json import row_of_line

#: Bytes of all bodies that are in hand at a time.
MOST_IN_HAND: Final = 4 * LIMITS.bytes
#: Seconds that a body may take to arrive.
PATIENCE: Final = 60.0

_JSON: Final = "application/json"
_LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines")
_GZIP: Final = 31  # zlib's word for it


class HttpError(CandlefleetError):
    """A request that is answered with a status other than that of success.

    Args:
        status: Of the answer.
        code: A stable name of the fault, such as ``envelope.not_json``.
        message: What is wrong, and what to do.
        retry_after: Seconds after which it may be sent again; 0: not said.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int = 0) -> None:
        super().__init__(status, code, message, retry_after)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class Bodies:
    """Reads bodies, and lets no more of them be in memory than there is room for.

    Args:
        most: Bytes of all bodies at a time.
        limit: Bytes of one.
    """

    def __init__(self, most: int = MOST_IN_HAND, limit: int = LIMITS.bytes) -> None:
        """Hold nothing yet."""
        self._most = most
        self._limit = limit
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Give the body of a request, as it was sent; it counts as held until the context ends.

        Raises:
            HttpError: It is too large, comes too slowly, or there is no room for it now.
        """
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said[:20]) > self._limit:
            raise too_large(int(said[:20]), self._limit)
        data = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                async for chunk in request.stream():
                    self._held += len(chunk)
                    data += chunk
                    self._check(len(data))
            yield bytes(data)
        except TimeoutError:
            message = f"the body did not arrive within {PATIENCE:g} s: send smaller batches"
            raise HttpError(408, "body.slow", message) from None
        finally:
            self._held -= len(data)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise too_large(size, self._limit)
        if self._held > self._most:
            raise HttpError(429, "gateway.busy", "too much is being sent at a time: send again later", 1)


def too_large(size: int, limit: int) -> HttpError:
    """Return what is answered to more than is allowed."""
    message = f"{size} bytes are more than the {limit} allowed: send the points in several batches"
    return HttpError(413, "envelope.size", message)


def rows_of(data: bytes, kind: str, encoding: str, limit: int = LIMITS.bytes) -> list[Any]:
    """Return the points of a body, which nobody has checked yet, as `router.admission.admit` takes them.

    Args:
        data: The body as it was sent.
        kind: Its content type; empty: JSON.
        encoding: Its content encoding; empty: none.
        limit: Bytes it may have, unpacked.

    Raises:
        HttpError: 400, 413 or 415; the message says what to send.
    """
    name = kind.partition(";")[0].strip().lower()
    if name not in ("", _JSON, *_LINES):
        known = (_JSON, _LINES[0])
        message = f"{name!r:.80} is not read{nearest(name, known)}: send Content-Type: {' or '.join(known)}"
        raise HttpError(415, "envelope.type", message)
    data = _unpacked(data, encoding.strip().lower(), limit)
    try:
        return lines_of(data) if name in _LINES else decode_json(data)
    except DecodeError as error:
        status = 413 if error.code in ("envelope.size", "batch.too_many") else 400
        raise HttpError(status, error.code, error.message) from None


def lines_of(data: bytes) -> list[Any]:
    """Return the point of each line that is not blank; one that cannot be read stands as `Unreadable`.

    Raises:
        DecodeError: `envelope.empty`, or `batch.too_many`.
    """
    lines = [line for line in data.removeprefix(BOM_UTF8).split(b"\n") if line.strip()]
    if not lines:
        raise DecodeError("envelope.empty", "the message is empty: send a point on each line")
    if len(lines) > LIMITS.points:
        raise DecodeError(
            "batch.too_many", f"more than {LIMITS.points} points: send them in several messages"
        )
    return [row_of_line(line[:MAX_LINE]) for line in lines]


def _unpacked(data: bytes, encoding: str, limit: int) -> bytes:
    if encoding in ("", "identity"):
        return data
    if encoding not in ("gzip", "x-gzip"):
        message = f"{encoding!r:.80} is not unpacked: send Content-Encoding: gzip, or none"
        raise HttpError(415, "envelope.compression", message)
    found = bytearray()
    while data:
        member = zlib.decompressobj(_GZIP)
        try:
            found += member.decompress(data, limit + 1 - len(found))
        except zlib.error as error:
            raise HttpError(400, "envelope.compression", f"the body is not gzip: {error}") from None
        if len(found) > limit:
            raise HttpError(413, "envelope.size", f"the body unpacks to more than the {limit} bytes allowed")
        if not member.eof:
            raise HttpError(400, "envelope.compression", "the body is gzip that ends before its end")
        data = member.unused_data
    return bytes(found)
