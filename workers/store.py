"""Store: every Redis key and script of the fleet; each method is one step that a kill cannot cut in two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import redis
from redis.backoff import ExponentialBackoff
from redis.commands.core import Script
from redis.retry import Retry
from ulid import ULID

from router.batch import BatchRows, PointBatch
from router.errors import BatchTooLargeError, ConfigError, FleetUnreachableError
from router.rows import Rows
from workers.failpoints import reach
from workers.records import Accepted, Claim, Letter, Nudge, Sweep, Verdict, Waiting, pairs

PREFIX: Final = "candlefleet:"

#: Scripts that only drain run even when Redis is over its memory limit; those that fill do not.
_FILLING: Final = frozenset({"accept", "match"})
_READING: Final = frozenset({"snapshot", "holders"})
_SCRIPTS: Final = Path(__file__).parent / "scripts"

PART_ROWS: Final = 10_000  #: most rows of a part
BACKLOG_ROWS: Final = 50_000  #: most rows of a part while more than this many wait
MOST_PARTS: Final = 32  #: most parts of a flush
FIRST_NUDGE: Final = 5.0  #: seconds until a part's nudge is thought lost
SERVED_FOR: Final = 30.0  #: seconds for which a worker's word that it serves a route is good


class Store:
    """Everything the fleet keeps in Redis. Any number of processes share it; every method is safe to repeat.

    Raises, from every method:
        FleetUnreachableError: Redis does not answer, or refuses the login.
    """

    def __init__(self, client: redis.Redis, *, memory: int = 1 << 30, remember: int = 3600) -> None:
        """Take a client that returns bytes; `memory` is in bytes, `remember` the life of a batch id in s."""
        self.redis = client
        self.high = int(memory * 0.6)
        self.low = int(memory * 0.5)
        self.remember = remember
        self._scripts = {name: client.register_script(source) for name, source in _sources().items()}

    @classmethod
    def connect(cls, url: str, *, memory: int = 1 << 30, remember: int = 3600) -> Store:
        """Return the store at a `redis://` URL; commands are repeated, which every script permits."""
        client = redis.Redis.from_url(
            url,
            socket_timeout=10,
            socket_connect_timeout=5,
            socket_keepalive=True,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), 3),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError],
        )
        return cls(client, memory=memory, remember=remember)

    # -- accept and match ---------------------------------------------------------------------

    def accept(
        self,
        batch_id: str,
        batch: PointBatch,
        *,
        letters: Sequence[Letter] = (),
        context: Mapping[str, Any] | None = None,
        remember: int | None = None,
        notes: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Accepted:
        """Store a batch, and bury the points that were refused at the door, once.

        A ULID that is older than the store's memory is refused; other ids carry no age. Notes are counts
        by source, such as of points that were `rounded`.
        """
        data = batch.to_ipc() if len(batch) else b""
        digest = batch.digest() if len(batch) else ""
        if len(data) > self.high:
            raise BatchTooLargeError(
                f"a batch of {len(data):,} bytes is more than the {self.high:,} the fleet may hold: "
                "send smaller ones"
            )
        answer = self._run(
            "accept",
            *(batch_id, data, len(batch), len(letters), digest, json.dumps(dict(context or {}), default=str)),
            *(_issued(batch_id), remember or self.remember, self.high, self.low),
            json.dumps(notes or {}),
            *pairs(letters),
        )
        return Accepted(answer[0].decode(), answer[1].decode(), bool(answer[2]))

    def take(self, points: int, lease: float, *, stay: bool = False) -> list[Waiting]:
        """Return waiting batches, oldest first, up to about `points`; others pass over them for `lease` s.

        With `stay` the router says that it will look again soon: until then nobody needs to nudge it.
        """
        ids = [name.decode() for name in self._run("take", points, lease, int(stay))]
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(_batch(batch_id), "data", "points", "context")
            found = pipe.execute()
        return [
            Waiting(batch_id, data, int(points), json.loads(context))
            for batch_id, (data, points, context) in zip(ids, found, strict=True)
            if data is not None
        ]

    def match(self, verdicts: Sequence[Verdict]) -> list[bool]:
        """Turn waiting batches into debts, each by itself; False for one that was matched before."""
        script = self._scripts["match"]
        reach("match.before")
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for verdict in verdicts:
                script(args=verdict.arguments(), client=pipe)
            answers = pipe.execute()
        reach("match.after")
        return [answer == b"matched" for answer in answers]

    # -- cut, claim, settle -------------------------------------------------------------------

    def cut(self, route_id: str, *, ordered: bool, most_parts: int = MOST_PARTS) -> list[Nudge]:
        """Turn pending rows of a route into parts, if its window is open and a worker serves it."""
        answer = self._run(
            "cut",
            *(route_id, int(ordered), 1 if ordered else 2, PART_ROWS, BACKLOG_ROWS),
            *(1 if ordered else most_parts, FIRST_NUDGE, str(ULID()), SERVED_FOR),
        )
        return [
            Nudge(part.decode(), route_id, int(rows))
            for part, rows in zip(answer[::2], answer[1::2], strict=True)
        ]

    def claim(self, part_id: str, token: str, lease: float) -> Claim | Literal["gone", "taken", "early"]:
        """Take a part for `lease` seconds, counting the attempt; or say why not."""
        answer = self._run("claim", part_id, token, lease)
        verdict = answer[0].decode()
        if verdict != "claimed":
            return verdict  # type: ignore[no-any-return]
        route, rows, pieces, attempts, silent, since = answer[1:]
        return Claim(
            part_id=part_id,
            token=token,
            route_id=route.decode(),
            rows=int(rows),
            pieces=[(name, start, stop) for name, start, stop in json.loads(pieces)],
            attempts=attempts,
            silent=silent,
            since=float(since or 0),
        )

    def load(self, claim: Claim) -> PointBatch:
        """Return the rows of a claimed part, in order, each named by its batch and row number.

        Rows whose batch is gone or cannot be read are left out.
        """
        wanted = list(dict.fromkeys(name for name, _, _ in claim.pieces))
        fields = ("data", "number", "digest", f"selection:{claim.route_id}")
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for batch_id in wanted:
                pipe.hmget(_batch(batch_id), *fields)
            found = dict(zip(wanted, pipe.execute(), strict=True))
        return PointBatch.gather(
            [
                (found[name][0], _rows(name, found[name], start, stop))
                for name, start, stop in claim.pieces
                if None not in found[name]  # it was settled by another, or Redis went back in time
            ],
            claim.route_id,
        )

    def renew(self, claim: Claim, lease: float) -> bool:
        """Keep a claim for `lease` more seconds; False if the part is no longer held by it."""
        return bool(self._run("renew", claim.part_id, claim.token, lease))

    def holders(self) -> dict[str, str]:
        """Return the token with which each leased part is held."""
        answer = [value.decode() for value in self._run("holders")]
        return dict(zip(answer[::2], answer[1::2], strict=True))

    def release(self, part_id: str, token: str) -> bool:
        """Take a part from a holder that is dead; False if another holds it by now."""
        return bool(self._run("release", part_id, token))

    def settle(
        self, claim: Claim, *, delivered: int, dropped: int = 0, letters: Sequence[Letter] = ()
    ) -> bool:
        """Say that no row of a part is owed any more, and bury those refused; True if the flush is closed."""
        verdict, closed = self._run("settle", claim.part_id, delivered, dropped, *pairs(letters))
        return bool(verdict == b"settled" and closed)

    def nack(self, claim: Claim, *, delay: float, counted: bool, error: str) -> bool:
        """Give a part back to be tried again after `delay` seconds; False if another holds it by now."""
        return bool(self._run("nack", claim.part_id, claim.token, delay, int(counted), error))

    def split(self, claim: Claim, at: int, *, silent: int = 0) -> list[Nudge]:
        """Replace a part by two, the first of `at` rows; empty if another holds it by now.

        Each begins with `silent` unanswered claims on its record.
        """
        answer = self._run("split", claim.part_id, claim.token, at, FIRST_NUDGE, silent)
        return [
            Nudge(part.decode(), claim.route_id, int(rows))
            for part, rows in zip(answer[::2], answer[1::2], strict=True)
        ]

    # -- what keeps it going ------------------------------------------------------------------

    def sweep(self, parts: int = 200) -> Sweep:
        """Return what waits for a nudge that seems lost."""
        router, found, routes = self._run("sweep", FIRST_NUDGE, parts)
        triples = zip(found[::3], found[1::3], found[2::3], strict=True)
        nudges = [Nudge(part.decode(), route.decode(), int(rows)) for part, route, rows in triples]
        return Sweep(bool(router), nudges, [route.decode() for route in routes])

    def advertise(self, routes: Iterable[str]) -> None:
        """Say that a worker serves these routes, for the next `SERVED_FOR` seconds."""
        self._run("advertise", *routes)

    def served(self) -> dict[str, float]:
        """Return when (seconds since 1970) a worker last said of a route that it serves it."""
        with self._translated():
            known: dict[bytes, bytes] = self.redis.hgetall(PREFIX + "known")  # type: ignore[assignment]
        return {route.decode(): float(at) for route, at in known.items()}

    def snapshot(self) -> dict[str, Any]:
        """Return counters and debts of one instant; `workers.report` gives them their meaning."""
        report: dict[str, Any] = json.loads(self._run("snapshot"))
        return report

    def letters(self, count: int = 100) -> Iterator[dict[str, Any]]:
        """Yield the newest dead letters first, each with its `id`."""
        with self._translated():
            found: Any = self.redis.xrevrange(PREFIX + "dead", count=count)
        for name, fields in found:
            yield {"id": name.decode(), **json.loads(fields[b"letter"])}

    def check(self, *, volatile: bool = False) -> None:
        """Make sure that Redis keeps what it is given.

        Args:
            volatile: Accept a Redis that holds everything in memory only.

        Raises:
            ConfigError: It evicts (``redis.eviction``), keeps no append-only file (``redis.volatile``), could
                not write to it the last time (``redis.disk``), or is too old (``redis.version``).
        """
        with self._translated():
            info: dict[str, Any] = self.redis.info()
        place = f"the broker at {self._place()}"
        if int(str(info["redis_version"]).split(".")[0]) < 7:
            raise ConfigError(
                "redis.version", place, f"it is version {info['redis_version']}: 7.0 is the least"
            )
        if info["maxmemory_policy"] != "noeviction":
            policy = info["maxmemory_policy"]
            raise ConfigError(
                "redis.eviction",
                place,
                f"maxmemory-policy is {policy}, so it may drop points: set noeviction",
            )
        if not info["aof_enabled"] and not volatile:
            raise ConfigError(
                "redis.volatile",
                place,
                "it keeps no append-only file, so a crash loses every point it holds: set appendonly yes, "
                "or CANDLEFLEET_VOLATILE=true if you can send them again",
            )
        if info.get("aof_last_write_status", "ok") != "ok":
            raise ConfigError(
                "redis.disk", place, "it could not write its append-only file: look at its disk"
            )

    def now(self) -> float:
        """Return the time of Redis, which is the fleet's: seconds since 1970."""
        with self._translated():
            seconds, microseconds = self.redis.time()
        return float(seconds) + float(microseconds) / 1e6

    def _run(self, name: str, *arguments: Any) -> Any:
        script: Script = self._scripts[name]
        reach(f"{name}.before")
        with self._translated():
            answer = script(args=list(arguments))
        reach(f"{name}.after")
        return answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError, redis.AuthenticationError) as error:
            raise FleetUnreachableError(f"the broker at {self._place()} does not answer: {error}") from error
        except redis.OutOfMemoryError as error:
            raise FleetUnreachableError(
                f"the broker at {self._place()} is full: raise its maxmemory, or drain what it holds"
            ) from error

    def _place(self) -> str:
        known = self.redis.connection_pool.connection_kwargs
        return f"{known.get('host', known.get('path', 'localhost'))}:{known.get('port', '')}".rstrip(":")


@cache
def _sources() -> dict[str, str]:
    common = (_SCRIPTS / "common.lua").read_text()
    sources = {}
    for path in sorted(_SCRIPTS.glob("*.lua")):
        if path.stem != "common":
            flags = (
                ""
                if path.stem in _FILLING
                else " flags=" + ("no-writes" if path.stem in _READING else "allow-oom")
            )
            sources[path.stem] = f"#!lua{flags}\n{common}\n{path.read_text()}"
    return sources


def _batch(batch_id: str) -> str:
    return f"{PREFIX}batch:{batch_id}"


def _rows(batch_id: str, found: Sequence[bytes], start: int, stop: int) -> BatchRows:
    _, number, digest, selection = found
    return BatchRows(batch_id, Rows.decode(selection).slice(start, stop), int(number), digest.decode())


def _issued(batch_id: str) -> str:
    try:
        return repr(ULID.from_str(batch_id).timestamp)
    except ValueError:
        return ""
