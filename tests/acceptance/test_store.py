"""What each step of the store promises, on a real Redis; after every test the fleet's account adds up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from ulid import ULID

import workers.store
from destinations import MemoryDestination
from router.batch import PointBatch
from router.errors import BatchTooLargeError, ConfigError, FleetUnreachableError
from router.route import Route
from router.rows import Rows
from router.table import RouteTable
from tests.acceptance.fleet_fixture import until
from tests.acceptance.one_process import named
from tests.make import make_batch, make_frame
from workers.records import Claim, Debt, Letter, Nudge, Rest, Verdict
from workers.report import report
from workers.store import PREFIX, Store

LONG = 60.0  # seconds no test lasts


class Encoded(PointBatch):
    """A batch that is encoded once, for tests that send thousands."""

    __slots__ = ("_data", "_digest")

    def to_ipc(self) -> bytes:
        if not hasattr(self, "_data"):
            self._data = super().to_ipc()
        return self._data

    def digest(self) -> str:
        if not hasattr(self, "_digest"):
            self._digest = super().digest()
        return self._digest


pytestmark = pytest.mark.usefixtures("account")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut parts of 10 rows, and of 25 when more than that wait."""
    monkeypatch.setattr(workers.store, "PART_ROWS", 10)
    monkeypatch.setattr(workers.store, "BACKLOG_ROWS", 25)


def accept(store: Store, rows: int = 3, **changes: Any) -> str:
    """Have a batch accepted; return its id."""
    batch_id = str(ULID())
    assert store.accept(batch_id, make_batch(rows, **changes)).verdict == "accepted"
    return batch_id


def match(store: Store, batch_id: str, rows: int, *routes: str, max_owed: int | None = None) -> bool:
    """Let every row of a batch match some routes."""
    debts = [Debt(route_id, Rows.all(rows), max_owed) for route_id in routes]
    matched = rows if routes else 0
    return store.match([Verdict(batch_id, debts, matched, rows - matched, 0)])[0]


def owe(store: Store, rows: int, *routes: str) -> str:
    """Have a batch accepted of which some routes owe every row; return its id."""
    batch_id = accept(store, rows)
    store.advertise(routes)
    assert match(store, batch_id, rows, *routes)
    return batch_id


def cut_one(store: Store, rows: int = 3, *, ordered: bool = False) -> Nudge:
    """Return the only part of a route `a` that owes one batch."""
    owe(store, rows, "a")
    (nudge,) = store.cut("a", ordered=ordered)
    return nudge


def claim(store: Store, part_id: str, token: str = "", lease: float = LONG) -> Claim:
    """Claim a part that is free."""
    claimed = store.claim(part_id, token or str(ULID()), lease)
    assert isinstance(claimed, Claim), claimed
    return claimed


def deliver(store: Store, nudges: Sequence[Nudge]) -> None:
    """Settle parts as if their rows had been written."""
    for part_id, _, rows in nudges:
        store.settle(claim(store, part_id), delivered=rows)


def deliver_one(store: Store, route_id: str) -> None:
    """Have a batch accepted and delivered for a route."""
    owe(store, 1, route_id)
    deliver(store, store.cut(route_id, ordered=False))


def split(store: Store, part_id: str, at: int, *, silent: int = 0) -> list[Nudge]:
    """Split a part; return all parts of its flush in the order of their rows."""
    held = claim(store, part_id)
    assert store.split(held, at, silent=silent).verdict == "settled"
    return parts_of(store, held.route_id, part_id)


def parts_of(store: Store, route_id: str, part_id: str) -> list[Nudge]:
    """Return the open parts of the flush that a part is or was of, in the order of their rows."""
    flush = Nudge(part_id, route_id, 0).flush
    names = sorted(name.decode() for name in store.redis.smembers(f"{PREFIX}flush:{flush}"))
    return [Nudge(name, route_id, int(store.redis.hget(f"{PREFIX}part:{name}", "rows"))) for name in names]


def make_letter(route_id: str = "", row: int = -1, batch_id: str = "") -> Letter:
    return Letter(
        route_id, {"close": "?"}, [{"code": "number", "field": "close", "message": "no"}], "", batch_id, row
    )


# -- accept ---------------------------------------------------------------------------------------


def test_a_batch_sent_again_is_answered_with_the_number_it_has(store: Store) -> None:
    batch_id, batch = str(ULID()), make_batch()
    first = store.accept(batch_id, batch)
    again = store.accept(batch_id, batch)
    assert (first.verdict, again.verdict, again.detail) == ("accepted", "again", first.detail)
    assert report(store).accepted == 3


def test_a_batch_sent_again_after_it_was_delivered_is_not_delivered_again(store: Store) -> None:
    batch_id = owe(store, 3, "a")
    deliver(store, store.cut("a", ordered=True))
    assert store.accept(batch_id, make_batch()).verdict == "again"
    assert report(store).at_rest


def test_an_id_older_than_the_memory_of_ids_is_expired(store: Store) -> None:
    old = str(ULID.from_timestamp(store.now() - 3601))
    assert store.accept(old, make_batch()).verdict == "expired"
    assert store.accept(old, make_batch(), remember=4000).verdict == "accepted"


def test_an_id_without_a_time_in_it_never_expires(store: Store) -> None:
    assert store.accept("order-7", make_batch()).verdict == "accepted"


def test_an_id_from_a_fast_clock_is_remembered_for_as_long_as_it_looks_young(store: Store) -> None:
    ahead = str(ULID.from_timestamp(store.now() + 600))
    store.accept(ahead, make_batch())
    assert store.redis.ttl(f"{PREFIX}accepted:{ahead}") > 3600 + 590


def test_the_door_closes_above_the_high_mark_and_opens_below_the_low_one(store: Store) -> None:
    batch = make_batch()
    small = Store(store.redis, memory=20 * len(batch.to_ipc()))  # 12 batches close the door, 10 open it
    batches = [accept(small) for _ in range(12)]
    assert small.accept(str(ULID()), batch).verdict == "busy"

    match(small, batches[0], 3)
    assert small.accept(str(ULID()), batch).verdict == "busy", "between the marks it stays closed"

    match(small, batches[1], 3)
    assert small.accept(str(ULID()), batch).verdict == "accepted"


