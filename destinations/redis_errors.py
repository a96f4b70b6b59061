"""What a Redis answers means for the points: wait, or try again."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import redis

from destinations.queue_url import QueueServer
from destinations.tls import connecting_hint
from router.errors import TransientError, UnavailableError

#: What a reader of the record says of what cannot be read.
NOT_OURS: Final = "the record is not as it was written"
#: What a script says of a stream whose entries it did not add.
NOT_NUMBERED: Final = "the entries of the stream are not numbered points"
_RECORD: Final = "somebody else wrote to the record: name another stream, or delete both"
_NEEDED: Final = (
    "let this user PING, EVAL, XADD, HGET, HMGET, HSET, HINCRBY, HSCAN and HDEL on the stream and its record,"
    " and for the gateway XRANGE, XREVRANGE, XTRIM, EXISTS and DEL too"
)
#: By the first word of an answer, or a part of it: what to do. No answer of these is any point's fault.
#: Source: Redis documentation, and src/server.c of Redis 7.0.
_HINTS: Final = (
    ("OOM", "make room, raise its maxmemory, or set maxlen"),
    ("READONLY", "name the primary in url"),
    ("LOADING", "it has just started: wait"),
    ("NOAUTH", "give user and password in url"),
    ("already authenticated", "give user and password in url"),
    ("WRONGPASS", "mend user and password in url"),
    ("invalid username-password", "mend user and password in url"),
    ("without any password configured", "leave the password in url out"),
    ("NOPERM", _NEEDED),
    ("ACL failure in script", _NEEDED),
    ("MISCONF", "it cannot save: make room on its disk, or see its log"),
    ("MASTERDOWN", "name the primary in url"),
    ("NOREPLICAS", "bring its replicas back"),
    ("CLUSTERDOWN", "mend the cluster"),
    ("MOVED", "name a Redis that is no cluster, or a proxy before the cluster"),
    ("CROSSSLOT", "name a Redis that is no cluster, or a proxy before the cluster"),
    ("WRONGTYPE", "a key of this name holds something else: name another stream, or delete the key"),
    ("hash value is not an integer", _RECORD),
    (NOT_OURS, _RECORD),
    (NOT_NUMBERED, "somebody else wrote to the stream: name another, or delete it"),
    ("exhausted the last possible ID", "name another stream"),
    ("max number of clients", "let it take more clients, or run fewer workers"),
    ("invalid DB index", "mend the number of the database in url"),
    ("DB index is out of range", "mend the number of the database in url"),
    ("SELECT is not allowed", "name a Redis that is no cluster, and write /0"),
)


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """Some streams of one Redis; `str` tells people which."""

    server: QueueServer
    stream: str

    def __str__(self) -> str:
        return f"{self.server}, stream {self.stream}"


@contextmanager
def redis_errors(place: StreamPlace, *, connecting: bool = False) -> Iterator[None]:
    """Turn what a Redis answers into what happens next.

    Args:
        place: Named in the message, the secrets of its server never.
        connecting: Nothing was asked yet: whoever does not answer now is not there.

    Raises:
        UnavailableError: No connection, no permission, no room, or a key or record that is something else.
        TransientError: A lost connection, a time limit, or anything else.
    """
    try:
        yield
    except (redis.RedisError, OSError, ssl.SSLError) as error:
        text = place.server.scrub(" ".join(str(error).split()) or type(error).__name__)
        hint = _hint(error)
        kind = UnavailableError if hint or connecting else TransientError
        if connecting and not hint:
            hint = connecting_hint(text, place.server.scheme)
        raise kind(f"{place}: {text}{f': {hint}' if hint else ''}") from error


# The client takes the first word of some answers away, and makes a class of it.
def _hint(error: Exception) -> str:
    said = f"{_WORDS.get(type(error), '')} {error}"
    return next((hint for words, hint in _HINTS if words in said), "")


_WORDS: Final[dict[type[Exception], str]] = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.AuthenticationError: "WRONGPASS",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.MovedError: "MOVED",
}
