"""Add points to streams of Redis, each once: what was added is recorded in the same step."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any, ClassVar, Final

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from destinations.base import DataDestination
from destinations.messages import encode_values, row_names
from destinations.patterns import KeyPattern
from destinations.pruning import MOST, StillOwed, settled, written_before
from destinations.queue_url import QueueServer
from destinations.redis_errors import NOT_OURS, StreamPlace, redis_errors
from destinations.repeats import Entry, compare
from destinations.tls import checked_tls, see_files
from router.batch import PointBatch
from router.errors import ConfigError, DestinationError, TransientError
from router.points import NormalizedDataPoint
from router.rows import Mask, Rows

PORTS: Final = {"redis": 6379, "rediss": 6379}
#: So many rows are added in one step: meanwhile nobody else is served.
_STEP: Final = 1000
#: Another process may be adding rows of the same batch: so often what is on record is read again.
_ATTEMPTS: Final = 10
_COUNT: Final = b"rows "
_DIGITS: Final = 9
_TLS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_ciphers", "ssl_check_hostname")
_INHERITED: Final[list[redis.Redis]] = []

#: Does something with rows if what is on record of them has not changed since it was read, and records them.
#: Whoever may not record them does nothing: the count is written first, as it was.
_RECORDED: Final = """
local stream, record, count, rows, entries = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for at = 4, 1 + 3 * entries, 3 do
  if (redis.call('HGET', record, ARGV[at]) or '') ~= ARGV[at + 1] then return 0 end
end
redis.call('HSET', record, count, redis.call('HINCRBY', record, count, 0))
local at = 4 + 3 * entries
%s
for at = 4, 1 + 3 * entries, 3 do
  redis.call('HSET', record, ARGV[at], ARGV[at + 2])
end
redis.call('HINCRBY', record, count, rows)
return 1
"""
_ADD: Final = """
local trim, route = tonumber(ARGV[at]), ARGV[at + 1]
for i = at + 2, #ARGV, 3 do
  if trim > 0 then
    redis.call('XADD', stream, 'MAXLEN', '~', trim, '*',
      'point', ARGV[i], 'batch', ARGV[i + 1], 'row', ARGV[i + 2], 'route', route)
  else
    redis.call('XADD', stream, '*',
      'point', ARGV[i], 'batch', ARGV[i + 1], 'row', ARGV[i + 2], 'route', route)
  end
