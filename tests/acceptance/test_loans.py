"""Loans of batches to routers: counted until there is an answer, ended when the router is dead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from ulid import ULID

from router.rows import Rows
from router.table import RouteTable
from tests.make import make_batch
from workers import holder
from workers.journey import Journey
from workers.records import Debt, Letter, Nudge, Verdict
from workers.report import report
from workers.store import PREFIX, Store

LONG = 60.0  # seconds no test lasts


def accept(store: Store, count: int) -> list[str]:
    """Have batches of three points accepted; return their ids, oldest first."""
    ids, batch = [str(ULID()) for _ in range(count)], make_batch(3)
    assert {store.accept(batch_id, batch).verdict for batch_id in ids} == {"accepted"}
    return ids


def lend(store: Store, lease: float = 0.0, suspect_lease: float = 0.0) -> list[tuple[str, int]]:
    """Lend what waits; return ids and how often each was lent by then."""
    found = store.take(10_000, lease, suspect_lease=max(lease, suspect_lease))
    return [(one.batch_id, one.tries) for one in found]


def test_loans_are_counted_until_the_batch_is_matched(store: Store) -> None:
    (batch_id,) = accept(store, 1)

    assert [lend(store), lend(store)] == [[(batch_id, 1)], [(batch_id, 2)]]
    store.match([Verdict(batch_id, [Debt("a", Rows.all(3), None)], 3, 0, 0)])

    assert lend(store) == []
    assert store.redis.hmget(f"{PREFIX}batch:{batch_id}", "tries", "router") == [None, None]
    assert report(store).broken == []


def test_an_answer_that_finds_no_room_counts_as_one(store: Store) -> None:
    (batch_id,) = accept(store, 1)
    store.redis.hset(f"{PREFIX}marks", "letters", 1)
    letter = Letter("a", "?", [{"code": "condition.error"}], batch_id=batch_id)

    for _ in range(3):
        assert lend(store) == [(batch_id, 1)]
        assert store.match([Verdict(batch_id, (), 0, 0, 3, [letter])]) == [False]


def test_a_batch_that_comes_back_is_lent_with_fewer_and_at_last_alone(store: Store) -> None:
    ids = accept(store, 120)

    assert [len(lend(store)) for _ in range(4)] == [120, 100, 10, 1]
    assert lend(store) == [(ids[0], 5)]


def test_a_suspect_does_not_keep_others_company(store: Store) -> None:
    (suspect,) = accept(store, 1)
    for _ in range(3):
        lend(store)
    others = accept(store, 2)

    assert lend(store, LONG) == [(suspect, 4)]
    assert lend(store, LONG) == [(batch_id, 1) for batch_id in others]


def test_a_suspect_is_lent_for_longer(store: Store) -> None:
    (suspect,) = accept(store, 1)
    for _ in range(3):
        lend(store)

    assert lend(store, suspect_lease=LONG) == [(suspect, 4)]
    assert lend(store, suspect_lease=LONG) == []


def test_a_router_that_leaves_a_batch_behind_lets_others_be_nudged(store: Store) -> None:
    accept(store, 1)
    for _ in range(3):
        lend(store)
    accept(store, 1)

    store.take(8, LONG, stay=True)

    assert store.accept(str(ULID()), make_batch()).nudge


class Silence:
    """Sends nothing."""

    def router(self) -> None: ...
    def parts(self, nudges: Sequence[Nudge], *, whole_flush: bool = False) -> None: ...


@pytest.fixture
def journey(store: Store) -> Journey:
    return Journey(store, RouteTable([]), Silence())


def test_what_a_dead_router_held_is_lent_again_at_the_next_sweep(store: Store, journey: Journey) -> None:
    command = [sys.executable, "-c", "from workers.holder import token; print(token('router'))"]
    dead = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    mine, theirs = accept(store, 1), accept(store, 2)
    store.take(3, LONG, router=holder.token("router"))
    store.take(6, LONG, router=dead, stay=True)
    assert lend(store, LONG) == []

    assert journey.sweep() == 1, "the router is nudged at once"

    assert lend(store, LONG) == [(batch_id, 2) for batch_id in theirs]
    assert store.routers() == [holder.token("router")]
    assert mine


def test_a_router_whose_loans_have_run_out_is_forgotten(store: Store) -> None:
    accept(store, 2)
    store.take(3, 0.0, router="elsewhere/1/1/router")
    store.take(3, LONG, router="elsewhere/2/2/router")
    assert store.routers() == ["elsewhere/2/2/router"]