def test_a_batch_larger_than_the_low_mark_enters_an_empty_store_though_the_door_was_closed(
    store: Store,
) -> None:
    batch = make_batch()
    small = Store(store.redis, memory=int(1.8 * len(batch.to_ipc())))
    first = accept(small)
    assert small.accept(str(ULID()), batch).verdict == "busy"
    match(small, first, 3)
    assert small.accept(str(ULID()), batch).verdict == "accepted"


def test_a_batch_refused_at_a_closed_door_may_come_again(store: Store) -> None:
    batch_id, batch = str(ULID()), make_batch()
    size = len(batch.to_ipc())
    small = Store(store.redis, memory=int(1.8 * size))
    store.accept(str(ULID()), batch)
    busy = small.accept(batch_id, batch)
    assert (busy.verdict, busy.detail) == ("busy", f"{size} of {small.high} bytes are held")
    assert store.accept(batch_id, batch).verdict == "accepted"


def test_a_batch_larger_than_the_fleet_may_hold_is_refused_for_good(store: Store) -> None:
    with pytest.raises(BatchTooLargeError, match="send smaller ones"):
        Store(store.redis, memory=1000).accept(str(ULID()), make_batch())


def test_claims_whose_workers_died_do_not_use_up_the_attempts(store: Store) -> None:
    nudge = cut_one(store)
    for _ in range(3):
        claim(store, nudge.part_id, lease=0)
    held = claim(store, nudge.part_id)
    assert (held.attempts, held.silent, held.tries) == (4, 4, 1)
    assert store.nack(held, delay=0, counted=True, error="E")
    again = claim(store, nudge.part_id)
    assert (again.attempts, again.silent, again.tries) == (2, 1, 2)


def test_a_route_that_owes_too_much_closes_the_door_until_it_owes_a_fifth_less(store: Store) -> None:
    store.advertise(["a"])
    batches = [accept(store, 5) for _ in range(3)]
    match(store, batches[0], 5, "a", max_owed=10)
    match(store, batches[1], 5, "a", max_owed=10)
    assert store.accept(str(ULID()), make_batch()).verdict == "accepted", "ten are not too much"

    match(store, batches[2], 5, "a", max_owed=10)
    busy = store.accept(str(ULID()), make_batch())
    assert (busy.verdict, busy.detail) == ("busy", "route a owes more than its max_owed")

    (nudge,) = store.cut("a", ordered=True)
    halves = split(store, nudge.part_id, 6)
    deliver(store, halves[:1])
    assert store.accept(str(ULID()), make_batch()).verdict == "busy", "nine are more than eight"

    deliver(store, halves[1:])
    assert store.accept(str(ULID()), make_batch()).verdict == "accepted"


def test_a_route_that_never_owed_a_point_is_served_all_the_same(store: Store) -> None:
    table = RouteTable(
        Route(route_id=name, condition="true", destination=MemoryDestination()) for name in ("a", "b")
    )
    store.advertise(["a", "@router"])
    found = report(store, table)
    assert [(route.route_id, route.served) for route in found.routes] == [("a", True), ("b", False)]
    assert (found.router_served, found.door_served) == (True, False)


def test_a_door_closed_to_points_still_takes_dead_letters(store: Store) -> None:
    match(store, accept(store), 3, "a", max_owed=2)
    name = str(ULID())
    assert store.accept(str(ULID()), make_batch()).verdict == "busy"
    assert store.bury(name, make_letter(batch_id=name)).verdict == "accepted"
    assert store.accept(str(ULID()), make_batch()).verdict == "busy"
    assert [letter["batch_id"] for letter in store.letters(10)] == [name]


def test_a_route_that_gives_up_its_limit_opens_the_door(store: Store) -> None:
    first, second = accept(store), accept(store)
    match(store, first, 3, "a", max_owed=2)
    assert store.accept(str(ULID()), make_batch()).verdict == "busy"
    match(store, second, 3, "a", max_owed=None)
    assert store.accept(str(ULID()), make_batch()).verdict == "accepted"


@pytest.mark.parametrize("known", ["1", "9000000000000000", None])
def test_acceptance_numbers_rise_whatever_redis_forgot(store: Store, known: str | None) -> None:
    before = store.accept(str(ULID()), make_batch()).detail
    if known is None:
        store.redis.delete(PREFIX + "number")
    else:
        store.redis.set(PREFIX + "number", known)
    after = store.accept(str(ULID()), make_batch()).detail
    assert int(after) > max(int(before), int(known or 0))


def test_points_refused_at_the_door_are_dead_letters(store: Store) -> None:
    store.accept(str(ULID()), make_batch(2), letters=[make_letter()])
    now = report(store)
    assert (now.accepted, now.invalid, now.waiting, now.dead_letters) == (3, 1, 2, 1)
    assert [letter["original"] for letter in store.letters()] == [{"close": "?"}]


def test_a_letter_that_redis_cannot_read_costs_nothing_else(store: Store) -> None:
    letter = Letter("", "half a character: \ud800", [{"code": "text.surrogate"}])
    assert store.accept(str(ULID()), make_batch(2), letters=[letter]).verdict == "accepted"
    assert (report(store).waiting, report(store).dead_letters) == (2, 1)


def test_a_batch_without_one_valid_point_leaves_only_its_letters(store: Store) -> None:
    batch_id, nothing = str(ULID()), make_batch(0)
    assert store.accept(batch_id, nothing, letters=[make_letter()]).verdict == "accepted"
    assert store.accept(batch_id, nothing, letters=[make_letter()]).verdict == "again"
    now = report(store)
    assert (now.invalid, now.batches, now.dead_letters) == (1, 0, 1)


def test_the_router_is_nudged_once_until_it_looks(store: Store) -> None:
    batch = make_batch()
    assert [store.accept(str(ULID()), batch).nudge for _ in range(3)] == [True, False, False]
    store.take(1, LONG)
    assert store.accept(str(ULID()), batch).nudge


def test_a_context_travels_with_its_batch(store: Store) -> None:
    store.accept(str(ULID()), make_batch(), context={"desk": "rates"})
    assert [waiting.context for waiting in store.take(10, LONG)] == [{"desk": "rates"}]


# -- take and match -------------------------------------------------------------------------------


def test_batches_are_lent_oldest_first_and_to_one_router_at_a_time(store: Store) -> None:
    batches = [accept(store, 4) for _ in range(3)]
    assert [waiting.batch_id for waiting in store.take(8, LONG)] == batches[:2]
    assert [waiting.batch_id for waiting in store.take(1, LONG)] == batches[2:], "one batch, however large"
    assert store.take(8, LONG) == []


