"""The stream that others write to: guarded by a function, read oldest first, each entry accepted once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from ulid import ULID

from router.decode import LIMITS
from tests.make import make_point
from tests.make_messages import ONE, TOO_MANY, UNREADABLE, bytes_kept
from workers.ingest import Ingest
from workers.records import Nudge
from workers.report import report
from workers.store import PREFIX, Store

INGRESS = PREFIX + "ingress"

BAD: list[tuple[str, bytes, str]] = [
    *UNREADABLE,
    ("S062", json.dumps([{"symbol": "x" * 5_000_000}]).encode(), "envelope.size"),
    ("S063", TOO_MANY, "batch.too_many"),
]


@pytest.fixture(autouse=True)
def account(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Open the doors before a test, which may take its time; after it the fleet's account adds up."""
    monkeypatch.setattr("workers.ingest.TURN", 60.0)
    store.open_doors()
    yield
    assert report(store).broken == []


def small(store: Store, memory: int) -> Store:
    """Return the same store with another budget, of which new batches may fill 60 %."""
    tight = Store(store.redis, memory=memory)
    tight.open_doors()
    return tight


def add(store: Store, points: Any, *more: str) -> str:
    """Add a message as any client of any language does; return the entry's id."""
    text = points if isinstance(points, bytes) else json.dumps(points)
    entry: bytes = store.redis.execute_command("FCALL", "candlefleet_add", 1, INGRESS, text, *more)
    return entry.decode()