end
"""
#: Forgets those of some batches that were not written since a moment.
_FORGET: Final = """
local gone = 0
for i = 2, #ARGV do
  local data = redis.call('HGET', KEYS[1], ARGV[i])
  if data and tonumber(string.match(data, '^%S* (%d+)')) < tonumber(ARGV[1]) then
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return gone
"""


def recorded(adding: str) -> str:
    """Return the script that adds rows as some lines of Lua do, and records them in the same step.

    Args:
        adding: Finds `stream`, how many `rows` there are, and its own words from argument `at` on.
    """
    return _RECORDED % adding


class RedisStreamDestination(DataDestination):
    """One entry a point, in a stream, or in one stream for each value of some fields.

    An entry holds `point`, the JSON object of the point, and `batch`, `row` and `route`. Entries and the
    record of them are added in one step, so that each point is there once. There is one connection, made by
    `open` and made again after it was lost; threads share it.

    Args:
        url: ``redis://user:password@host:port/0``, or ``rediss`` for TLS.
        stream: The stream's name; fields may stand in it between braces.
        maxlen: About how many entries a stream keeps; what is older is gone, read or not. None: all.
        name: The destination's name, and its queue.
        timeout: Seconds that connecting, or an answer, may take.
        tls: Options for ``rediss`` as redis-py takes them, such as ``ssl_ca_certs``.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    _script: ClassVar[str] = recorded(_ADD)

    def __init__(
        self,
        url: str,
        stream: str = "candlefleet",
        maxlen: int | None = None,
        *,
        name: str | None = None,
        timeout: float = 30.0,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(name=name)
        self._server = QueueServer(url, PORTS)
        self._streams = KeyPattern(stream, "stream")
        self._database = _database(self._server)
        if maxlen is not None and (isinstance(maxlen, bool) or maxlen < 1):
            raise ConfigError("range", "maxlen", f"{maxlen!r} is not a number of entries from 1 up")
        if not 1 <= timeout < math.inf:
            raise ConfigError("range", "timeout", f"{timeout!r} is not a number of seconds from 1 up")
        self._maxlen = maxlen
        self._timeout = timeout
        self._tls = checked_tls(tls, self._server.scheme, _TLS)
        self._place = StreamPlace(self._server, stream)
        self._lock = threading.RLock()
        self._client: redis.Redis | None = None
        self._pid = 0

    # -- open and close -------------------------------------------------------------------------

    def open(self) -> None:
        """Connect.

        Raises:
            UnavailableError: No connection, no permission; the message says to what, and what to do.
        """
        with self._lock:
            self.close()
            see_files(self._tls, self._place)
            client = self._new_client()
            self._client, self._pid = client, os.getpid()
            with redis_errors(self._place, connecting=True):
                client.ping()

    def _new_client(self) -> redis.Redis:
        waits: dict[str, Any] = {
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
        }
        if url := self._found():
            return redis.Redis.from_url(url, **waits)
        return redis.Redis(
            host=self._server.host,
            port=self._server.port,
            db=self._database,
            username=self._server.user,
            password=self._server.password,
            ssl=self._server.scheme == "rediss",
            **waits,
            **self._tls,
        )

    def _found(self) -> str | None:
        """Return a URL that is known only now; None: the one that was given is meant."""
        return None

    def close(self) -> None:
        """Let go of the connection; twice is harmless. The next write connects again."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None and self._pid != os.getpid():
                _INHERITED.append(client)  # the parent's: it still talks through it
            elif client is not None:
                with suppress(redis.RedisError, OSError):
                    client.close()

    # -- writing --------------------------------------------------------------------------------

    def write_batch(self, batch: PointBatch) -> None:
        """Add the rows that were not added yet.

        Raises:
            UnavailableError: No connection, no permission, no room, or a key that is no stream.
            TransientError: No answer in time, a lost connection; write again.
            TerminalError: A batch of this id with other points was written before.
        """
        if not len(batch):
            return
        with self._answering() as client:
            for stream, rows in self._by_stream(batch):
                self._add(client, stream, rows)

    @contextmanager
    def _answering(self) -> Iterator[redis.Redis]:
        with self._lock:
            try:
                with redis_errors(self._place):
                    yield self._connected()
            except BaseException:
                self.close()
                raise

    def _by_stream(self, batch: PointBatch) -> Iterator[tuple[str, PointBatch]]:
        streams = self._streams.keys(batch.frame)
        names = list(dict.fromkeys(streams))
        if len(names) == 1:
            yield names[0], batch
            return
        column = np.array(streams)
        for name in names:
            yield name, batch.filter(column == name)

    def _add(self, client: redis.Redis, stream: str, batch: PointBatch) -> None:
        place = replace(self._place, stream=stream)
        with redis_errors(place):
            for _ in range(_ATTEMPTS):
                if self._added(client, stream, batch):
                    return
        raise TransientError(f"{place}: others keep adding rows of the same batch")

    def _added(self, client: redis.Redis, stream: str, batch: PointBatch) -> bool:
        record, route = record_of(stream), batch.route_id or ""
        known = _read(client, record, route, {part.batch_id for part in batch.parts})
        for rows in self._steps(batch):
            new, entries = compare(rows, _entries_of(known))
            if not new.any():
                continue
            after = {name: encode_entry(entry) for name, entry in entries.items()}
            changed = [(_field(route, name), known.get(name, b""), data) for name, data in after.items()]
            added = rows.filter(new)
            head = (_COUNT + route.encode(), len(added), len(changed))
            words: list[Any] = [*head, *chain.from_iterable(changed), *self._words(added)]
            if not client.eval(self._script, 2, stream, record, *words):
                return False
            known |= after
        return True

    def _steps(self, batch: PointBatch) -> Iterator[PointBatch]:
        """Yield the rows that are added in one step, in order."""
        return batch.chunks(_STEP)

    def _words(self, added: PointBatch) -> list[Any]:
        """Return what the script adds for some rows, in its words."""
        return [self._maxlen or 0, added.route_id or "", *encode_entries(added)]

    # A connection that was ended while nothing was written is no reason to lose an attempt.
    def _connected(self) -> redis.Redis:
        if self._client is not None and self._pid == os.getpid():
            with suppress(redis.ConnectionError):
                self._client.ping()
                return self._client
        self.open()
        assert self._client is not None
        return self._client

    # -- what was written -----------------------------------------------------------------------

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row whether Redis says that it was added; none, where it cannot be asked."""
        held = np.zeros(len(batch), dtype=np.bool_)
        route = batch.route_id or ""
        with self._lock, suppress(DestinationError), redis_errors(self._place):
            client = self._connected()
            streams = np.array(self._streams.keys(batch.frame))
            for stream in dict.fromkeys(streams.tolist()):
                mine = streams == stream
                rows = batch.filter(mine)
                known = _read(client, record_of(stream), route, {part.batch_id for part in rows.parts})
                new, _ = compare(rows, _entries_of(known))
                held[mine] = ~new
        return held

    def on_record(self, route_id: str) -> int | None:
        """Return how many rows of a route were ever added; None: it cannot be asked, or of which streams."""
        if self._streams.fields:
            return None
        with self._lock, suppress(DestinationError), redis_errors(self._place):
            found = self._connected().hget(record_of(self._streams.text), _COUNT + route_id.encode())
            with _as_written():
                return int(found or 0)
        return None

    def prune(self, older_than: timedelta, still_owed: StillOwed) -> int:
        """Forget which rows of old, settled batches were added; return of how many, stream by stream.

        Raises:
            UnavailableError: No connection, no permission.
            TransientError: No answer in time, a lost connection.
        """
        before, gone = int(written_before(older_than)), 0  # of a second that is over nothing comes any more
        for record in self._records():
            cursor = None
            while cursor != 0 and gone < MOST:
                with self._answering() as client:
                    found: Any = client.hscan(record, cursor or 0, count=_STEP)
                cursor, entries = found
                old = [field for field, data in entries.items() if _written_at(field, data) < before]
                for route, batches in _by_route(old).items():
                    gone += self._forget(record, route, settled(route, batches, still_owed), before)
        return gone

    def _records(self) -> list[str]:
        if not self._streams.fields:
            return [record_of(self._streams.text)]
        with self._answering() as client:
            return [key.decode() for key in client.scan_iter(match=record_of("*"), count=_STEP)]

    def _forget(self, record: str, route: str, batches: Sequence[str], before: float) -> int:
        with self._answering() as client:
            fields = [_field(route, batch) for batch in batches]
            return int(client.eval(_FORGET, 1, record, before, *fields)) if fields else 0

    # -- where ----------------------------------------------------------------------------------

    def place(self) -> str:
        """Return the server without its password, and the stream."""
        return str(self._place)

    def target(self, point: NormalizedDataPoint) -> str:
        """Return the stream of a point."""
        stream = self._streams.keys(PointBatch.of([point]).frame)[0]
        return str(StreamPlace(self._server, stream))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place()})"


