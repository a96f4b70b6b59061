"""Read the numbered points of one stream of Redis."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from destinations.numbered import NumberedEntry
from destinations.websocket import key_of
from router.errors import DecodeError

#: Entries read at once, for all who are up to date, and for one who is not.
_COUNT: Final = 32
_COUNT_OF_ONE: Final = 4
#: Connections for those who are not.
_CONNECTIONS: Final = 8
#: Seconds an answer may take.
_PATIENCE: Final = 5.0

_MARK: Final = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not newest then return {} end
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {newest[2][2], newest[1], oldest[2][6]}
"""


class Mark(NamedTuple):
    """What a stream holds: its epoch, and the numbers of the newest and the oldest point."""

    epoch: str
    newest: int
    oldest: int


class Stream:
    """One stream; every method may raise what redis-py raises, or `DecodeError` for what is not ours.

    Args:
        url: Of the Redis.
        name: The stream's, as `WebSocketDestination` knows it.
    """

    def __init__(self, url: str, name: str) -> None:
        """Connect to nothing yet."""
        self.name = name
        self._key = key_of(name)
        waits: dict[str, Any] = {
            "socket_timeout": _PATIENCE,
            "socket_connect_timeout": _PATIENCE,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
        }
        self._client = redis.Redis.from_url(url, **waits)
        self._others = redis.Redis.from_url(url, **waits)
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    async def mark(self) -> Mark | None:
        """Return what the stream holds; None: nothing."""
        found: Any = await self._client.eval(_MARK, 1, self._key)
        if not found:
            return None
        try:
            epoch, newest, oldest = found
            return Mark(epoch.decode(), int(newest.partition(b"-")[0]), int(oldest))
        except (ValueError, TypeError) as error:
            raise DecodeError("stream.foreign", f"{self._key} holds what is no numbered point") from error

    async def after(self, number: int, wait: float) -> list[NumberedEntry]:
        """Return the next entries after a number, in order; none, if none comes within so many seconds."""
        found: Any = await self._client.xread({self._key: number}, count=_COUNT, block=int(wait * 1000))
        return [NumberedEntry.decode(*entry) for _, entries in found or [] for entry in entries]

    async def between(self, number: int, last: int) -> list[NumberedEntry]:
        """Return the next entries that end after a number, up to one that ends at `last`."""
        async with self._turns:
            found: Any = await self._others.xrange(self._key, f"({number}", last, count=_COUNT_OF_ONE)
        return [NumberedEntry.decode(*entry) for entry in found]

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()
        await self._others.aclose()
