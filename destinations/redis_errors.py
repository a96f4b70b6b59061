"""What a Redis answers means for the points: wait, or try again."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis

from destinations.queue_url import QueueServer
from router.errors import DestinationError, TransientError, UnavailableError

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
    (
        "NOPERM",
        "let this user PING, EVAL, XADD, HGET, HMGET, HSET and HINCRBY on the stream and its record",
    ),
    ("MISCONF", "it cannot save: make room on its disk, or see its log"),
    ("MASTERDOWN", "name the primary in url"),
    ("NOREPLICAS", "bring its replicas back"),
    ("CLUSTERDOWN", "mend the cluster"),
    ("MOVED", "name a Redis that is no cluster, or a proxy before the cluster"),
    ("CROSSSLOT", "name a Redis that is no cluster, or a proxy before the cluster"),
    ("WRONGTYPE", "a key of this name holds something else: name another stream, or delete the key"),
    ("exhausted the last possible ID", "name another stream"),
    ("max number of clients", "let it take more clients, or run fewer workers"),
    ("invalid DB index", "mend the number of the database in url"),
    ("DB index is out of range", "mend the number of the database in url"),
)
_NOBODY: Final = "start the server, or mend host and port in url"


@contextmanager
def redis_errors(server: QueueServer, *, connecting: bool = False) -> Iterator[None]:
    """Turn what a Redis answers into what happens next.

    Args:
        server: Named in the message, its secrets never.
        connecting: Nothing was asked yet: whoever does not answer now is not there.

    Raises:
        UnavailableError: No connection, no permission, no room, or a key that is something else.
        TransientError: A lost connection, a time limit, or anything else.
    """
    try:
        yield
    except (redis.RedisError, OSError, ssl.SSLError) as error:
        kind, hint = _meaning(error, connecting=connecting)
        text = server.scrub(" ".join(str(error).split()) or type(error).__name__)
        raise kind(f"{server}: {text}{f': {hint}' if hint else ''}") from error


def _meaning(error: Exception, *, connecting: bool) -> tuple[type[DestinationError], str]:
    # The client takes the first word of some answers away, and makes a class of it.
    said = f"{_WORDS.get(type(error), '')} {error}"
    hint = next((hint for words, hint in _HINTS if words in said), "")
    if hint or connecting:
        return UnavailableError, hint or _NOBODY
    return TransientError, ""


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