def test_a_batch_whose_router_died_is_lent_again(store: Store) -> None:
    batch_id = accept(store)
    assert [waiting.batch_id for waiting in store.take(8, 0.0)] == [batch_id]
    assert [waiting.batch_id for waiting in store.take(8, LONG)] == [batch_id]


def test_a_batch_is_matched_once(store: Store) -> None:
    batch_id = accept(store)
    assert match(store, batch_id, 3, "a")
    assert not match(store, batch_id, 3, "a", "b")
    assert [(route.route_id, route.owed) for route in report(store).routes] == [("a", 3)]


def test_a_batch_that_no_route_wants_is_let_go(store: Store) -> None:
    match(store, accept(store), 3)
    now = report(store)
    assert (now.unmatched, now.batches, now.bytes) == (3, 0, 0)


def test_rows_whose_condition_failed_are_dead_letters_of_that_route(store: Store) -> None:
    batch_id = accept(store)
    letters = [make_letter("a", row, batch_id) for row in (0, 2)]
    store.match([Verdict(batch_id, [Debt("b", Rows([1]), None)], 1, 0, 2, letters)])
    now = report(store)
    assert (now.matched, now.failed, now.dead_letters) == (1, 2, 2)
    assert [(route.route_id, route.failed, route.owed) for route in now.routes] == [("a", 2, 0), ("b", 0, 1)]


# -- cut ------------------------------------------------------------------------------------------


def test_an_ordered_route_has_one_flush_at_a_time_and_others_two(store: Store) -> None:
    for _ in range(3):
        owe(store, 3, "in order", "any order")
        store.cut("in order", ordered=True)
        store.cut("any order", ordered=False)
    flushes = {name: route["flushes"] for name, route in store.snapshot()["routes"].items()}
    assert flushes == {"in order": 1, "any order": 2}


def test_the_next_flush_is_cut_when_the_last_part_of_this_one_is_settled(
    store: Store, small_parts: None
) -> None:
    owe(store, 23, "a")
    first = store.cut("a", ordered=True)
    assert [nudge.rows for nudge in first] == [10]
    assert store.cut("a", ordered=True) == []
    assert store.settle(claim(store, first[0].part_id), delivered=10).complete
    assert [nudge.rows for nudge in store.cut("a", ordered=True)] == [10]


def test_an_ordered_route_does_not_overtake_a_batch_that_is_still_being_matched(store: Store) -> None:
    slow = accept(store, 2)
    owe(store, 3, "in order", "any order")
    assert store.cut("in order", ordered=True) == []
    assert [nudge.rows for nudge in store.cut("any order", ordered=False)] == [3]

    match(store, slow, 2, "in order")
    (nudge,) = store.cut("in order", ordered=True)
    assert [piece[0] == slow for piece in claim(store, nudge.part_id).pieces] == [True, False]


def test_parts_are_full_but_the_last(store: Store, small_parts: None) -> None:
    owe(store, 11, "a")
    owe(store, 13, "a")
    assert [nudge.rows for nudge in store.cut("a", ordered=False)] == [10, 10, 4]


def test_parts_are_larger_under_a_backlog(store: Store, small_parts: None) -> None:
    owe(store, 26, "a")
    assert [nudge.rows for nudge in store.cut("a", ordered=False)] == [25, 1]


def test_a_flush_has_no_more_than_so_many_parts_and_that_of_an_ordered_route_one(
    store: Store, small_parts: None
) -> None:
    owe(store, 90, "in order", "any order")
    assert [nudge.rows for nudge in store.cut("any order", ordered=False, most_parts=2)] == [25, 25]
    assert [nudge.rows for nudge in store.cut("in order", ordered=True, most_parts=2)] == [25]
    assert {route.route_id: route.pending for route in report(store).routes} == {
        "any order": 40,
        "in order": 65,
    }


def test_a_part_is_made_of_no_more_than_2000_batches(store: Store) -> None:
    one = Encoded(make_frame(1))
    batches = [str(ULID()) for _ in range(2001)]
    for batch_id in batches:
        store.accept(batch_id, one)
    store.match([Verdict(batch_id, [Debt("a", Rows.all(1), None)], 1, 0, 0) for batch_id in batches])
    store.advertise(["a"])
    assert [nudge.rows for nudge in store.cut("a", ordered=False)] == [2000, 1]