def record_of(stream: str) -> str:
    """Return the key of what was added to a stream; a cluster keeps it where the stream is."""
    return f"{{{stream}}}:candlefleet-written"


def encode_entries(batch: PointBatch) -> list[bytes | str]:
    """Return the point, the batch and the row of each row, one after another, in order."""
    names = (name.rpartition(":") for name in row_names(batch))
    values = encode_values(batch.frame)
    return [word for value, (name, _, row) in zip(values, names, strict=True) for word in (value, name, row)]


def encode_entry(entry: Entry) -> bytes:
    """Return what is on record of a batch: its fingerprint, seconds since 1970, and the set of rows."""
    return b"%s %d %s" % (entry.digest.encode(), int(time.time()), entry.rows.encode())


def decode_entry(data: bytes) -> Entry:
    """Return what `encode_entry` wrote."""
    with _as_written():
        digest, _, rows = data.split(b" ", 2)
        return Entry(digest.decode(), Rows.decode(rows))


# The counts in a record are never old.
def _written_at(field: bytes, data: bytes) -> float:
    if field.startswith(_COUNT) and b"\0" not in field:
        return math.inf
    with _as_written():
        return int(data.split(b" ", 2)[1])


# Others may write to the record: it is a key like any.
@contextmanager
def _as_written() -> Iterator[None]:
    try:
        yield
    except (ValueError, IndexError) as error:
        raise redis.DataError(NOT_OURS) from error


def _read(client: redis.Redis, record: str, route: str, batches: Collection[str]) -> dict[str, bytes]:
    names = sorted(batches)
    found: list[Any] = client.hmget(record, [_field(route, name) for name in names]) if names else []
    return {name: data for name, data in zip(names, found, strict=True) if data is not None}


def _entries_of(known: Mapping[str, bytes]) -> dict[str, Entry]:
    return {name: decode_entry(data) for name, data in known.items()}


def _by_route(fields: Iterable[bytes]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for field in fields:
        route, _, batch = field.decode().partition("\0")
        found[route].append(batch)
    return found


def _field(route: str, batch: str) -> bytes:
    return f"{route}\0{batch}".encode()


def _database(server: QueueServer) -> int:
    number = server.path.strip("/") or "0"
    if not number.isascii() or not number.isdigit() or len(number) > _DIGITS:
        raise ConfigError("url.syntax", "url", f"{number!r} is no number of a database: write …/0")
    return int(number)
