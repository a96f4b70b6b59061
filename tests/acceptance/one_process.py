"""A fleet of one process on a real Redis, for tests of single steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ulid import ULID

from router.batch import PointBatch
from router.route import Route
from router.table import RouteTable
from workers.dead_letters import Filters, Letters
from workers.journey import Journey, Post
from workers.records import Claim, Nudge, Replay
from workers.replay import Replayed, Replayer
from workers.store import PREFIX, Store


class Silent(Post):
    """Sends no messages: `work` does what they would have."""

    def router(self) -> None:
        """Keep silent."""

    def parts(self, nudges: Sequence[Nudge], *, whole_flush: bool = False) -> None:
        """Keep silent."""


def make_fleet(store: Store, folder: Path, *routes: Route) -> Journey:
    """Return a fleet of one process that serves some routes and keeps its files in a folder."""
    store.advertise([route.route_id for route in routes])
    return Journey(store, RouteTable(routes), Silent(), folder=folder)


def work(fleet: Journey) -> None:
    """Route, cut and deliver until nothing is left to do."""
    fleet.route()
    fleet.cut(fleet.table.route_ids)
    while fleet.store.redis.zcard(PREFIX + "parts"):
        for part in fleet.store.redis.zrange(PREFIX + "parts", 0, -1):
            route_id = fleet.store.redis.hget(f"{PREFIX}part:{part.decode()}", "route").decode()
            fleet.deliver(route_id, part.decode())


def claim_all(fleet: Journey) -> tuple[Claim, PointBatch]:
    """Route what waits, and claim what the only route in debt owes as one part."""
    fleet.route()
    fleet.cut(fleet.table.route_ids)
    (part,) = fleet.store.redis.zrange(PREFIX + "parts", 0, -1)
    claim = fleet.store.claim(part.decode(), str(ULID()), 60)
    assert isinstance(claim, Claim)
    return claim, fleet.store.load(claim)


def replay(fleet: Journey, *, dry_run: bool = False, **filters: Any) -> Replayed:
    """Replay the letters that some filters mean."""
    letters, outcome = Letters(fleet.store, Filters(**filters)), Replayed()
    for _, done in Replayer(fleet.store, fleet.table, fleet.folder, dry_run).replay(letters.oldest_first()):
        outcome.add(done)
    return outcome


def named(store: Store) -> Counter[tuple[str, str]]:
    """Return how often Redis says that dead letters, and replays on their way, name a batch of a route."""
    keys: Any = store.redis.keys(PREFIX + "named:*")
    return Counter(
        {
            (key.decode().removeprefix(PREFIX + "named:"), batch.decode()): int(count)
            for key in keys
            for batch, count in store.redis.hgetall(key).items()
        }
    )


def naming(store: Store) -> Counter[tuple[str, str]]:
    """Return how often they do."""
    found: Counter[tuple[str, str]] = Counter()
    for letter in store.buried():
        batches = letter.kept.get("batches") or [letter.kept["batch_id"]]
        found.update((letter.route_id, batch) for batch in batches if letter.route_id and batch)
    keys: Any = store.redis.keys(PREFIX + "batch:*")
    for key in keys:
        if text := store.redis.hget(key, "replay"):
            replay = Replay.from_json(text)
            found.update((replay.route_id, part.batch_id) for part in replay.names)
    return found


def ids(store: Store, **filters: Any) -> list[str]:
    return [letter.letter_id for letter in Letters(store, Filters(**filters)).oldest_first()]