def test_nothing_is_cut_for_a_route_that_no_worker_serves(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    match(store, accept(store), 3, "a")
    assert store.cut("a", ordered=True) == []
    store.advertise(["a"])
    with monkeypatch.context() as patch:
        patch.setattr(workers.store, "SERVED_FOR", -1.0)
        assert store.cut("a", ordered=True) == [], "that was long ago"
    assert len(store.cut("a", ordered=True)) == 1
    assert store.served().keys() == {"a"}


def test_a_cut_repeated_because_its_answer_was_lost_gives_the_same_parts(
    store: Store, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    owe(store, 100, "a")
    monkeypatch.setattr(workers.store, "ULID", lambda: "01FLUSH")
    first = store.cut("a", ordered=False, most_parts=2)
    assert sorted(store.cut("a", ordered=False, most_parts=2)) == first
    assert report(store).routes[0].in_parts == 50


# -- claim, renew, nack, release ------------------------------------------------------------------


def test_a_part_has_one_holder(store: Store) -> None:
    nudge = cut_one(store)
    held = claim(store, nudge.part_id)
    assert (held.route_id, held.rows, held.attempts, held.silent, held.since) == ("a", 3, 1, 1, 0.0)
    assert store.claim(nudge.part_id, "another", LONG) == "taken"


def test_a_part_that_is_settled_or_never_was_is_gone(store: Store) -> None:
    nudge = cut_one(store)
    deliver(store, [nudge])
    assert store.claim(nudge.part_id, "late", LONG) == "gone"
    assert store.claim("01INVENTED-1", "somebody", LONG) == "gone"


def test_a_part_whose_holder_went_silent_is_taken_over_and_both_claims_count(store: Store) -> None:
    nudge = cut_one(store)
    claim(store, nudge.part_id, lease=0.0)
    second = claim(store, nudge.part_id)
    assert (second.attempts, second.silent) == (2, 2)


def test_a_claim_repeated_because_its_answer_was_lost_counts_once(store: Store) -> None:
    nudge = cut_one(store)
    claim(store, nudge.part_id, "mine")
    repeated = claim(store, nudge.part_id, "mine")
    assert (repeated.attempts, repeated.silent) == (1, 1)


def test_a_part_given_back_is_early_until_it_is_due(store: Store) -> None:
    nudge = cut_one(store)
    assert store.nack(claim(store, nudge.part_id), delay=LONG, counted=True, error="later")
    assert store.claim(nudge.part_id, "eager", LONG) == "early"


def test_a_part_given_back_remembers_its_attempts_and_when_it_first_failed(store: Store) -> None:
    nudge = cut_one(store)
    before = store.now()
    store.nack(claim(store, nudge.part_id), delay=0.0, counted=True, error="down")
    second = claim(store, nudge.part_id)
    assert (second.attempts, second.silent) == (2, 1)
    assert before - 0.001 <= second.since <= store.now() + 0.001
    store.nack(second, delay=0.0, counted=True, error="still down")
    assert claim(store, nudge.part_id).since == second.since


def test_an_attempt_that_is_not_counted_leaves_no_trace(store: Store) -> None:
    nudge = cut_one(store)
    store.nack(claim(store, nudge.part_id), delay=0.0, counted=False, error="closed for lunch")
    assert claim(store, nudge.part_id).attempts == 1


def test_a_renewed_claim_lasts_longer(store: Store) -> None:
    nudge = cut_one(store)
    assert store.renew(claim(store, nudge.part_id, lease=0.0), LONG)
    assert store.claim(nudge.part_id, "another", LONG) == "taken"


@pytest.mark.parametrize(
    "act",
    [
        lambda store, late: store.renew(late, LONG),
        lambda store, late: store.nack(late, delay=0.0, counted=True, error="late"),
        lambda store, late: store.split(late, 1).verdict == "settled",
        lambda store, late: store.release(late.part_id, late.token),
    ],
    ids=["renew", "nack", "split", "release"],
)
def test_whoever_lost_a_part_can_no_longer(store: Store, act: Callable[[Store, Claim], object]) -> None:
    nudge = cut_one(store)
    late = claim(store, nudge.part_id, "late", lease=0.0)
    claim(store, nudge.part_id, "successor")
    assert not act(store, late)
    assert store.holders() == {nudge.part_id: "successor"}


def test_a_part_of_a_dead_holder_is_free_at_once_and_its_claim_stays_unanswered(store: Store) -> None:
    nudge = cut_one(store)
    dead = claim(store, nudge.part_id)
    assert store.release(nudge.part_id, dead.token)
    assert [found.part_id for found in store.sweep().parts] == [nudge.part_id]
    assert claim(store, nudge.part_id).silent == 2


# -- settle and split -----------------------------------------------------------------------------


def test_a_part_is_settled_once(store: Store) -> None:
    held = claim(store, cut_one(store).part_id)
    assert store.settle(held, delivered=3).verdict == "settled"
    assert store.settle(held, delivered=3).verdict == "stale"
    assert report(store).routes[0].delivered == 3


def test_whoever_wrote_a_part_may_settle_it_though_another_holds_it(store: Store) -> None:
    nudge = cut_one(store)
    late = claim(store, nudge.part_id, lease=0.0)
    successor = claim(store, nudge.part_id)
    assert store.settle(late, delivered=3).verdict == "settled"
    assert not store.renew(successor, LONG)
    assert store.settle(successor, delivered=3).verdict == "stale"
    assert report(store).at_rest


def test_each_row_of_a_part_ends_as_delivered_dropped_or_dead(store: Store) -> None:
    batch_id = owe(store, 6, "a")
    (nudge,) = store.cut("a", ordered=True)
    store.settle(claim(store, nudge.part_id), delivered=3, dropped=2, letters=[make_letter("a", 5, batch_id)])
    route = report(store).routes[0]
    assert (route.delivered, route.dropped, route.dead, route.owed) == (3, 2, 1, 0)
    assert [(letter["batch_id"], letter["row"]) for letter in store.letters()] == [(batch_id, 5)]


def test_a_batch_lives_until_no_part_of_any_route_owes_a_row_of_it(store: Store, small_parts: None) -> None:
    owe(store, 15, "a", "b")
    parts = [*store.cut("a", ordered=False), *store.cut("b", ordered=False)]
    assert [nudge.rows for nudge in parts] == [10, 5, 10, 5]
    for nudge in parts:
        assert report(store).batches == 1
        deliver(store, [nudge])
    assert (report(store).batches, report(store).bytes) == (0, 0)


def test_halves_hold_every_row_once_and_keep_the_flush_open(store: Store, small_parts: None) -> None:
    first, second = owe(store, 4, "a"), owe(store, 5, "a")
    (nudge,) = store.cut("a", ordered=False)
    halves = split(store, nudge.part_id, 6)
    assert [half.rows for half in halves] == [6, 3]
    held = [claim(store, half.part_id) for half in halves]
    assert [one.pieces for one in held] == [[(first, 0, 4), (second, 0, 2)], [(second, 2, 5)]]
    assert [len(store.load(one)) for one in held] == [6, 3]
    assert not store.settle(held[1], delivered=3).complete
    assert store.settle(held[0], delivered=6).complete


def test_halves_begin_without_attempts_and_with_the_silence_they_are_given(store: Store) -> None:
    nudge = cut_one(store)
    halves = split(store, nudge.part_id, 1, silent=2)
    assert [(one.attempts, one.silent) for one in (claim(store, half.part_id) for half in halves)] == [
        (1, 3)
    ] * 2


def test_the_second_half_of_an_ordered_part_waits_for_the_first(store: Store) -> None:
    nudge = cut_one(store, 4, ordered=True)
    first, second = split(store, nudge.part_id, 2)
    assert store.claim(second.part_id, "eager", LONG) == "early"
    settled = store.settle(claim(store, first.part_id), delivered=2)
    assert settled.nudges == [second], "its turn has come"
    deliver(store, [second])


def test_quarters_of_an_ordered_part_go_in_the_order_of_their_rows(store: Store) -> None:
    nudge = cut_one(store, 4, ordered=True)
    left, right = split(store, nudge.part_id, 2)
    quarters = split(store, left.part_id, 1)[:2]
    assert store.claim(right.part_id, "eager", LONG) == "early"
    assert store.claim(quarters[1].part_id, "eager", LONG) == "early"
    deliver(store, [*quarters, right])


def test_the_halves_of_any_other_part_need_not_wait(store: Store) -> None:
    nudge = cut_one(store, 4)
    deliver(store, split(store, nudge.part_id, 2)[::-1])


# -- sweep ----------------------------------------------------------------------------------------


def test_a_sweep_nudges_a_part_whose_nudge_is_overdue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_one(store)
    assert store.sweep().parts == [], "its first nudge may be on its way"
    monkeypatch.setattr(workers.store, "FIRST_NUDGE", 0.0)
    second = Nudge(*cut_another(store))
    assert store.sweep().parts == [second]


def cut_another(store: Store) -> Nudge:
    owe(store, 3, "another")
    (nudge,) = store.cut("another", ordered=True)
    return nudge


def test_a_sweep_waits_longer_after_each_nudge(store: Store) -> None:
    nudge = cut_one(store)
    waits = []
    for _ in range(6):
        store.redis.zadd(PREFIX + "parts", {nudge.part_id: 0})
        assert store.sweep().parts == [nudge]
        waits.append(round(store.redis.zscore(PREFIX + "parts", nudge.part_id) - store.now()))
    assert waits == [5, 10, 20, 40, 60, 60]


def test_a_sweep_leaves_a_leased_part_alone_and_nudges_it_once_the_lease_is_over(store: Store) -> None:
    nudge = cut_one(store)
    held = claim(store, nudge.part_id, lease=LONG)
    assert store.sweep().parts == []
    store.renew(held, 0.0)
    assert store.sweep().parts == [nudge]


def test_a_sweep_leaves_a_part_given_back_alone_until_it_is_due(store: Store) -> None:
    nudge = cut_one(store)
    store.nack(claim(store, nudge.part_id), delay=LONG, counted=True, error="later")
    assert store.sweep().parts == []
    store.nack(Claim(nudge.part_id, "", "a", 3, [], 1, 1, 0.0), delay=0.0, counted=True, error="not mine")
    assert store.sweep().parts == []


def test_a_sweep_names_the_routes_with_pending_rows(store: Store, small_parts: None) -> None:
    owe(store, 11, "a", "b")
    store.cut("a", ordered=False)
    store.cut("b", ordered=True)
    assert store.sweep().routes == ["b"]


def test_a_sweep_nudges_the_router_only_if_a_batch_waits_and_no_nudge_is_on_its_way(store: Store) -> None:
    assert not store.sweep().router
    batch_id = accept(store)
    assert not store.sweep().router, "the producer nudges it"
    store.take(8, LONG)
    assert store.sweep().router
    assert not store.sweep().router
    match(store, batch_id, 3)
    store.redis.delete(PREFIX + "nudged")
    assert not store.sweep().router


# -- load -----------------------------------------------------------------------------------------


def test_loaded_rows_are_named_by_their_batch_and_row_number(store: Store) -> None:
    batches = {
        accept(store, 6, symbols=("BTC/USDT", "ETH/USDT")): Rows([0, 3, 5]),
        accept(store, 5, symbols=("SOL/USDT", "BTC/USDT", "ADA/USDT")): Rows([1, 2, 3]),
        accept(store, 4, symbols=("ETH/USDT",), source="exchange-b"): Rows([2]),
    }
    for batch_id, rows in batches.items():
        store.match(
            [
                Verdict(
                    batch_id, [Debt("a", rows, None)], len(rows), store_size(store, batch_id) - len(rows), 0
                )
            ]
        )
    store.advertise(["a"])
    (nudge,) = store.cut("a", ordered=True)
    batch = store.load(claim(store, nudge.part_id))

    assert [(part.batch_id, part.rows) for part in batch.parts] == list(batches.items())
    assert [(point.symbol, point.timestamp.minute, point.source) for point in batch] == [
        ("BTC/USDT", 0, "exchange-a"),
        ("ETH/USDT", 1, "exchange-a"),
        ("ETH/USDT", 2, "exchange-a"),
        ("BTC/USDT", 0, "exchange-a"),
        ("ADA/USDT", 0, "exchange-a"),
        ("SOL/USDT", 1, "exchange-a"),
        ("ETH/USDT", 2, "exchange-b"),
    ]
    assert batch.frame["symbol"].to_list() == [point.symbol for point in batch]
    assert batch.route_id == "a"


def store_size(store: Store, batch_id: str) -> int:
    return int(store.redis.hget(f"{PREFIX}batch:{batch_id}", "points"))


def test_loaded_rows_carry_the_number_and_the_fingerprint_of_their_batch(store: Store) -> None:
    batch_id, batch = str(ULID()), make_batch(4)
    number = int(store.accept(batch_id, batch).detail)
    match(store, batch_id, 4, "a")
    store.advertise(["a"])
    (nudge,) = store.cut("a", ordered=True)
    (part,) = store.load(claim(store, nudge.part_id)).parts
    assert (part.number, part.digest) == (number, batch.digest())


def test_a_part_of_a_selection_loads_its_own_rows(store: Store, small_parts: None) -> None:
    batch_id = accept(store, 40)
    store.match([Verdict(batch_id, [Debt("a", Rows(range(0, 40, 2)), None)], 20, 20, 0)])
    store.advertise(["a"])
    rows = [store.load(claim(store, nudge.part_id)).parts[0].rows for nudge in store.cut("a", ordered=False)]
    assert rows == [Rows(range(0, 20, 2)), Rows(range(20, 40, 2))]


def test_a_part_settled_by_another_loads_nothing(store: Store) -> None:
    nudge = cut_one(store)
    late = claim(store, nudge.part_id, lease=0.0)
    deliver(store, [nudge])
    assert len(store.load(late)) == 0


def test_a_part_of_a_batch_that_redis_has_forgotten_to_have_matched_loads_nothing(store: Store) -> None:
    batch_id = owe(store, 3, "a")
    (nudge,) = store.cut("a", ordered=False)
    held = claim(store, nudge.part_id)
    store.redis.hdel(f"{PREFIX}batch:{batch_id}", "selection:a")  # what is left when Redis is set back
    assert len(store.load(held)) == 0


# -- what it costs, and what is left --------------------------------------------------------------


@pytest.mark.parametrize("rows", [1000, 10_000])
def test_a_point_costs_no_more_than_60_bytes(store: Store, rows: int) -> None:
    chance = np.random.default_rng(7)
    symbols = [f"SYM{number}/USDT" for number in range(50)]
    close = np.round(40_000 * np.exp(np.cumsum(chance.normal(0, 1e-3, rows))), 2)
    frame = make_frame(rows, symbols).with_columns(
        open=np.round(close * 0.9995, 2),
        high=np.round(close * (1 + chance.random(rows) * 1e-3), 2),
        low=np.round(close * (0.9990 - chance.random(rows) * 1e-3), 2),
        close=close,
        volume=np.round(chance.lognormal(2, 1, rows), 4),
    )
    store.accept(str(ULID()), PointBatch(frame))
    assert report(store).bytes / rows <= 60


def test_when_everything_is_settled_only_counters_and_memories_are_left(
    store: Store, small_parts: None
) -> None:
    accept_id = owe(store, 60, "a", "b")
    owe(store, 3, "b")
    match(store, accept(store), 3)
    for route_id in ("a", "b"):
        while nudges := store.cut(route_id, ordered=False):
            deliver(store, split(store, nudges[0].part_id, 5))
    kinds = {key.decode().removeprefix(PREFIX).split(":")[0] for key in store.redis.keys(PREFIX + "*")}
    assert report(store).at_rest
    assert kinds - {"nudged", "rate"} == {"totals", "route", "owing", "known", "number", "accepted"}
    assert store.redis.exists(f"{PREFIX}accepted:{accept_id}")


# -- what a destination must not forget -----------------------------------------------------------


def test_a_batch_is_still_owed_until_no_route_owes_a_row_of_it(store: Store) -> None:
    waiting, owed = accept(store), owe(store, 3, "a", "b")
    assert store.still_owed("a", [waiting, owed, "never heard of"]) == {waiting, owed}

    deliver(store, store.cut("a", ordered=False))
    assert store.still_owed("a", [owed]) == {owed}
    deliver(store, store.cut("b", ordered=False))
    assert store.still_owed("a", [owed]) == set()


def test_a_batch_is_still_owed_by_the_routes_of_its_dead_letters(store: Store) -> None:
    deliver_one(store, "b")
    held = claim(store, cut_one(store).part_id)
    batch_id = held.pieces[0][0]
    letters = [make_letter("a", row, batch_id) for row in (0, 1)]
    store.settle(held, delivered=1, letters=letters)
    for left in (2, 1):
        assert store.still_owed("a", [batch_id]) == {batch_id}
        assert store.still_owed("b", [batch_id]) == set()
        store.drop([next(store.buried()).letter_id])
        assert sum(named(store).values()) == left - 1
    assert store.still_owed("a", [batch_id]) == set()


def test_a_letter_that_redis_cannot_read_may_be_of_any_batch_of_its_route(store: Store) -> None:
    deliver_one(store, "b")
    held = claim(store, cut_one(store, 1).part_id)
    letter = make_letter("a", 0, held.pieces[0][0])
    store.settle(held, delivered=0, letters=[letter._replace(reasons=[{"code": "no", "message": "\ud800"}])])
    assert store.still_owed("a", ["any", "other"]) == {"any", "other"}
    assert store.still_owed("b", ["any"]) == set()
    store.drop([next(store.buried()).letter_id])
    assert store.still_owed("a", ["any"]) == set()


def test_of_a_route_that_only_another_fleet_may_know_every_batch_is_still_owed(store: Store) -> None:
    assert store.still_owed("theirs", ["any"]) == {"any"}
    assert store.still_owed("", ["any"]) == {"any"}
    deliver_one(store, "theirs")
    assert store.still_owed("theirs", ["any"]) == set()


def test_one_of_those_who_ask_may_prune_a_destination_until_it_may_go_on(store: Store) -> None:
    assert [store.begin_pruning("out", LONG) for _ in range(2)] == [True, False]
    assert store.begin_pruning("other", LONG)
    store.go_on_pruning("out", 0.5)
    until(lambda: store.begin_pruning("out", LONG), "the rest is over")


# -- a Redis that does not do its part ------------------------------------------------------------


def test_a_redis_that_is_down_is_named_without_its_password() -> None:
    store = Store.connect("redis://:tell-nobody@127.0.0.1:1/0")
    with closing(store.redis), pytest.raises(FleetUnreachableError) as caught:
        store.sweep()
    assert "the broker at 127.0.0.1:1 does not answer" in str(caught.value)
    assert "tell-nobody" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_redis_that_refuses_the_password_is_unreachable_too(redis_url: str) -> None:
    url = urlsplit(redis_url)
    store = Store.connect(f"redis://:not-this-one@127.0.0.1:{url.port}/0")
    with closing(store.redis), pytest.raises(FleetUnreachableError, match=f"127.0.0.1:{url.port}") as caught:
        store.accept(str(ULID()), make_batch())
    assert "not-this-one" not in str(caught.value)


@contextmanager
def configured(store: Store, name: str, value: object) -> Iterator[None]:
    """Change a setting of Redis for a while."""
    before = store.redis.config_get(name)[name]
    store.redis.config_set(name, value)
    try:
        yield
    finally:
        store.redis.config_set(name, before)
        while store.redis.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.01)  # until then Redis refuses to stop


def test_a_full_redis_takes_nothing_in_and_still_drains(store: Store) -> None:
    nudge, batch = cut_one(store), make_batch()
    waiting = accept(store)
    with configured(store, "maxmemory", 1):
        with pytest.raises(FleetUnreachableError, match="is full"):
            store.accept(str(ULID()), batch)
        with pytest.raises(FleetUnreachableError, match="is full"):
            match(store, waiting, 3, "a")
        deliver(store, [nudge])
        store.sweep()
    assert [route.delivered for route in report(store).routes] == [3]


def test_a_redis_that_keeps_what_it_is_given_passes_the_check(store: Store) -> None:
    store.check()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("maxmemory-policy", "allkeys-lru", "redis.eviction"), ("appendonly", "no", "redis.volatile")],
)
def test_a_redis_that_may_forget_is_refused(store: Store, name: str, value: str, code: str) -> None:
    with configured(store, name, value), pytest.raises(ConfigError) as caught:
        store.check()
    assert caught.value.code == code


