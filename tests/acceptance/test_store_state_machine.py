"""The store on a real Redis, driven by actors that may be killed between any two steps.

Every actor is a generator; each call of the store and each write to a destination is one step of it. The
machine chooses who moves, who dies, which messages are lost, doubled or invented, which answers of Redis
are lost, and when time passes, and in the end compares what the destinations hold with what was accepted.
The variants at the end break one rule each, and the same machine must notice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest
import redis
from ulid import ULID

import workers.store
from destinations.base import DataDestination
from router.batch import PointBatch
from router.errors import TerminalError
from router.rows import Rows
from tests.acceptance.one_process import named, naming
from tests.make import START, make_point
from workers.records import Claim, Debt, Letter, Nudge, Rest, Verdict, Waiting
from workers.report import report
from workers.store import PREFIX, Store

LEASE: Final = 10.0
NOON: Final = 1_750_000_000  # where the clock starts, seconds since 1970
TURNS: Final = 250  # of a schedule
MOST_ROUNDS: Final = 40  # of the last drain; each passes a minute

Actor = Generator[None, None, None]
Mood = str


# -- what is sent, and what each route makes of it ------------------------------------------------


class Kept(PointBatch):
    """A batch that is encoded once, however often it is sent."""

    def to_ipc(self) -> bytes:
        return _encoded(self.code)

    def digest(self) -> str:
        return _fingerprint(self.code)

    @property
    def code(self) -> int:
        return _codes(self)[0] // 100


CONTENTS: Final = (1, 2, 3, 5, 8, 13, 1, 21)  # points in each of the batches that are sent again and again


@cache
def make_content(number: int) -> Kept:
    """Return points whose volume tells them apart, of series that every batch shares."""
    codes = [100 * number + row for row in range(CONTENTS[number])]
    symbols = ("BTC/USDT", "ETH/USDT", "XRP/USDT")
    points = [
        make_point(
            volume=float(code),
            symbol=symbols[(number + code) % 3],
            timestamp=START + timedelta(minutes=code),
        )
        for code in codes
    ]
    return Kept(PointBatch.of(points).table)


@cache
def _encoded(number: int) -> bytes:
    return PointBatch.to_ipc(make_content(number))


@cache
def _fingerprint(number: int) -> str:
    return PointBatch.digest(make_content(number))


def _codes(batch: PointBatch) -> list[int]:
    return [int(volume) for volume in batch.table["volume"].to_pylist()]


@cache
def _codes_of(data: bytes) -> list[int]:
    return _codes(PointBatch.from_ipc(data))


def every_row(code: int) -> bool:
    return True


def is_odd(code: int) -> bool:
    return code % 2 == 1


def is_readable(code: int) -> bool:
    return code % 5 != 4


def is_refused(code: int) -> bool:
    return code % 7 == 3


def is_dropped(code: int) -> bool:
    return code % 7 == 5


class Rule(NamedTuple):
    """A route with a destination of its own; rows that are not readable fail its condition."""

    route_id: str
    takes: Callable[[int], bool]
    ordered: bool = False
    fails: bool = False
    max_owed: int | None = None
    batch_size: int | None = None
    rate_limit: float | None = None


RULES: Final = MappingProxyType(
    {
        rule.route_id: rule
        for rule in (
            Rule("log", every_row, ordered=True),
            Rule("odd", is_odd, max_owed=25),
            Rule("fussy", is_readable, fails=True),
            Rule("pairs", every_row, ordered=True, batch_size=2),
            Rule("slow", is_odd, rate_limit=3.0),
        )
    }
)


class Written(NamedTuple):
    """One row in the destination."""

    route_id: str
    batch_id: str
    row: int
    number: int
    code: int
    symbol: str


class Shelf(DataDestination):
    """Remembers which rows of which batch it holds for which route, like a file with a ledger."""

    def __init__(self, *, ledger: str = "rows") -> None:
        super().__init__()
        self.rows: list[Written] = []
        self.part_id = ""  # only the ledger that forgets about rows looks at it
        self._ledger = ledger
        self._seen: set[tuple[str, ...]] = set()

    def write_batch(self, batch: PointBatch) -> None:
        route_id = batch.route_id or ""
        fails = RULES[route_id].fails
        names = [
            (part.batch_id, int(row), part.number) for part in batch.parts for row in part.rows.positions
        ]
        refused = []
        for position, (name, code, symbol) in enumerate(
            zip(names, _codes(batch), batch.table["symbol"].to_pylist(), strict=True)
        ):
            if fails and is_refused(code):
                refused.append(position)
            elif not self._known(route_id, name):
                self.rows.append(Written(route_id, *name, code, symbol))
        self._seen |= {key for name in names for key in self._keys(route_id, name)}
        if refused:
            raise TerminalError("not to my taste", refused)

    def _known(self, route_id: str, name: tuple[str, int, int]) -> bool:
        return any(key in self._seen for key in self._keys(route_id, name))

    def _keys(self, route_id: str, name: tuple[str, int, int]) -> list[tuple[str, ...]]:
        return {"rows": [(route_id, name[0], str(name[1]))], "parts": [(route_id, self.part_id)], "none": []}[
            self._ledger
        ]


# -- the world ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """What is broken: texts of scripts, the destination's ledger, or the order of write and settle."""

    name: str
    scripts: tuple[tuple[str, str, str], ...] = ()  # script, text, what stands there instead
    ledger: str = "rows"
    settles_first: bool = False
    sound: bool = False
    set_back: bool = False  # only a Redis set back in time shows it
    first_seed: int = 0  # of the schedules tried; none before it shows it

    def sources(self) -> dict[str, str]:
        """Return every script, broken, and with no other time than that of `World.pass_time`."""
        sources = dict(workers.store._sources())
        clocks = [(name, "redis.call('TIME')", "{redis.call('GET', 'clock'), '0'}") for name in sources]
        for script, text, instead in (*self.scripts, *clocks, *_TIMES_TO_LIVE):
            assert text in sources[script], f"{script}.lua no longer says: {text}"
            sources[script] = sources[script].replace(text, instead)
        return sources


