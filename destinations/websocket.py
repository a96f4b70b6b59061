"""Put points where the gateway finds them, numbered, each once, and not for ever."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from destinations.fleet_redis import fleet_url
from destinations.jsonl_file import encode_jsonl
from destinations.numbered import ADD_NUMBERED, encode_numbered
from destinations.queue_url import QueueServer
from destinations.redis_errors import StreamPlace
from destinations.redis_stream import PORTS, RedisStreamDestination, recorded
from router.batch import PointBatch
from router.errors import ConfigError
from router.names import NAME_RULE, is_name

#: Rows and bytes of one entry: what a subscriber gets in one message.
_ROWS: Final = 1000
_BYTES: Final = 1 << 20
_UNKNOWN: Final = "redis://the-fleet"


class WebSocketDestination(RedisStreamDestination):
    """Live points for subscribers: the gateway sends them on as they come, and again to whoever missed them.

    The points are numbered from 1 up, without a hole, in a stream of Redis that keeps the last of them.
    Entries, numbers and the record of what was written are made in one step, so each point is there once.
    Several destinations may share a stream.

    Args:
        url: The Redis that the gateway reads, ``redis://user:password@host:port/0``, or ``rediss``; None:
            that of the fleet.
        stream: The stream's name among those of the gateway.
        keep: About how many points the stream keeps.
        keep_bytes: About how many bytes of points it keeps, if that is less.
        name: The destination's name, and its queue.
        timeout: Seconds that connecting, or an answer, may take.
        tls: Options for ``rediss`` as redis-py takes them, such as ``ssl_ca_certs``.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    _script: ClassVar[str] = recorded(ADD_NUMBERED)

    def __init__(
        self,
        url: str | None = None,
        stream: str = "live",
        *,
        keep: int = 200_000,
        keep_bytes: int = 64 << 20,
        name: str | None = None,
        timeout: float = 30.0,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the arguments; nothing is opened."""
        if not is_name(stream):
            raise ConfigError("stream.name", "stream", f"{stream!r} is no name: write {NAME_RULE}")
        for argument, value in {"keep": keep, "keep_bytes": keep_bytes}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError("range", argument, f"{value!r} is not a whole number from 1 up")
        if url is None and tls:
            raise ConfigError("tls.scheme", "tls", "is for a url: the fleet's own says how it is reached")
        super().__init__(url or _UNKNOWN, key_of(stream), name=name, timeout=timeout, tls=tls)
        self._of_fleet = url is None
        self._keep = (keep, keep_bytes)

    def _found(self) -> str | None:
        if not self._of_fleet:
            return None
        url = fleet_url()
        self._server = QueueServer(url.partition("?")[0], PORTS)
        self._place = StreamPlace(self._server, self._place.stream)
        return url

    def _steps(self, batch: PointBatch) -> Iterator[PointBatch]:
        for rows in batch.chunks(_ROWS):
            yield from _small(rows)

    def _words(self, added: PointBatch) -> list[Any]:
        return [secrets.token_hex(8), *self._keep, *encode_numbered(added.frame)]

    def place(self) -> str:
        """Return the server without its password, and the stream."""
        return f"the fleet's Redis, stream {self._place.stream}" if self._of_fleet else super().place()

    def target(self, point: Any) -> str:
        """Return the stream."""
        return self.place()


def key_of(stream: str) -> str:
    """Return the key of a stream of the gateway in Redis."""
    return f"candlefleet:live:{stream}"


# Only indicators make a point large.
def _small(rows: PointBatch) -> Iterator[PointBatch]:
    plain = rows.frame["technical_indicators"].null_count() == len(rows)
    if plain or len(rows) == 1 or len(encode_jsonl(rows.frame)) <= _BYTES:
        yield rows
        return
    half = len(rows) // 2
    yield from _small(rows.slice(0, half))
    yield from _small(rows.slice(half, len(rows)))