def test_a_volatile_redis_is_taken_if_asked_for(store: Store) -> None:
    with configured(store, "appendonly", "no"):
        store.check(volatile=True)


def test_a_router_that_stays_need_not_be_nudged_until_it_leaves(store: Store) -> None:
    accept(store)
    assert len(store.take(8, LONG, stay=True)) == 1
    assert not store.accept(str(ULID()), make_batch()).nudge
    assert len(store.take(8, LONG)) == 1
    assert store.accept(str(ULID()), make_batch()).nudge


def test_a_router_that_cannot_take_everything_lets_others_be_nudged(store: Store) -> None:
    for _ in range(3):
        accept(store, 3)
    store.take(3, LONG, stay=True)
    assert store.accept(str(ULID()), make_batch()).nudge


# -- batches -----------------------------------------------------------------------------------------


def cut(store: Store, **policy: Any) -> list[int]:
    """Cut route `a`, and return how many rows each part holds."""
    return [nudge.rows for nudge in store.cut("a", **{"ordered": False} | policy)]


def test_parts_hold_whole_batches_and_the_rest_stays(store: Store, small_parts: None) -> None:
    owe(store, 9, "a")
    assert cut(store, batch_size=4, batch_timeout=LONG) == [8]
    assert report(store).routes[0].pending == 1
    owe(store, 2, "a")
    assert cut(store, batch_size=4, batch_timeout=LONG) == []
    owe(store, 1, "a")
    assert cut(store, batch_size=4, batch_timeout=LONG) == [4]