#: A thousand times as long, so that the seconds a test takes do not count.
_TIMES_TO_LIVE: Final = (
    ("accept", "remember + ahead)", "1000 * (remember + ahead))"),
    ("settle", "'EXPIRE', slot, 30", "'EXPIRE', slot, 30000"),
)


SOUND: Final = Variant("sound", sound=True)
SOUND_SET_BACK: Final = Variant("sound, Redis set back", sound=True, set_back=True)


class LossyRedis(redis.Redis):
    """A client that sometimes does not hear an answer, and runs the script again as redis-py does."""

    deaf = False

    def evalsha(self, *arguments: Any) -> Any:
        if self.deaf:
            super().evalsha(*arguments)
        return super().evalsha(*arguments)


class CountedULID(ULID):
    """A ULID without chance, so that a schedule runs the same way each time."""

    count = 0
    clock = NOON

    def __init__(self, value: bytes | None = None) -> None:
        super().__init__(value or self._next())

    @classmethod
    def _next(cls) -> bytes:
        cls.count += 1
        return (cls.clock * 1000).to_bytes(6, "big") + cls.count.to_bytes(10, "big")

    @classmethod
    def ahead(cls, seconds: int) -> str:
        """Return an id made by a process whose clock is ahead."""
        return str(cls(((cls.clock + seconds) * 1000).to_bytes(6, "big") + cls._next()[6:]))