class Post:
    """Keeps what was asked for."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def router(self) -> None:
        self.sent.append("router")

    def stream(self) -> None:
        self.sent.append("stream")

    def parts(self, nudges: Sequence[Nudge], *, whole_flush: bool = False) -> None:
        raise AssertionError("the stream has no parts")


def ingest(store: Store) -> list[str]:
    """Take what waits; return what was asked for."""
    post = Post()
    Ingest(store, post).run()
    return post.sent


def waiting(store: Store) -> list[str]:
    """Return the ids of the batches that wait for the router, oldest first."""
    return [batch.batch_id for batch in store.take(1000, 0.0)]


def letters(store: Store) -> list[dict[str, Any]]:
    """Return every dead letter, oldest first."""
    return list(reversed(list(store.letters(1000))))


# -- in ----------------------------------------------------------------------------------------


def test_what_is_added_is_accepted_once_and_the_router_is_told(store: Store) -> None:
    entry = add(store, [ONE])
    assert ingest(store) == ["router"]
    assert waiting(store) == [f"stream-{entry}"]
    assert store.redis.xlen(INGRESS) == 0
    assert ingest(store) == []
    assert report(store).accepted == 1


def test_entries_are_taken_oldest_first(store: Store) -> None:
    entries = [add(store, [ONE]) for _ in range(20)]
    ingest(store)
    assert waiting(store) == [f"stream-{entry}" for entry in entries]


def test_an_id_given_twice_adds_nothing_the_second_time(store: Store) -> None:
    add(store, [ONE], "order-7")
    add(store, [ONE], "order-7")
    ingest(store)
    add(store, [ONE], "order-7")
    ingest(store)
    assert waiting(store) == ["order-7"]
    assert report(store).accepted == 1
    assert store.redis.xlen(INGRESS) == 0


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "é", "a\nb"])
def test_an_id_that_can_name_no_batch_is_passed_over(store: Store, name: str) -> None:
    entry = add(store, [ONE], name)
    ingest(store)
    assert waiting(store) == [f"stream-{entry}"]


@pytest.mark.parametrize("field", ["json", "data", "payload"])
def test_plain_xadd_works_too_whatever_its_only_field_is_called(store: Store, field: str) -> None:
    store.redis.xadd(INGRESS, {field: json.dumps(ONE)})
    ingest(store)
    assert report(store).accepted == 1


def test_a_point_that_is_refused_costs_its_neighbours_nothing(store: Store) -> None:
    entry = add(store, [ONE, ONE | {"close": "?"}, ONE])
    ingest(store)
    (letter,) = letters(store)
    assert (letter["where"], letter["row"], letter["reasons"][0]["field"]) == (f"stream {entry}", 1, "close")
    assert (report(store).accepted, report(store).invalid) == (3, 1)


# -- what cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize(("data", "code"), [pytest.param(*case[1:], id=case[0]) for case in BAD])
def test_a_message_that_cannot_be_read_is_one_dead_letter_and_the_next_is_taken(
    store: Store, data: bytes, code: str
) -> None:
    before, bad, after = (add(store, message) for message in ([ONE], data, [ONE]))
    ingest(store)
    assert waiting(store) == [f"stream-{before}", f"stream-{after}"]
    (letter,) = letters(store)
    assert [reason["code"] for reason in letter["reasons"]] == [code]
    assert letter["where"] == f"stream {bad}"
    assert letter["route_id"] == ""
    assert bytes_kept(letter["original"]) == data
    assert store.redis.xlen(INGRESS) == 0


def test_an_entry_of_other_fields_is_a_dead_letter_that_keeps_them(store: Store) -> None:
    store.redis.xadd(INGRESS, {"symbol": "BTC/USDT", "close": b"\xff"})
    ingest(store)
    (letter,) = letters(store)
    assert letter["original"] == {"symbol": "BTC/USDT", "close": {"base64": "/w=="}}
    assert letter["reasons"][0]["code"] == "envelope.shape"


def test_a_bad_message_does_not_use_up_the_id_that_was_given_with_it(store: Store) -> None:
    add(store, b"[", "order-7")
    ingest(store)
    add(store, [ONE], "order-7")
    ingest(store)
    assert waiting(store) == ["order-7"]


def test_an_id_older_than_the_fleet_remembers_is_a_dead_letter(store: Store) -> None:
    add(store, [ONE], str(ULID.from_timestamp(1_600_000_000)))
    ingest(store)
    (letter,) = letters(store)
    assert letter["reasons"][0]["code"] == "batch.expired"
    assert json.loads(letter["original"]) == [ONE]
    assert store.redis.xlen(INGRESS) == 0


# -- the guard ---------------------------------------------------------------------------------


def test_the_bytes_of_an_entry_are_held_until_it_is_taken(store: Store) -> None:
    text = json.dumps([ONE] * 50)
    add(store, text.encode())
    assert report(store).bytes == len(text)
    ingest(store)
    assert report(store).bytes == len(store.redis.hget(PREFIX + f"batch:{waiting(store)[0]}", "data"))


def test_above_the_high_mark_the_function_answers_busy_and_adds_nothing(store: Store) -> None:
    text = json.dumps([ONE] * 20)
    tight = small(store, memory=len(text) * 4)  # two and not three are within 60 %
    add(tight, text.encode())
    add(tight, text.encode())
    with pytest.raises(redis.ResponseError, match=r"^BUSY \d+ of \d+ bytes are held"):
        add(tight, text.encode())
    assert store.redis.xlen(INGRESS) == 2


def test_a_fleet_that_holds_nothing_but_its_stream_drains_and_opens_again(store: Store) -> None:
    text = json.dumps([ONE] * 200)
    tight = small(store, memory=len(text) * 4)
    for _ in range(2):
        add(tight, text.encode())
    with pytest.raises(redis.ResponseError, match="BUSY"):
        add(tight, text.encode())
    ingest(tight)
    assert store.redis.xlen(INGRESS) == 0
    add(tight, text.encode())
    assert store.redis.xlen(INGRESS) == 1


def test_entries_that_nobody_counted_wait_while_the_fleet_is_busy(store: Store) -> None:
    tight = small(store, memory=100_000)
    store.redis.set(PREFIX + "closed", 1)
    store.redis.hset(PREFIX + "totals", "bytes", 55_000)
    store.redis.xadd(INGRESS, {"json": json.dumps([ONE])})
    assert ingest(tight) == []
    assert store.redis.xlen(INGRESS) == 1
    store.redis.hset(PREFIX + "totals", "bytes", 0)
    assert ingest(tight) == ["router"]
    assert store.redis.xlen(INGRESS) == 0


def test_a_route_that_owes_too_much_closes_this_door_too(store: Store) -> None:
    add(store, [ONE])
    store.redis.sadd(PREFIX + "full", "slow")
    with pytest.raises(redis.ResponseError, match=r"^BUSY route slow owes more"):
        add(store, [ONE])
    ingest(store)
    assert store.redis.xlen(INGRESS) == 1


def test_a_redis_that_is_nearly_full_closes_this_door_and_drains(store: Store) -> None:
    add(store, [ONE])
    store.redis.set(PREFIX + "crowded", "Redis uses 9 of 10 bytes")
    with pytest.raises(redis.ResponseError, match=r"^BUSY Redis uses 9 of 10 bytes"):
        add(store, [ONE])
    ingest(store)
    assert store.redis.xlen(INGRESS) == 0


def test_a_bad_message_without_room_for_its_letter_waits(store: Store) -> None:
    add(store, b"[")
    store.redis.hset(PREFIX + "marks", "letters", 10)
    ingest(store)
    assert (store.redis.xlen(INGRESS), letters(store)) == (1, [])
    store.redis.hdel(PREFIX + "marks", "letters")
    ingest(store)
    assert (store.redis.xlen(INGRESS), len(letters(store))) == (0, 1)


def test_a_message_beyond_the_limit_is_refused_by_its_size(store: Store) -> None:
    with pytest.raises(redis.ResponseError, match=r"^SIZE \d+ bytes are more than the \d+"):
        add(store, b" " * (LIMITS.bytes + 1))
    assert store.redis.exists(INGRESS) == 0


def test_bytes_of_entries_that_somebody_deleted_are_forgotten(store: Store) -> None:
    for _ in range(3):
        add(store, [ONE])
    store.redis.delete(INGRESS)
    add(store, [ONE])
    assert report(store).bytes == len(json.dumps([ONE]))


def test_before_any_worker_has_started_the_function_is_busy(store: Store) -> None:
    store.redis.delete(PREFIX + "marks")
    with pytest.raises(redis.ResponseError, match=r"^BUSY no worker has started yet"):
        add(store, [ONE])


@pytest.mark.parametrize(
    "arguments", [(0, "[]"), (1, INGRESS), (1, "other", "[]"), (1, INGRESS, "[]", "id", "more")]
)
def test_a_call_of_the_wrong_shape_is_told_the_right_one(store: Store, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(redis.ResponseError, match="FCALL candlefleet_add 1 candlefleet:ingress"):
        store.redis.execute_command("FCALL", "candlefleet_add", *arguments)


# -- turns -------------------------------------------------------------------------------------


def test_a_sweep_knocks_once_while_something_waits(store: Store) -> None:
    assert not store.knocked()
    add(store, [ONE])
    assert [store.knocked() for _ in range(3)] == [True, False, False]


def test_a_task_that_cannot_take_everything_in_its_turn_asks_for_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.ingest.TURN", 0.0)
    for row in range(3):
        add(store, [make_point(row=row).to_json_dict()])
    assert ingest(store) == ["router", "stream"]


def test_of_two_that_read_the_same_entry_one_has_it_accepted(store: Store) -> None:
    add(store, [ONE])
    (entry,) = store.ingress()
    first, second = Ingest(store, Post()), Ingest(store, Post())
    assert first._take(entry)
    assert second._take(entry)
    assert report(store).accepted == 1


def test_large_entries_are_read_one_at_a_time(store: Store) -> None:
    for _ in range(3):
        store.redis.xadd(INGRESS, {"json": b" " * 1000})
    assert [len(store.ingress(size=size)) for size in (1, 2500, 10_000)] == [1, 2, 3]