def test_a_batch_larger_than_a_part_is_one_part(store: Store, small_parts: None) -> None:
    owe(store, 70, "a")
    assert cut(store, batch_size=30, batch_timeout=LONG) == [30, 30]


def test_what_is_due_goes_though_it_fills_no_batch(store: Store, small_parts: None) -> None:
    owe(store, 3, "a")
    assert cut(store, batch_size=4, batch_timeout=LONG) == []
    assert cut(store, batch_size=4, batch_timeout=1e-6) == [3]


def test_the_timeout_counts_from_the_oldest_point_that_is_left(store: Store, small_parts: None) -> None:
    first = owe(store, 3, "a")
    store.redis.zincrby(f"{PREFIX}pending:a", -30e6, first)  # it came half a minute earlier
    owe(store, 3, "a")
    assert cut(store, batch_size=4, batch_timeout=20.0) == [4], "the last two are of the second"
    assert cut(store, batch_size=4, batch_timeout=20.0) == []


def test_many_small_batches_make_exact_writes(store: Store) -> None:
    one = Encoded(make_frame(1))
    batches = [str(ULID()) for _ in range(2105)]
    for batch_id in batches:
        store.accept(batch_id, one)
    store.match([Verdict(batch_id, [Debt("a", Rows.all(1), None)], 1, 0, 0) for batch_id in batches])
    store.advertise(["a"])
    parts = store.cut("a", ordered=True, batch_size=1000, batch_timeout=LONG)
    assert [nudge.rows for nudge in parts] == [2000]
    deliver(store, parts)
    assert cut(store, batch_size=3, batch_timeout=LONG) == [105]


