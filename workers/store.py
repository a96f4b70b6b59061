"""Store: every Redis key and script of the fleet; each method is one step that a kill cannot cut in two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha1
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, Final, Literal

import redis
from redis.backoff import ExponentialBackoff
from redis.commands.core import Script
from redis.retry import Retry
from ulid import ULID

from router.batch import BatchRows, PointBatch
from router.decode import LIMITS
from router.errors import BatchTooLargeError, ConfigError, FleetUnreachableError
from router.rows import Rows
from workers.failpoints import reach
from workers.records import (
    Accepted,
    Buried,
    Claim,
    Entry,
    Letter,
    Note,
    Nudge,
    Replay,
    Rest,
    Revival,
    Settlement,
    Sweep,
    Verdict,
    Waiting,
    pairs,
)

PREFIX: Final = "candlefleet:"

#: Scripts that only drain run even when Redis is over its memory limit; those that fill do not.
_FILLING: Final = frozenset({"accept", "match"})
_READING: Final = frozenset({"snapshot", "holders", "ingress", "oldest", "still_owed"})
#: Scripts that do what another does and something more: they know it as a function of its name.
_EXTENDING: Final = {"ingest": "accept"}
_SCRIPTS: Final = Path(__file__).parent / "scripts"
_FUNCTIONS: Final = Path(__file__).parent / "functions"
_WAITING: Final = ("data", "points", "context", "number", "digest", "replay")

PART_ROWS: Final = 10_000  #: most rows of a part
BACKLOG_ROWS: Final = 50_000  #: most rows of a part while more than this many wait
MOST_PARTS: Final = 32  #: most parts of a flush
MOST_PIECES: Final = 2_000  #: most batches of which rows are spilled in one step
LETTERS_AT_A_TIME: Final = 500  #: dead letters read, replayed or dropped in one step
FIRST_NUDGE: Final = 5.0  #: seconds until a part's nudge is thought lost
#: Shares of Redis' memory above which nothing more is accepted, and below which it is again.
_NEARLY_FULL: Final = 0.8
_ROOM_AGAIN: Final = 0.7
SERVED_FOR: Final = 30.0  #: seconds for which a worker's word that it serves a route is good


class Store:
    """Everything the fleet keeps in Redis. Any number of processes share it; every method is safe to repeat.

    Raises, from every method:
        FleetUnreachableError: Redis does not answer, or refuses the login.
    """

    def __init__(self, client: redis.Redis, *, memory: int = 1 << 30, remember: int = 3600) -> None:
        """Take a client that returns bytes; `memory` is in bytes, `remember` the life of a batch id in s."""
        self.redis = client
        self.memory = memory
        self.high = int(memory * 0.6)
        self.low = int(memory * 0.5)
        self.remember = remember
        self._scripts = {name: client.register_script(source) for name, source in _sources().items()}

    @classmethod
    def connect(cls, url: str, *, memory: int = 1 << 30, remember: int = 3600) -> Store:
        """Return the store at a `redis://` URL; commands are repeated, which every script permits.

        Raises:
            ConfigError: ``settings``, if the URL cannot be read.
        """
        try:
            client = redis.Redis.from_url(
                url,
                socket_timeout=10,
                socket_connect_timeout=5,
                socket_keepalive=True,
                health_check_interval=30,
                retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), 3),
                retry_on_error=[redis.ConnectionError, redis.TimeoutError],
            )
        except ValueError:
            how = "cannot be read: write redis://user:password@host:port/0, and %XX for signs such as / and @"
            raise ConfigError("settings", "CANDLEFLEET_BROKER_URL", how) from None
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
        arguments = self._acceptance(batch_id, batch, len(letters), letters, context, remember, notes)
        return _accepted(self._run("accept", *arguments))

    def bury(self, batch_id: str, letter: Letter) -> Accepted:
        """Keep what came under an id as a dead letter, unless it was accepted, or buried, before."""
        answer = _accepted(self._run("accept", *self._burial(batch_id, letter)))
        if answer.verdict == "expired":
            return self.bury(f"dead-{batch_id}", letter)
        return answer

    def _burial(self, batch_id: str, letter: Letter) -> list[Any]:
        return self._acceptance(batch_id, PointBatch.of([]), 0, [letter])

    def _acceptance(
        self,
        batch_id: str,
        batch: PointBatch,
        refused: int,
        letters: Sequence[Letter],
        context: Mapping[str, Any] | None = None,
        remember: int | None = None,
        notes: Mapping[str, Mapping[str, int]] | None = None,
    ) -> list[Any]:
        data = batch.to_ipc() if len(batch) else b""
        digest = batch.digest() if len(batch) else ""
        if len(data) > self.high:
            raise BatchTooLargeError(
                f"a batch of {len(data):,} bytes is more than the {self.high:,} the fleet may hold: "
                "send smaller ones"
            )
        return [
            *(batch_id, data, len(batch), refused, digest, json.dumps(dict(context or {}), default=str)),
            *(_issued(batch_id), remember or self.remember, self.high, self.low),
            json.dumps(notes or {}),
            *pairs(letters),
        ]

    def take(
        self,
        points: int,
        lease: float,
        *,
        stay: bool = False,
        router: str = "",
        suspect_lease: float | None = None,
    ) -> list[Waiting]:
        """Return waiting batches, oldest first, up to about `points`; others pass over them for `lease` s.

        A batch that was lent three times without an answer is a suspect, and comes alone.

        Args:
            points: About how many points at most; one batch comes, however large.
            lease: Seconds until the batches are lent to another.
            stay: The router will look again soon: until then nobody needs to nudge it.
            router: A token of `workers.holder`, by which a sweep can tell that the router died.
            suspect_lease: Seconds for which a suspect is lent; None: as any other.
        """
        held = lease if suspect_lease is None else suspect_lease
        answer = self._run("take", points, lease, int(stay), router, held)
        ids, tries = [name.decode() for name in answer[::2]], map(int, answer[1::2])
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(_batch(batch_id), *_WAITING)
            found = pipe.execute()
        return [
            _waiting(batch_id, loans, fields)
            for batch_id, loans, fields in zip(ids, tries, found, strict=True)
            if fields[0] is not None
        ]

    def routers(self) -> list[str]:
        """Return the tokens of routers that batches are lent to, or were until a moment ago."""
        with self._translated():
            tokens: Any = self.redis.zrange(PREFIX + "routers", 0, -1)
        return [token.decode() for token in tokens]

    def take_back(self, router: str) -> int:
        """End the loans of a router that is dead; return how many batches others may take now."""
        return int(self._run("take_back", router))

    def match(self, verdicts: Sequence[Verdict]) -> list[bool]:
        """Turn waiting batches into debts, each by itself.

        Returns:
            For each whether it was done: not for one that was matched before, nor for one whose dead letters
            find no room; that one waits.
        """
        script = self._scripts["match"]
        reach("match.before")
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for verdict in verdicts:
                script(args=verdict.arguments(), client=pipe)
            answers = pipe.execute()
        reach("match.after")
        return [answer == b"matched" for answer in answers]

    # -- cut, claim, settle -------------------------------------------------------------------

    def cut(
        self,
        route_id: str,
        *,
        ordered: bool,
        most_parts: int = MOST_PARTS,
        destination: str = "",
        batch_size: int | None = None,
        batch_timeout: float | None = None,
        rate_limit: float | None = None,
        served_for: float | None = None,
    ) -> list[Nudge]:
        """Turn pending rows of a route into the parts of a flush, oldest first, and return them in order.

        Nothing is cut while the route has a flush open (two, if order does not matter), no worker serves it,
        its destination is paused, or its limit is used up. Flushes whose parts are settled are closed.

        Args:
            route_id: The route.
            ordered: Rows of one series must arrive in order: one part at a time.
            most_parts: Of a flush.
            destination: The name of the route's destination.
            batch_size: Rows a write: parts hold a multiple of it, and what is left stays until it is due.
            batch_timeout: Seconds after which a row is due.
            rate_limit: Points a second over the whole fleet.
            served_for: Seconds for which a worker's word that it serves the route is good.
        """
        policy = {
            "window": 1 if ordered or rate_limit else 2,
            "ordered": ordered,
            "part_rows": PART_ROWS,
            "backlog_rows": BACKLOG_ROWS,
            "most_parts": 1 if ordered else most_parts,
            "first_nudge": FIRST_NUDGE,
            "served_for": SERVED_FOR if served_for is None else served_for,
            "destination": destination,
            "batch_size": batch_size,
            "batch_timeout": batch_timeout,
            "rate": rate_limit,
        }
        given = json.dumps({name: value for name, value in policy.items() if value is not None})
        return _nudges(route_id, self._run("cut", route_id, str(ULID()), given))

    def parts(self, route_id: str) -> list[str]:
        """Return the parts of a route that are not settled, in the order of their rows."""
        with self._translated():
            flushes: Any = self.redis.smembers(f"{PREFIX}flushes:{route_id}")
            with self.redis.pipeline(transaction=False) as pipe:
                for flush in flushes:
                    pipe.smembers(f"{PREFIX}flush:{flush.decode()}")
                return sorted(part.decode() for parts in pipe.execute() for part in parts)

    def flush(self, route_ids: Iterable[str] = ()) -> dict[str, int]:
        """Let nothing accepted by now wait for its write to fill; return the pending points by route.

        Points that are not matched yet are among those that do not wait.

        Args:
            route_ids: The routes; none: every route.
        """
        answer = self._run("flush", *route_ids)
        return {route.decode(): int(rows) for route, rows in zip(answer[::2], answer[1::2], strict=True)}

    def claim(
        self, part_id: str, token: str, lease: float, destination: str = ""
    ) -> Claim | Literal["gone", "taken", "early"]:
        """Take a part for `lease` seconds, counting the attempt; or say why not.

        While its destination is paused a part is early; after that one part at a time tries it.
        """
        answer = self._run("claim", part_id, token, lease, destination)
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
        fields = ("data", "number", "digest", f"selection:{claim.route_id}", "replay")
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for batch_id in wanted:
                pipe.hmget(_batch(batch_id), *fields)
            found = dict(zip(wanted, pipe.execute(), strict=True))
        batch = PointBatch.gather(
            [
                (found[name][0], _rows(name, found[name], start, stop))
                for name, start, stop in claim.pieces
                if None not in found[name][:4]  # it was settled by another, or Redis went back in time
            ],
            claim.route_id,
        )
        replays = {name: Replay.from_json(values[4]) for name, values in found.items() if values[4]}
        return _as_they_died(batch, replays) if replays else batch

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
        self,
        claim: Claim,
        *,
        delivered: int,
        dropped: int = 0,
        letters: Sequence[Letter] = (),
        rest: Sequence[Rest] = (),
        windows: Sequence[Any] = (),
        destination: str = "",
        error: str = "",
    ) -> Settlement:
        """Say that rows of a part are not owed any more: all, or those before the `rest`.

        Args:
            claim: The part; a whole one may be settled by whoever wrote it, only its holder may split it.
            delivered: How many rows were written; none of them is in `rest`.
            dropped: How many the route's transform dropped.
            letters: Dead letters for the others.
            rest: The rows at the end of the part, in order, as the parts they become.
            windows: How the windows of the route change by the others, see `workers.series`.
            destination: Which destination took rows, and so answers; empty: none did.
            error: What keeps the rest waiting.
        """
        done = claim.rows - sum(part.rows for part in rest)
        answer = self._run(
            "settle",
            *(claim.part_id, claim.token, done, delivered, dropped, sum(letter.rows for letter in letters)),
            *(destination, str(ULID())[-6:], error, json.dumps(rest), FIRST_NUDGE),
            *(len(windows), *windows, *pairs(letters)),
        )
        verdict = answer[0].decode()
        if verdict != "settled":
            return Settlement(verdict, why=answer[1].decode() if answer[1:] else "")
        now, later = (_nudges(claim.route_id, parts) for parts in answer[2:])
        return Settlement(verdict, bool(answer[1]), now, later)

    def windows(self, route_id: str, names: Sequence[str]) -> list[list[bytes]]:
        """Return the windows of some series of a route, by name; one that was never kept is empty."""
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.lrange(f"{PREFIX}window:{route_id}:{name}", 0, -1)
            found: list[list[bytes]] = pipe.execute()
        return found

    def split(self, claim: Claim, at: int, *, silent: int = 0) -> Settlement:
        """Replace a part by two, the first of `at` rows; stale if another holds it by now.

        Each begins with `silent` unanswered claims on its record.
        """
        halves = [Rest(at, silent=silent), Rest(claim.rows - at, silent=silent)]
        return self.settle(claim, delivered=0, rest=halves)

    def nack(self, claim: Claim, *, delay: float, counted: bool, error: str, destination: str = "") -> bool:
        """Give a part back to be tried again after `delay` seconds; False if another holds it by now.

        Args:
            claim: The part.
            delay: Seconds; while the destination is paused the part waits for that.
            counted: Whether it was an attempt: the destination was there.
            error: What went wrong.
            destination: The name of the destination.
        """
        return bool(self._run("nack", claim.part_id, claim.token, delay, int(counted), error, destination))

    def pause(self, destination: str, *, asked: float | None, first: float, most: float, error: str) -> float:
        """Leave a destination alone for a while, for the whole fleet; return the seconds.

        Args:
            destination: Its name.
            asked: Seconds it asked for; None: `first`, then twice as long from failure to failure.
            first: Seconds of the first wait.
            most: Most seconds of a wait it did not ask for.
            error: What it said.
        """
        return float(self._run("pause", destination, "" if asked is None else asked, first, most, error))

    # -- doors for others ---------------------------------------------------------------------

    def open_doors(self) -> None:
        """Let anyone add to the stream by `candlefleet_add`, which keeps to the limits of this store."""
        marks: list[str | int] = ["high", self.high, "low", self.low, "size", LIMITS.bytes]
        with self._translated():
            self.redis.hset(PREFIX + "marks", items=marks)
            self.redis.function_load(_function(), replace=True)

    def knocked(self) -> bool:
        """Return whether something waits in the stream and nobody was told within the last second."""
        return bool(self._run("knock"))

    def ingress(self, entries: int = 500, size: int = 16 << 20) -> list[Entry]:
        """Return what waits in the stream, oldest first, as far as it has `size` bytes together."""
        return [
            Entry(name.decode(), list(zip(fields[::2], fields[1::2], strict=True)))
            for name, fields in self._run("ingress", entries, size)
        ]

    def ingest(
        self,
        entry: Entry,
        batch_id: str,
        batch: PointBatch,
        *,
        letters: Sequence[Letter] = (),
        notes: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Accepted:
        """Accept what an entry of the stream holds and delete the entry; `gone` if another was first."""
        arguments = self._acceptance(batch_id, batch, len(letters), letters, notes=notes)
        return _accepted(self._run("ingest", entry.name, *arguments))

    def bury_entry(self, entry: Entry, letter: Letter) -> Accepted:
        """Make an entry of the stream a dead letter; `gone` if another was first."""
        return _accepted(self._run("ingest", entry.name, *self._burial(entry.batch_id, letter)))

    def peek(self, lists: Sequence[str]) -> tuple[str, bytes] | None:
        """Return the next message of the first list that has one, and leave it there."""
        with self._translated(), self.redis.pipeline(transaction=False) as pipe:
            for name in lists:
                pipe.lindex(name, -1)
            found = pipe.execute()
        return next(((name, raw) for name, raw in zip(lists, found, strict=True) if raw is not None), None)

    def hold(self, name: str, raw: bytes, note: Note) -> bool:
        """Take a message from its list, noting in the same step that it is held; False if it is gone."""
        return self._fetch(name, raw, "hold", *note) == b"taken"

    def bury_message(self, name: str, raw: bytes, letter: Letter) -> bool:
        """Take a message from its list and make it a dead letter; False if there is no room for it yet."""
        return self._fetch(name, raw, "bury", *pairs([letter])) != b"full"

    def _fetch(self, name: str, raw: bytes, *rest: Any) -> bytes:
        answer: bytes = self._run("fetch", name, sha1(raw, usedforsecurity=False).hexdigest(), *rest)
        return answer

    # -- what keeps it going ------------------------------------------------------------------

    def sweep(self, parts: int = 200, *, ahead: float = 60.0) -> Sweep:
        """Return what waits for a nudge that seems lost.

        Args:
            parts: The most of them.
            ahead: The longest that a part is ever put off, in seconds; more means that a clock was put back.
        """
        router, found, routes = self._run("sweep", FIRST_NUDGE, parts, max(ahead, 60.0))
        triples = zip(found[::3], found[1::3], found[2::3], strict=True)
        nudges = [Nudge(part.decode(), route.decode(), int(rows)) for part, route, rows in triples]
        return Sweep(bool(router), nudges, [route.decode() for route in routes])

    def mark(self) -> None:
        """Tell the scripts how many bytes the dead letters may take: a fifth of what the fleet may fill."""
        with self._translated():
            memory: dict[str, Any] = self.redis.info("memory")
            most = min(self.memory, memory["maxmemory"] or self.memory)
            self.redis.hset(PREFIX + "marks", mapping={"letters": most // 5})

    def watch_memory(self) -> None:
        """Close the door while Redis itself is nearly full, whatever fills it, and open it again.

        The scripts count the bytes of points and letters; records, messages and others' keys are seen here.
        """
        key = PREFIX + "crowded"
        with self._translated():
            memory: dict[str, Any] = self.redis.info("memory")
            used, most = memory["used_memory"], memory["maxmemory"]
            if most and used > _NEARLY_FULL * most:
                why = f"Redis uses {used:,} of {most:,} bytes"
                self.redis.set(key, why, ex=60)
            elif not most or used < _ROOM_AGAIN * most:
                self.redis.delete(key)

    def advertise(self, routes: Iterable[str]) -> None:
        """Say that a worker serves these routes, for the next `SERVED_FOR` seconds."""
        self._run("advertise", *routes)

    def served(self) -> dict[str, float]:
        """Return when (seconds since 1970) a worker last said of a route that it serves it."""
        with self._translated():
            known: dict[bytes, bytes] = self.redis.hgetall(PREFIX + "known")  # type: ignore[assignment]
        return {route.decode(): float(at) for route, at in known.items()}

    def owing(self) -> set[str]:
        """Return the routes that owe points or ever did."""
        with self._translated():
            found: set[bytes] = self.redis.smembers(PREFIX + "owing")  # type: ignore[assignment]
        return {route.decode() for route in found}

    def owed(self, route_ids: Iterable[str] | None = None) -> dict[str, int]:
        """Return how many points some routes owe, by their counters; None: every route that ever owed any."""
        routes = sorted(self.owing() if route_ids is None else route_ids)
        with self._translated(), self.redis.pipeline(transaction=True) as pipe:
            for route_id in routes:
                pipe.hmget(f"{PREFIX}route:{route_id}", "pending", "parted")
            found = pipe.execute()
        return {name: sum(int(n or 0) for n in counts) for name, counts in zip(routes, found, strict=True)}

    def still_owed(self, route_id: str, batch_ids: Sequence[str]) -> set[str]:
        """Return those of some batches that a destination must not forget for a route.

        Rows of them wait, are owed by any route, lie in dead letters of this one, or are on their way again.
        Of a route that never owed a point here nothing is known: all are.
        """
        return {batch_id.decode() for batch_id in self._run("still_owed", route_id, *batch_ids)}

    def begin_pruning(self, destination: str, seconds: float) -> bool:
        """Return whether a destination may be pruned; of those who ask within so many seconds, one may."""
        with self._translated():
            return bool(self.redis.set(_pruned(destination), 1, ex=ceil(seconds), nx=True))

    def go_on_pruning(self, destination: str, seconds: float) -> None:
        """Let a destination be pruned again in so many seconds."""
        with self._translated():
            self.redis.set(_pruned(destination), 1, ex=ceil(seconds))

    def full(self) -> set[str]:
        """Return the routes that owe more than their `max_owed`, for which senders wait."""
        with self._translated():
            routes: Any = self.redis.smembers(PREFIX + "full")
        return {route.decode() for route in routes}

    def forgive(self, route_id: str) -> bool:
        """Let senders wait no longer for a route that no worker serves; False if one does, or none wait."""
        return bool(self._run("forgive", route_id, SERVED_FOR))

    def snapshot(self) -> dict[str, Any]:
        """Return counters and debts of one instant; `workers.report` gives them their meaning."""
        report: dict[str, Any] = json.loads(self._run("snapshot"))
        return report

    # -- dead letters -------------------------------------------------------------------------

    def letters(self, count: int = 100) -> Iterator[dict[str, Any]]:
        """Yield the newest dead letters first, each with its `id`."""
        for letter in islice(self.buried(newest_first=True), count):
            yield {"id": letter.letter_id, **letter.kept}

    def buried(self, first: str = "-", last: str = "+", *, newest_first: bool = False) -> Iterator[Buried]:
        """Yield the dead letters from one id to another, both included, some at a time."""
        read = self.redis.xrevrange if newest_first else self.redis.xrange
        start, stop = (last, first) if newest_first else (first, last)
        while True:
            with self._translated():
                found: Any = read(PREFIX + "dead", start, stop, LETTERS_AT_A_TIME)
            for name, fields in found:
                yield Buried(name.decode(), json.loads(fields[b"letter"]), len(fields[b"letter"]))
            if len(found) < LETTERS_AT_A_TIME:
                return
            start = "(" + found[-1][0].decode()

    def replay(self, revival: Revival) -> list[str]:
        """Let the points of dead letters wait for routing, and remove the letters, in one step.

        Returns:
            The ids of letters that are no longer there; if there are any, nothing was done.
        """
        batch, replay = revival.batch, revival.replay
        answer = self._run(
            "replay",
            *(revival.batch_id, batch.to_ipc(), len(batch), len(revival.refused), batch.digest()),
            "" if replay is None else replay.to_json(),
            "matched" if replay is None or replay.asks else "replayed",
            *(json.dumps(dict(revival.notes)), self.remember, len(revival.letter_ids), *revival.letter_ids),
            *pairs(revival.refused),
        )
        return [letter_id.decode() for letter_id in answer[1:]]

    def oldest(self, route_id: str, rows: int) -> Claim:
        """Return the oldest pending rows of a route, to be looked at with `load`: nobody holds them."""
        pieces = json.loads(self._run("oldest", route_id, rows, MOST_PIECES))
        total = sum(stop - start for _, start, stop in pieces)
        return Claim(
            "", "", route_id, total, [(name, start, stop) for name, start, stop in pieces], 0, 0, 0.0
        )

    def spill(self, rows: Claim, file: str, letters: Sequence[Letter]) -> tuple[str, str]:
        """Let rows be dead that are in a file.

        Returns:
            ``spilled``; ``stale`` if somebody cut or spilled some of them meanwhile; or ``full`` and why.
        """
        answer = self._run("spill", rows.route_id, file, json.dumps(rows.pieces), *pairs(letters))
        return answer[0].decode(), answer[1].decode() if answer[1:] else ""

    def spilled(self) -> set[str]:
        """Return the files in which there are rows of dead letters."""
        with self._translated():
            files: Any = self.redis.smembers(PREFIX + "spilled")
        return {file.decode() for file in files}

    def drop(self, letter_ids: Sequence[str]) -> list[str]:
        """Remove dead letters for good; return the ids of those that were there."""
        return [letter_id.decode() for letter_id in self._run("drop", *letter_ids)]

    # -- whether it can be relied on ----------------------------------------------------------

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
            shared = _EXTENDING.get(path.stem)
            extended = "" if shared is None else _as_function(shared)
            sources[path.stem] = f"#!lua{flags}\n{common}\n{extended}\n{path.read_text()}"
    return sources


def _as_function(script: str) -> str:
    return f"local function {script}()\n{(_SCRIPTS / f'{script}.lua').read_text()}\nend"


def _function() -> str:
    common = (_SCRIPTS / "common.lua").read_text()
    return f"#!lua name=candlefleet\n{common}\n{(_FUNCTIONS / 'candlefleet.lua').read_text()}"


def _accepted(answer: Sequence[Any]) -> Accepted:
    return Accepted(answer[0].decode(), answer[1].decode(), bool(answer[2]))


def _batch(batch_id: str) -> str:
    return f"{PREFIX}batch:{batch_id}"


def _pruned(destination: str) -> str:
    return f"{PREFIX}pruned:{destination}"


def _rows(batch_id: str, found: Sequence[bytes], start: int, stop: int) -> BatchRows:
    _, number, digest, selection, _ = found
    return BatchRows(batch_id, Rows.decode(selection).slice(start, stop), int(number), digest.decode())


def _waiting(batch_id: str, tries: int, fields: Sequence[bytes]) -> Waiting:
    data, points, context, number, digest, replay = fields
    return Waiting(
        batch_id,
        data,
        int(points),
        json.loads(context),
        tries,
        int(number),
        digest.decode(),
        Replay.from_json(replay) if replay else None,
    )


# Rows of a replay keep the names they had when they died: by these a destination knows them again.
def _as_they_died(batch: PointBatch, replays: Mapping[str, Replay]) -> PointBatch:
    parts: list[BatchRows] = []
    for part in batch.parts:
        replay = replays.get(part.batch_id)
        parts += [part] if replay is None else replay.named(part.rows)
    return PointBatch(batch.table, parts, batch.route_id)


def _nudges(route_id: str, answer: Sequence[bytes]) -> list[Nudge]:
    return [
        Nudge(part.decode(), route_id, int(rows))
        for part, rows in zip(answer[::2], answer[1::2], strict=True)
    ]


def _issued(batch_id: str) -> str:
    try:
        return repr(ULID.from_str(batch_id).timestamp)
    except ValueError:
        return ""