class World:
    """A fleet of generators around one Redis, and the memory of what was accepted."""

    def __init__(self, client: LossyRedis, variant: Variant) -> None:
        self.store = make_store(client, variant)
        self.client = client
        self.variant = variant
        self.shelf = Shelf(ledger=variant.ledger)
        self.sent: dict[str, int] = {}  # batch id -> which content
        self.accepted: dict[str, int] = {}  # batch id -> acceptance number
        self.forgotten: dict[str, int] = {}  # accepted, and lost when Redis was set back
        self.actors: list[Actor] = []
        self.messages: list[str] = []
        self.parts: list[str] = []  # every part there ever was
        self._dump: tuple[dict[bytes, tuple[bytes, int]], dict[str, int]] | None = None
        client.flushdb()
        CountedULID.count, CountedULID.clock = 0, NOON
        self._set_clock()
        self.store.advertise(RULES)

    # -- time, and what Redis holds ---------------------------------------------------------------

    def pass_time(self, seconds: int) -> None:
        CountedULID.clock += seconds
        self._set_clock()
        keys = self.client.keys(PREFIX + "*")
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.ttl(key)
            for key, left in zip(keys, pipe.execute(), strict=True):
                if left >= 0:
                    pipe.expire(key, max(0, left - 1000 * seconds))
            pipe.execute()

    def _set_clock(self) -> None:
        self.client.set("clock", CountedULID.clock)

    def dump(self) -> None:
        """Remember everything Redis holds, as its append-only file on the disk would."""
        keys = self.client.keys(PREFIX + "*")
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.dump(key).pttl(key)
            found = pipe.execute()
        values = dict(zip(keys, zip(found[::2], found[1::2], strict=True), strict=True))
        self._dump = (values, dict(self.accepted))

    def restore(self) -> None:
        """Set Redis back to the last dump; the destination stays, and so do the actors and their messages."""
        if self._dump is None:
            return
        values, accepted = self._dump
        with self.client.pipeline(transaction=False) as pipe:
            for key in self.client.keys(PREFIX + "*"):
                pipe.delete(key)
            for key, (value, left) in values.items():
                pipe.restore(key, max(0, left), value)
            pipe.execute()
        self.forgotten |= self.accepted
        self.accepted = dict(accepted)

    # -- actors -----------------------------------------------------------------------------------

    def send(self, content: int, ahead: int) -> None:
        batch_id = CountedULID.ahead(ahead)
        self.sent[batch_id] = content
        self.repeat(batch_id)

    def repeat(self, batch_id: str) -> None:
        """Send a batch under the id it had; a producer that did not hear the answer does so."""
        content = self.sent[batch_id]
        invalid = (
            [Letter("", {"row": content}, [{"code": "test"}], batch_id=batch_id)] if content == 6 else []
        )
        answer = self.store.accept(batch_id, make_content(content), letters=invalid)
        if answer.verdict == "accepted":
            self.accepted[batch_id] = int(answer.detail)

    def route(self, points: int) -> Actor:
        waiting = self.store.take(points, LEASE)
        yield
        for one in waiting:
            verdict = judge(one)
            for _ in range(1 + self.client.deaf):
                self.store.match([verdict])
            yield
        yield from self.cut(RULES)

    def cut(self, route_ids: Sequence[str]) -> Actor:
        for route_id in route_ids:
            rule = RULES[route_id]
            nudges = self.store.cut(
                route_id,
                ordered=rule.ordered,
                most_parts=2,
                destination=route_id,
                batch_size=rule.batch_size,
                batch_timeout=20.0 if rule.batch_size else None,
                rate_limit=rule.rate_limit,
            )
            assert rule.rate_limit is None or sum(nudge.rows for nudge in nudges) <= rule.rate_limit
            yield
            self.nudge(nudges)

    def nudge(self, nudges: Sequence[Nudge]) -> None:
        self.messages += [nudge.part_id for nudge in nudges]
        self.parts += [nudge.part_id for nudge in nudges if nudge.part_id not in self.parts]

    def deliver(self, part_id: str, mood: Mood) -> Actor:
        route_id = self.client.hget(f"{PREFIX}part:{part_id}", "route") or b""
        claim = self.store.claim(part_id, str(CountedULID()), LEASE, route_id.decode())
        yield
        if not isinstance(claim, Claim):
            return
        if mood == "split" and claim.rows > 1:
            halves = self.store.split(claim, claim.rows // 2)
            yield
            self.nudge(halves.nudges)
            return
        batch = self.store.load(claim)
        yield
        if mood == "unavailable":
            self.store.pause(claim.route_id, asked=None, first=1.0, most=10.0, error="away")
            yield
        if mood in ("nack", "unavailable"):
            counted = mood == "nack"
            self.store.nack(claim, delay=2.0, counted=counted, error="later", destination=claim.route_id)
            return
        if mood == "stops" and claim.rows > 1 and len(batch) == claim.rows:
            yield from self._stop(claim, batch)
            return
        if mood == "renew":
            self.store.renew(claim, LEASE)
            yield
        steps = [self._write(claim, batch), self._settle(claim, batch)]
        for step in reversed(steps) if self.variant.settles_first else steps:
            yield from step

    # A write in the middle of the part fails: what is before it is settled, the rest is tried again.
    def _stop(self, claim: Claim, batch: PointBatch) -> Actor:
        done = claim.rows // 2
        first = batch.slice(0, done)
        yield from self._write(claim, first)
        yield from self._settle(claim, first, [Rest(claim.rows - done, attempts=1, wait=2.0)])

    def _write(self, claim: Claim, batch: PointBatch) -> Actor:
        self.shelf.part_id = claim.part_id
        kept = batch.filter([not self._drops(claim, code) for code in _codes(batch)]) if len(batch) else batch
        with suppress(TerminalError):  # `_settle` finds the same rows
            self.shelf.write_batch(kept.for_route(claim.route_id))
        yield

    def _drops(self, claim: Claim, code: int) -> bool:
        return RULES[claim.route_id].fails and is_dropped(code)

    def _settle(self, claim: Claim, batch: PointBatch, rest: Sequence[Rest] = ()) -> Actor:
        fails = RULES[claim.route_id].fails
        names = [(part.batch_id, int(row)) for part in batch.parts for row in part.rows.positions]
        letters = [
            Letter(claim.route_id, code, [{"code": "refused"}], batch_id=batch_id, row=row)
            for (batch_id, row), code in zip(names, _codes(batch), strict=True)
            if fails and is_refused(code)
        ]
        if not rest:
            letters += [Letter(claim.route_id, None, [{"code": "missing"}])] * (claim.rows - len(batch))
        dropped = sum(self._drops(claim, code) for code in _codes(batch))
        done = claim.rows - sum(part.rows for part in rest)
        found = self.store.settle(
            claim,
            delivered=done - dropped - len(letters),
            dropped=dropped,
            letters=letters,
            rest=rest,
            destination=claim.route_id,
        )
        yield
        self.nudge(found.nudges)
        if found.complete:
            yield from self.cut([claim.route_id])

    def sweep(self) -> Actor:
        self.store.advertise(RULES)
        found = self.store.sweep()
        yield
        self.nudge(found.parts)
        if found.router:
            self.actors.append(self.route(1000))
        yield from self.cut(sorted(found.routes))

    def advance(self, actor: Actor, *, deaf: bool = False) -> None:
        """Let an actor take one step; if deaf, every script in it runs twice and its first answer is lost."""
        self.client.deaf = deaf
        try:
            next(actor)
        except StopIteration:
            self.actors.remove(actor)
        except redis.ResponseError as error:
            raise AssertionError(f"a script failed: {error}") from error
        finally:
            self.client.deaf = False

    # -- the end ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Let sweeps find everything that lost its nudge, while actors of before go on, a step a round."""
        for batch_id in sorted(self.forgotten.keys() - self.accepted.keys()):
            self.repeat(batch_id)
        for _ in range(MOST_ROUNDS):
            self.pass_time(61)
            for actor in list(self.actors):
                self.advance(actor)
            self._finish(self.sweep())
            while self.messages:
                self._finish(self.deliver(self.messages.pop(0), "write"))
            if not self.actors and report(self.store).at_rest:
                return
        raise AssertionError(f"not at rest after {MOST_ROUNDS} rounds: {report(self.store)}")

    def _finish(self, actor: Actor) -> None:
        self.actors.append(actor)
        while actor in self.actors:
            self.advance(actor)

    def check(self) -> None:
        """Compare what is in the destination and the dead letters with what was accepted."""
        letters = Counter(
            (letter["route_id"], letter["batch_id"], letter["row"])
            for letter in self.store.letters(1_000_000)
        )
        rows = Counter((row.route_id, row.batch_id, row.row) for row in self.shelf.rows)
        found = rows + Counter({name: n for name, n in letters.items() if name[0]})
        assert {name for name, n in found.items() if n > 1} == set(), "delivered or buried more than once"
        assert owed_by(self.sent, self.accepted) - found.keys() == set(), "lost"
        assert found.keys() - owed_by(self.sent, self.accepted | self.forgotten) == set(), (
            "not accepted, yet there"
        )
        for row in self.shelf.rows:
            assert row.code == 100 * self.sent[row.batch_id] + row.row, "another point under this name"
        end = report(self.store)
        assert end.broken == []
        assert end.bytes == sum(len(data) for data in self._letters())
        assert named(self.store) == naming(self.store)
        assert self._left_over() == set()
        if self._dump is None:
            self._check_without_memory_loss(letters, end.accepted)

    def _check_without_memory_loss(self, letters: Counter[tuple[str, str, int]], accepted: int) -> None:
        invalid = {batch_id for batch_id in self.accepted if self.sent[batch_id] == 6}
        assert accepted == sum(CONTENTS[self.sent[batch_id]] for batch_id in self.accepted) + len(invalid)
        assert Counter(name for name in letters.elements() if not name[0]) == Counter(
            ("", batch_id, -1) for batch_id in invalid
        )
        for route_id, symbol in {(row.route_id, row.symbol) for row in self.shelf.rows}:
            if not RULES[route_id].ordered:
                continue
            series = [
                (row.number, row.row)
                for row in self.shelf.rows
                if row.route_id == route_id and row.symbol == symbol
            ]
            assert series == sorted(series), f"{symbol} of {route_id} is not in order of acceptance"
        assert {row.batch_id: row.number for row in self.shelf.rows}.items() <= self.accepted.items()

    def _letters(self) -> Iterator[bytes]:
        for _, fields in self.client.xrange(PREFIX + "dead"):
            yield fields[b"letter"]

    def _left_over(self) -> set[str]:
        keys = {key.decode().removeprefix(PREFIX) for key in self.client.keys(PREFIX + "*")}
        kept = {"totals", "number", "known", "owing", "dead", "nudged", "reasons"}
        return {
            key
            for key in keys - kept
            if key.split(":")[0] not in ("route", "rate", "recent", "accepted", "paused", "parked", "named")
        }


def make_store(client: LossyRedis, variant: Variant) -> Store:
    """Return a store that runs the scripts of a variant."""
    with pytest.MonkeyPatch.context() as patch:
        sources = variant.sources()
        patch.setattr(workers.store, "_sources", lambda: sources)
        return Store(client)


def judge(waiting: Waiting) -> Verdict:
    """Match one batch against the rules."""
    codes = _codes_of(waiting.data)
    debts = [
        Debt(route_id, Rows.of_mask([rule.takes(code) for code in codes]), rule.max_owed)
        for route_id, rule in RULES.items()
    ]
    failed = [
        Letter("fussy", code, [{"code": "condition"}], batch_id=waiting.batch_id, row=row)
        for row, code in enumerate(codes)
        if not is_readable(code)
    ]
    return Verdict(waiting.batch_id, [debt for debt in debts if len(debt.rows)], len(codes), 0, 0, failed)


def owed_by(sent: dict[str, int], accepted: dict[str, int]) -> set[tuple[str, str, int]]:
    """Return every row that must be in a destination or among the dead letters, once."""
    return {
        (route_id, batch_id, row)
        for batch_id in accepted
        for route_id, one in RULES.items()
        for row, code in enumerate(_codes(make_content(sent[batch_id])))
        if not (one.takes(code) and one.fails and is_dropped(code)) and (one.takes(code) or one.fails)
    }


# -- the machine ----------------------------------------------------------------------------------


def producer_sends(world: World, pick: int) -> None:
    world.send(pick % len(CONTENTS), ahead=600 if pick % 5 == 0 else 0)


def producer_repeats(world: World, pick: int) -> None:
    if world.sent:
        world.repeat(_choose(list(world.sent), pick))


def router_starts(world: World, pick: int) -> None:
    world.actors.append(world.route(_choose((4, 30, 1000), pick)))


def sweeper_starts(world: World, pick: int) -> None:
    world.actors.append(world.sweep())


def message_arrives(world: World, pick: int) -> None:
    if world.messages:
        part_id = world.messages.pop(pick % len(world.messages))
        world.actors.append(world.deliver(part_id, _choose(_MOODS, pick // 7)))


def message_is_doubled(world: World, pick: int) -> None:
    if world.messages:
        world.messages.append(_choose(world.messages, pick))


def message_is_lost(world: World, pick: int) -> None:
    if world.messages:
        world.messages.pop(pick % len(world.messages))


def message_is_invented(world: World, pick: int) -> None:
    world.messages.append(_choose([*world.parts, "no-such-part"], pick))


def actor_moves(world: World, pick: int) -> None:
    _move(world, pick)


def actor_moves_and_answers_are_lost(world: World, pick: int) -> None:
    _move(world, pick, deaf=True)


def actor_is_killed(world: World, pick: int) -> None:
    if world.actors:
        world.actors.remove(_choose(world.actors, pick))


def holder_is_thought_dead(world: World, pick: int) -> None:
    held = sorted(world.store.holders().items())
    if held:
        world.store.release(*_choose(held, pick))


def time_passes(world: World, pick: int) -> None:
    world.pass_time(_choose((1, 3, 6, 12, 12, 40, 3700, -30, -3700), pick))


def redis_writes_to_disk(world: World, pick: int) -> None:
    world.dump()


def power_fails(world: World, pick: int) -> None:
    world.restore()


def _move(world: World, pick: int, *, deaf: bool = False) -> None:
    if world.actors:
        actor = _choose(world.actors, pick)
        for _ in range(1 + pick // 64 % 8):
            if actor in world.actors:
                world.advance(actor, deaf=deaf)


def _choose(among: Sequence[Any], pick: int) -> Any:
    return among[pick % len(among)]


_MOODS: Final = (
    *("write", "write", "write", "write", "write", "write", "write"),
    *("renew", "nack", "unavailable", "split", "split", "stops", "stops", "stops"),
)

#: Each as often as it stands here.
MOVES: Final = (
    *[producer_sends] * 3,
    producer_repeats,
    *[router_starts] * 3,
    *[sweeper_starts] * 2,
    *[message_arrives] * 7,
    message_is_doubled,
    message_is_lost,
    message_is_invented,
    *[actor_moves] * 12,
    *[actor_moves_and_answers_are_lost] * 4,
    *[actor_is_killed] * 3,
    holder_is_thought_dead,
    *[time_passes] * 2,
)
MOVES_OF_TIME: Final = (*MOVES, redis_writes_to_disk, power_fails)


class Turn(NamedTuple):
    """What happens next; `pick` chooses among whatever there is, so a schedule can be shortened."""

    move: Callable[[World, int], None]
    pick: int

    def __str__(self) -> str:
        return f"    {self.move.__name__}(world, {self.pick})"


# Plain chance: hypothesis' stateful machine grew near copies of schedules in which nothing was delivered.
def make_schedule(seed: int, moves: Sequence[Callable[[World, int], None]]) -> list[Turn]:
    chance = random.Random(seed)
    return [Turn(chance.choice(moves), chance.randrange(2**16)) for _ in range(TURNS)]


def play(world: World, schedule: Sequence[Turn]) -> World:
    """Run a schedule and then let the fleet come to rest; an AssertionError says what went wrong."""
    for turn in schedule:
        turn.move(world, turn.pick)
    world.drain()
    world.check()
    return world


def shortened(
    schedule: Sequence[Turn], fails: Callable[[Sequence[Turn]], bool], most: int = 150
) -> list[Turn]:
    """Leave out turns, many at once and then fewer, as long as the rest still fails."""
    shortest, size = list(schedule), len(schedule) // 2
    while size and most:
        start = 0
        while start < len(shortest) and most:
            candidate = shortest[:start] + shortest[start + size :]
            most -= 1
            if fails(candidate):
                shortest = candidate
            else:
                start += size
        size //= 2
    return shortest


def run(client: LossyRedis, variant: Variant, seeds: range) -> None:
    """Play one schedule for each seed.

    Raises:
        AssertionError: At the first that fails, with the schedule.
    """
    for seed in seeds:
        schedule = make_schedule(seed, MOVES_OF_TIME if variant.set_back else MOVES)
        failure = failure_of(client, variant, schedule)
        if failure is None:
            continue
        if variant.sound:
            schedule = shortened(schedule, lambda turns: failure_of(client, variant, turns) is not None)
            failure = failure_of(client, variant, schedule)
        raise AssertionError(f"{variant.name}, seed {seed}: {failure}\n" + "\n".join(map(str, schedule)))


def failure_of(client: LossyRedis, variant: Variant, schedule: Sequence[Turn]) -> AssertionError | None:
    """Return what goes wrong in a schedule, None if nothing does."""
    try:
        play(World(client, variant), schedule)
    except AssertionError as error:
        return error
    return None


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts and windows small enough for batches of a few points, and ids those of the world."""
    monkeypatch.setattr(workers.store, "PART_ROWS", 4)
    monkeypatch.setattr(workers.store, "BACKLOG_ROWS", 6)
    monkeypatch.setattr(workers.store, "ULID", CountedULID)
    monkeypatch.setattr(PointBatch, "from_ipc", cache(PointBatch.from_ipc))


@pytest.fixture
def client(redis_url: str) -> Iterator[LossyRedis]:
    with closing(LossyRedis.from_url(redis_url)) as connected:
        yield connected


SEEDS: Final = range(12)

#: Each breaks one rule of the steps.
BROKEN: Final = (
    Variant(
        "a batch id is not remembered",
        scripts=(("accept", "if seen then return {'again', seen, 0} end", ""),),
    ),
    Variant(
        "an id from a fast clock is forgotten while it still looks young",
        scripts=(("accept", "math.ceil((issued or 0) - now())", "0"),),
        first_seed=42,
    ),
    Variant(
        "a batch may be matched twice",
        scripts=(("match", "if redis.call('ZREM', UNROUTED, id) == 0 then return 'again' end", ""),),
    ),
    Variant(
        "rows are cut that may not come first",
        scripts=(("cut", "if first[2] then below", "if false then below"),),
    ),
    Variant("the window is not closed", scripts=(("cut", ">= policy.window", ">= 1000"),)),
    Variant("a cut does not know that it is repeated", scripts=(("cut", "#made > 0", "false"),)),
    Variant(
        "the halves of an ordered part go as they like",
        scripts=(("claim", "if f[10] == '1' and", "if false and"),),
    ),
    Variant(
        "a lease that runs out is not noticed",
        scripts=(("claim", "redis.call('ZADD', PARTS, t + lease, part)", "redis.call('ZREM', PARTS, part)"),),
    ),
    Variant(
        "halves do not keep their flush open",
        scripts=(("settle", "redis.call('SADD', P .. 'flush:' .. flush, id)", ""),),
    ),
    Variant(
        "the first part that is settled frees the batch",
        scripts=(("settle", "piece[2] - piece[3]) <= 0", "piece[2] - piece[3]) < 1000"),),
    ),
    Variant(
        "a route that owed too much keeps the door closed",
        scripts=(("settle", "weigh(route)\nreturn {", "return {"),),
    ),
    Variant(
        "a part that stopped in the middle is settled whole",
        scripts=(("settle", "for _, other in ipairs(others) do", "for _, other in ipairs({}) do"),),
    ),
    Variant(
        "a pause set by a clock that was put back goes on",
        scripts=(("claim", "come(tonumber(f[1]), t, tonumber(f[2]))", "tonumber(f[1]) <= t"),),
    ),
    Variant(
        "parts put off by a clock that was put back are not seen",
        scripts=(("sweep", "'(' .. t + ahead + 1, '+inf'", "'+inf', '+inf'"),),
    ),
    Variant(
        "a limit waits for a clock that was put back",
        scripts=(("cut", "since <= t and t - since or 1", "math.max(0, t - since)"),),
    ),
    Variant(
        "a batch is accepted anew when its tombstone is gone",
        scripts=(("accept", "or redis.call('HGET', P .. 'batch:' .. id, 'number')", ""),),
    ),
    Variant("a part is settled before it is written", settles_first=True),
    Variant("the destination keeps no ledger", ledger="none"),
    Variant("the ledger remembers parts instead of rows", ledger="parts", set_back=True),
)


def test_no_schedule_of_crashes_loses_doubles_or_reorders_a_point(client: LossyRedis) -> None:
    run(client, SOUND, SEEDS)


def test_a_redis_set_back_in_time_loses_nothing_it_had_on_disk_and_doubles_nothing(
    client: LossyRedis,
) -> None:
    run(client, SOUND_SET_BACK, SEEDS)


@pytest.mark.parametrize("variant", BROKEN, ids=lambda variant: variant.name.replace(" ", "_"))
def test_a_broken_rule_is_noticed(client: LossyRedis, variant: Variant) -> None:
    with pytest.raises(AssertionError, match=f"{variant.name}, seed"):
        run(client, variant, range(variant.first_seed, variant.first_seed + 60))