def test_a_flush_asked_for_lets_nothing_wait_that_was_accepted_before(store: Store) -> None:
    owe(store, 3, "a", "b")
    unmatched = accept(store, 2)
    assert store.flush(["a"]) == {"a": 3}
    assert cut(store, batch_size=10, batch_timeout=LONG) == [3]
    assert store.cut("b", ordered=False, batch_size=10, batch_timeout=LONG) == []
    match(store, unmatched, 2, "a")
    assert cut(store, batch_size=10, batch_timeout=LONG) == [2], "it was accepted before"
    owe(store, 4, "a")
    assert cut(store, batch_size=10, batch_timeout=LONG) == []
    assert store.flush() == {"a": 4, "b": 3}
    assert sum(cut(store, batch_size=10, batch_timeout=LONG)) == 0, "two flushes are open"


def test_a_route_with_nothing_to_cut_is_passed_over_until_it_is_due(store: Store) -> None:
    owe(store, 3, "a")
    assert cut(store, batch_size=10, batch_timeout=LONG) == []
    assert store.sweep().routes == []
    store.flush(["a"])
    assert store.sweep().routes == ["a"]


def test_a_complete_flush_is_closed_by_the_next_cut_or_named_by_a_sweep(store: Store) -> None:
    nudge = cut_one(store)
    assert store.sweep().routes == []
    assert store.settle(claim(store, nudge.part_id), delivered=3).complete
    assert store.snapshot()["routes"]["a"]["flushes"] == 1
    assert store.sweep().routes == ["a"]
    assert cut(store) == []
    assert store.snapshot()["routes"]["a"]["flushes"] == 0
    assert store.sweep().routes == []


# -- limits ------------------------------------------------------------------------------------------


def test_a_limited_route_gives_a_second_of_points_and_then_no_more(store: Store) -> None:
    owe(store, 100, "a")
    first = store.cut("a", ordered=True, rate_limit=30.0)
    assert [nudge.rows for nudge in first] == [30]
    assert store.cut("a", ordered=True, rate_limit=30.0) == []
    deliver(store, first)
    assert sum(cut(store, ordered=True, rate_limit=30.0)) <= 30


def test_a_limit_of_less_than_a_point_a_second_gives_one_at_a_time(store: Store) -> None:
    owe(store, 3, "a")
    first = store.cut("a", ordered=True, rate_limit=0.01)
    assert [nudge.rows for nudge in first] == [1]
    deliver(store, first)
    assert cut(store, ordered=True, rate_limit=0.01) == []


def test_batches_of_a_limited_route_are_whole(store: Store) -> None:
    owe(store, 100, "a")
    assert cut(store, rate_limit=30.0, batch_size=20, batch_timeout=1e-6) == [20]


def test_what_was_written_a_moment_ago_counts_though_the_bucket_is_full(store: Store) -> None:
    owe(store, 100, "a")
    for _ in range(2):
        deliver(store, store.cut("a", ordered=True, rate_limit=30.0))
        store.redis.hset(f"{PREFIX}route:a", "tokens", 30)
    assert cut(store, ordered=True, rate_limit=30.0) == []


# -- parts that stop in the middle -------------------------------------------------------------------


def test_rows_before_a_failed_write_are_settled_and_the_others_wait(store: Store) -> None:
    nudge = cut_one(store, 10, ordered=True)
    held = claim(store, nudge.part_id)

    found = store.settle(held, delivered=4, rest=[Rest(6, attempts=1, wait=30.0)], error="reset")

    assert (found.verdict, found.complete, found.nudges) == ("settled", False, [])
    (rest,) = found.waiting
    assert (rest.rows, report(store).routes[0].delivered, report(store).owed) == (6, 4, 6)
    assert store.claim(rest.part_id, "early", LONG) == "early"
    assert store.settle(held, delivered=10).verdict == "stale"


def test_the_rest_of_a_part_keeps_its_attempts_and_may_be_loaded(store: Store) -> None:
    batch_id = owe(store, 10, "a")
    (nudge,) = store.cut("a", ordered=True)
    rest = [Rest(2, attempts=1), Rest(3, silent=2), Rest(1)]
    found = store.settle(claim(store, nudge.part_id), delivered=4, rest=rest)
    first, second, third = parts_of(store, "a", nudge.part_id)
    assert [found.nudges, [first.rows, second.rows, third.rows]] == [[first], [2, 3, 1]]
    held = claim(store, first.part_id)
    assert (held.attempts, held.pieces) == (2, [(batch_id, 4, 6)])
    assert store.settle(held, delivered=2).nudges == [second]
    held = claim(store, second.part_id)
    assert (held.silent, held.pieces) == (3, [(batch_id, 6, 9)])
    deliver(store, store.settle(held, delivered=3).nudges)
    assert report(store).at_rest


@pytest.mark.parametrize("field", ["lease", "due"])
def test_a_time_set_before_the_clock_was_put_back_holds_nobody_up(store: Store, field: str) -> None:
    nudge = cut_one(store)
    held = claim(store, nudge.part_id)
    if field == "due":
        store.nack(held, delay=2.0, counted=True, error="later")
    store.redis.hset(f"{PREFIX}part:{nudge.part_id}", field, store.now() + 3600)
    store.redis.zadd(f"{PREFIX}parts", {nudge.part_id: store.now() + 3600})
    assert [found.part_id for found in store.sweep().parts] == [nudge.part_id]
    assert isinstance(store.claim(nudge.part_id, "next", LONG), Claim)


# -- outages -----------------------------------------------------------------------------------------


def pause(store: Store, seconds: float | None = None) -> float:
    return store.pause("d", asked=seconds, first=1.0, most=5.0, error="503")


def test_a_paused_destination_gets_no_parts_and_no_claims(store: Store) -> None:
    nudge = cut_one(store)
    pause(store, LONG)
    owe(store, 3, "a")
    assert cut(store, destination="d") == []
    assert cut(store, destination="another") == [3]
    assert store.claim(nudge.part_id, "t", LONG, "d") == "early"


def test_waits_grow_with_every_failure_up_to_the_most(store: Store) -> None:
    waits = []
    for _ in range(5):
        waits.append(pause(store))
        store.redis.hset(f"{PREFIX}paused:d", "until", 0)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_failures_of_parts_that_were_on_their_way_count_once(store: Store) -> None:
    assert [round(pause(store), 1) for _ in range(3)] == [1.0, 1.0, 1.0]
    assert pause(store, 3.0) == 3.0, "it asked for more"


def test_one_part_at_a_time_tries_whether_a_destination_answers(store: Store, small_parts: None) -> None:
    owe(store, 20, "a")
    one, other = store.cut("a", ordered=False, destination="d")
    pause(store, 0.0)
    probe = store.claim(one.part_id, "probe", LONG, "d")
    assert isinstance(probe, Claim)
    assert store.claim(other.part_id, "eager", LONG, "d") == "early"
    store.settle(probe, delivered=10, destination="d")
    assert [nudge.part_id for nudge in store.sweep().parts] == [other.part_id], "it need not wait any longer"
    assert isinstance(store.claim(other.part_id, "next", LONG, "d"), Claim)
    assert store.snapshot()["paused"] == {}


def test_a_probe_whose_worker_died_is_followed_by_another(store: Store, small_parts: None) -> None:
    owe(store, 20, "a")
    one, other = store.cut("a", ordered=False, destination="d")
    pause(store, 0.0)
    assert isinstance(store.claim(one.part_id, "probe", LONG, "d"), Claim)
    store.release(one.part_id, "probe")
    assert isinstance(store.claim(other.part_id, "next", LONG, "d"), Claim)


def test_a_part_given_back_while_its_destination_is_paused_waits_for_that(store: Store) -> None:
    nudge = cut_one(store)
    held = store.claim(nudge.part_id, "t", LONG, "d")
    assert isinstance(held, Claim)
    pause(store, LONG)
    store.nack(held, delay=0.0, counted=False, error="503", destination="d")
    assert store.sweep().parts == []
    assert store.claim(nudge.part_id, "t2", LONG, "d") == "early"


# -- room --------------------------------------------------------------------------------------------


def test_dead_letters_that_find_no_room_keep_their_points_owed(store: Store) -> None:
    store.redis.hset(PREFIX + "marks", "letters", 400)
    batch_id = owe(store, 3, "a")
    (nudge,) = store.cut("a", ordered=True)
    held = claim(store, nudge.part_id)
    letters = [make_letter("a", row, batch_id) for row in range(3)]

    found = store.settle(held, delivered=0, letters=letters)

    assert found.verdict == "full"
    assert found.why.startswith("dead letters hold 0 of 400 bytes")
    assert report(store).owed == 3
    store.redis.hdel(PREFIX + "marks", "letters")
    assert store.settle(held, delivered=0, letters=letters).verdict == "settled"


def test_a_batch_whose_dead_letters_find_no_room_is_not_accepted_or_matched(store: Store) -> None:
    store.redis.hset(PREFIX + "marks", "letters", 50)
    busy = store.accept(str(ULID()), make_batch(), letters=[make_letter()])
    assert (busy.verdict, "replay or drop some" in busy.detail) == ("busy", True)
    waiting = accept(store, 1)
    assert store.match([Verdict(waiting, [], 0, 0, 1, [make_letter("a", 0, waiting)])]) == [False]
    assert report(store).waiting == 1


def test_the_door_is_closed_while_redis_itself_is_nearly_full(store: Store) -> None:
    used = store.redis.info("memory")["used_memory"]
    with configured(store, "maxmemory", int(used * 1.1)):
        store.watch_memory()
        busy = store.accept(str(ULID()), make_batch())
        assert (busy.verdict, busy.detail.startswith("Redis uses")) == ("busy", True)
    store.watch_memory()
    assert store.accept(str(ULID()), make_batch()).verdict == "accepted"
