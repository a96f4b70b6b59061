"""Dead letters on a real Redis: found, replayed under the names they had, dropped, and accounted for."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from ulid import ULID

from destinations import CSVDestination
from router.batch import BatchRows, PointBatch
from router.errors import ConfigError
from router.route import Route
from router.rows import Rows
from tests.acceptance.one_process import Silent, claim_all, ids, make_fleet, replay, work
from tests.make import make_batch, make_frame, make_point
from workers import store as store_module
from workers.dead_letters import Filters, Letters, drop_letters, seconds, tally
from workers.journey import Journey
from workers.letters import letter_for
from workers.records import Claim, Letter
from workers.replay import Replayed, Replayer
from workers.report import report
from workers.store import PREFIX, Store

REASON = {"code": "destination.refused", "field": "", "message": "no"}


pytestmark = pytest.mark.usefixtures("account")


@pytest.fixture
def fleet(store: Store, tmp_path) -> Journey:
    """Give a fleet of one process; its route `all` takes everything, `big` what has a large volume."""
    exports = CSVDestination(tmp_path, "{symbol}.csv", name="exports", durability="process")
    return make_fleet(
        store,
        tmp_path,
        Route(route_id="all", condition="true", destination=exports),
        Route(route_id="big", condition=is_big, destination=exports, enabled=False),
    )


def write(fleet: Journey, batch: PointBatch) -> None:
    """Write a batch to the destination of the route `all`."""
    assert fleet.deliveries.destinations.write(fleet.table, "all", batch, None).error is None


def prune(fleet: Journey) -> int:
    """Let the destination forget what is settled, however young; return how many batches."""
    return fleet.deliveries.destinations.prune("exports", timedelta(seconds=-1), fleet.store.still_owed)


def is_big(point) -> bool:
    return point.volume > 100


def kill_rows(fleet: Journey, batch: PointBatch, *rows: int, code: str = "destination.refused") -> str:
    """Have a batch accepted, let some of its rows die for the route `all`; the others are delivered."""
    batch_id = str(ULID())
    fleet.store.accept(batch_id, batch)
    claim, held = claim_all(fleet)
    letters = [letter_for("all", held, row, code, "no") for row in rows]
    write(fleet, held.filter(~Rows.all(len(held)).within(Rows(rows))))
    fleet.store.settle(claim, delivered=len(held) - len(rows), letters=letters)
    return batch_id


def refuse(store: Store, *originals: str, code: str = "number.format", row: int = 0) -> None:
    """Have points or messages refused at the door."""
    reasons = [{"code": code, "field": "close", "message": "no"}]
    batch_id = str(ULID())
    letters = [Letter("", original, reasons, "", batch_id, row) for original in originals]
    store.accept(batch_id, make_batch(0), letters=letters)


# -- found ----------------------------------------------------------------------------------------


def test_letters_are_found_by_route_and_by_the_beginning_of_a_reason(store):
    for route_id, code in (
        ("a", "transform"),
        ("a", "destination.refused"),
        ("b", "destinations"),
        ("", "range"),
    ):
        store.accept(str(ULID()), make_batch(0), letters=[Letter(route_id, {}, [{"code": code}])])
    first, second, third, fourth = ids(store)

    assert ids(store, route="a") == [first, second]
    assert ids(store, route="-") == [fourth]
    assert ids(store, reason="destination") == [second]
    assert ids(store, reason="destination.refused", route="a") == [second]
    assert ids(store, reason="destination.refused", route="b") == []
    assert ids(store, ids=(third, first)) == [first, third]
    assert [x.letter_id for x in Letters(store, Filters()).newest_first()] == [fourth, third, second, first]


def test_letters_are_found_by_age(store):
    stream, now = PREFIX + "dead", int(store.now() * 1000)
    for minutes in (90, 45, 1):
        letter = Letter("a", {}, [REASON]).to_json()
        store.redis.xadd(stream, {"route": "a", "letter": letter}, id=f"{now - minutes * 60_000}-0")
        store.redis.hincrby(PREFIX + "totals", "letters", 1)
    old, middle, young = ids(store)

    assert ids(store, older_than=3600.0) == [old]
    assert ids(store, newer_than=3600.0) == [middle, young]
    assert ids(store, newer_than=3600.0, older_than=600.0) == [middle]
    assert ids(store, newer_than=3600.0, ids=(old, young)) == [young]


def test_letters_are_read_some_at_a_time_and_none_is_missed(store, monkeypatch):
    monkeypatch.setattr(store_module, "LETTERS_AT_A_TIME", 7)
    letters = [Letter("a" if row % 2 else "b", {}, [REASON], row=row) for row in range(50)]
    store.accept(str(ULID()), make_batch(0), letters=letters)

    found = Letters(store, Filters())

    assert [letter.kept["row"] for letter in found.oldest_first()] == list(range(50))
    assert [letter.kept["row"] for letter in found.newest_first()] == list(reversed(range(50)))
    counted = tally(found.oldest_first())
    assert (counted.letters, counted.by_route) == (50, Counter(a=25, b=25))
    assert counted.bytes == store.snapshot()["totals"]["bytes"]


def test_letters_that_come_later_are_not_meant(store):
    refuse(store, "first")
    letters = Letters(store, Filters())
    refuse(store, "second")
    assert [letter.kept["original"] for letter in letters.oldest_first()] == ["first"]


def test_an_id_that_is_none_is_named(store):
    with pytest.raises(ConfigError, match=r"12x: is no id of a dead letter"):
        Letters(store, Filters(ids=("12x",)))


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1d12h", 129_600), ("0.5h", 1800)]
)
def test_a_duration_is_read(text, expected):
    assert seconds(text, "--older-than") == expected


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "2w", "-2h", "2h!"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigError, match="write it like 30s"):
        seconds(text, "--older-than")


# -- replayed -------------------------------------------------------------------------------------


def test_a_replayed_row_is_written_once_under_the_name_it_had(fleet, tmp_path):
    sent = make_frame(4, volume=None)
    batch_id = kill_rows(fleet, PointBatch(sent), 1, 3)
    died, _ = Letters(fleet.store, Filters()).oldest_first()
    accepted_as = int(fleet.store.redis.get(f"{PREFIX}accepted:{batch_id}"))

    outcome = replay(fleet)
    claim, held = claim_all(fleet)

    assert (outcome.replayed, outcome.stay, outcome.gone) == (Counter(all=2), Counter(), 0)
    assert held.frame.equals(sent[[1, 3]])
    assert held.parts == (BatchRows(batch_id, Rows([1, 3]), accepted_as, PointBatch(sent).digest()),)
    assert died.name == BatchRows(batch_id, Rows([1]), accepted_as, PointBatch(sent).digest())
    write(fleet, held)
    fleet.store.settle(claim, delivered=2)
    route = next(route for route in report(fleet.store, fleet.table).routes if route.route_id == "all")
    assert (route.matched, route.replayed, route.delivered, route.dead) == (4, 2, 4, 2)
    assert len(next(tmp_path.glob("*.csv")).read_text().splitlines()) == 5
    assert list(fleet.store.letters()) == []


def test_a_row_that_had_been_written_after_all_is_not_written_again(fleet, tmp_path):
    fleet.store.accept(str(ULID()), make_batch(3))
    claim, held = claim_all(fleet)
    write(fleet, held)
    letters = [letter_for("all", held, row, "retries.exhausted", "reset after commit") for row in range(3)]
    fleet.store.settle(claim, delivered=0, letters=letters)
    (file,) = tmp_path.glob("*.csv")
    before = file.read_bytes()

    replay(fleet)
    work(fleet)

    assert file.read_bytes() == before
    assert report(fleet.store).at_rest


def test_rows_of_several_batches_travel_together_by_the_order_of_their_acceptance(fleet):
    first = kill_rows(fleet, make_batch(3), 2, 0)
    second = kill_rows(fleet, make_batch(3, symbols=["ETH/USDT"]), 1)

    replay(fleet)
    _, held = claim_all(fleet)

    assert [(part.batch_id, part.rows) for part in held.parts] == [(first, Rows([0, 2])), (second, Rows([1]))]
    assert held.parts[0].number < held.parts[1].number


def test_a_replayed_row_that_dies_again_can_be_replayed_again(fleet):
    batch_id = kill_rows(fleet, make_batch(3), 2)
    for _ in range(3):
        replay(fleet)
        claim, held = claim_all(fleet)
        fleet.store.settle(claim, delivered=0, letters=[letter_for("all", held, 0, "transform", "again")])
        (letter,) = fleet.store.letters()
        assert (letter["batch_id"], letter["row"]) == (batch_id, 2)
    route = next(r for r in report(fleet.store).routes if r.route_id == "all")
    assert (route.dead, route.replayed, route.owed) == (4, 3, 0)


def test_replayed_rows_split_and_cut_in_any_way_keep_their_names(fleet):
    batch_id = kill_rows(fleet, make_batch(9), *range(1, 9))
    replay(fleet)
    claim, _ = claim_all(fleet)

    halves, found = [], fleet.store.split(claim, 3)
    while found.nudges:
        (nudge,) = found.nudges
        half = fleet.store.claim(nudge.part_id, "token", 60)
        assert isinstance(half, Claim)
        halves += fleet.store.load(half).parts
        found = fleet.store.settle(half, delivered=nudge.rows)

    assert [(part.batch_id, part.rows) for part in halves] == [
        (batch_id, Rows([1, 2, 3])),
        (batch_id, Rows([4, 5, 6, 7, 8])),
    ]


def test_a_letter_is_replayed_for_its_own_route_only(fleet, store, tmp_path):
    other = CSVDestination(tmp_path / "other", name="other", durability="process")
    both = make_fleet(
        store, tmp_path, fleet.table.route("all"), Route(route_id="more", condition="true", destination=other)
    )
    store.accept(str(ULID()), make_batch(2))
    both.route()
    for part in store.redis.zrange(PREFIX + "parts", 0, -1):
        claim = store.claim(part.decode(), "t", 60)
        held = store.load(claim)
        letters = [letter_for("all", held, 0, "transform", "no")] if claim.route_id == "all" else []
        store.settle(claim, delivered=2 - len(letters), letters=letters)

    replay(both)
    both.route()

    assert {r.route_id: r.owed for r in report(store).routes} == {"all": 1, "more": 0}


def test_conditions_that_failed_are_asked_again(fleet, store):
    volumes = [None, 5.0, 500.0]
    points = [make_point(row=row, volume=volume) for row, volume in enumerate(volumes)]
    batch_id = str(ULID())
    store.accept(batch_id, PointBatch.of(points))
    fleet.table.route("all").enabled = False
    fleet.route()
    named = PointBatch.of(points).accepted_as(batch_id)
    letters = [letter_for("big", named, row, "condition.error", "broken") for row in range(3)]
    store.accept(str(ULID()), make_batch(0), letters=letters)

    outcome = replay(fleet, route="big")
    fleet.route()

    assert outcome.replayed == Counter(big=3)
    big = next(route for route in report(store).routes if route.route_id == "big")
    assert (big.matched, big.replayed, big.owed, big.failed) == (1, 0, 1, 1), "500 matches, None raises again"
    (letter,) = store.letters()
    assert (letter["batch_id"], letter["row"], letter["reasons"][0]["code"]) == (
        batch_id,
        0,
        "condition.error",
    )


def test_a_route_that_is_gone_keeps_its_letters_and_the_nearest_is_named(fleet, store):
    letter = letter_for("al", make_batch(1), 0, "transform", "no")
    store.accept(str(ULID()), make_batch(0), letters=[letter])

    outcome = replay(fleet)

    assert outcome.stay == Counter({"al: no route has this id (did you mean 'all'?)": 1})
    assert len(ids(store)) == 1


def test_a_worker_that_no_longer_knows_the_route_gives_the_letter_back(fleet, store, tmp_path):
    other = CSVDestination(tmp_path / "other", name="other")
    stale = make_fleet(store, tmp_path, Route(route_id="other", condition="true", destination=other))
    kill_rows(fleet, make_batch(2), 1)
    letter = letter_for("big", make_batch(1), 0, "condition.error", "no")
    store.accept(str(ULID()), make_batch(0), letters=[letter])
    replay(fleet)

    stale.route()

    assert {r.route_id: r.owed for r in report(store).routes} == {"all": 1, "big": 0}
    assert [letter["reasons"][0]["message"] for letter in store.letters()] == [
        "this worker's routes file has no such route any more"
    ]


def test_a_letter_without_its_original_stays(fleet, store):
    reasons = [{"code": "batch.missing", "field": "", "message": "gone"}]
    store.accept(str(ULID()), make_batch(0), letters=[Letter("all", None, reasons)])
    kill_rows(fleet, make_batch(2), 0)

    outcome = replay(fleet)

    assert (outcome.replayed, outcome.stay) == (Counter(all=1), Counter({"no original was kept": 1}))
    assert [letter["original"] for letter in store.letters()] == [None]


def test_a_dry_run_changes_nothing(fleet, store):
    kill_rows(fleet, make_batch(3), 0, 1)
    refuse(store, make_point().model_dump_json(), '{"close": 1}')
    before = store.snapshot()["totals"], list(store.letters())

    outcome = replay(fleet, dry_run=True)

    assert outcome.replayed == Counter({"all": 2, "-": 1})
    assert sum(outcome.stay.values()) == 1
    assert (store.snapshot()["totals"], list(store.letters())) == before


def test_points_refused_at_the_door_are_judged_by_todays_rules(fleet, store):
    good = PointBatch.of([make_point()]).to_json()[1:-1]
    refuse(store, good, '{"symbol": "X"}', "not json", "")

    outcome = replay(fleet)
    fleet.route()

    assert outcome.replayed == Counter({"-": 1})
    assert sum(outcome.stay.values()) == 3
    assert any(why.startswith("still invalid: required timestamp") for why in outcome.stay), outcome.stay
    assert [letter["original"] for letter in reversed(list(store.letters()))] == [
        '{"symbol": "X"}',
        "not json",
        "",
    ]
    now = report(store)
    assert (now.accepted, now.replayed, now.invalid, now.matched) == (4, 1, 4, 1)


def test_a_message_that_can_be_read_now_lets_its_good_points_in_and_buries_the_others(fleet, store):
    good = PointBatch.of([make_point()]).to_json()[1:-1]
    refuse(store, f'[{good}, {{"close": "?"}}]', code="envelope.size", row=-1)

    outcome = replay(fleet)

    assert outcome.replayed == Counter({"-": 2})
    (letter,) = store.letters()
    assert letter["original"] == '{"close": "?"}'
    now = report(store)
    assert (now.replayed, now.invalid, now.waiting) == (2, 2, 1)


def bury_message(store: Store, original: Any, where: str, code: str = "envelope.shape") -> None:
    letter = Letter("", original, [{"code": code, "field": "", "message": "no"}], where, "message")
    store.accept(str(ULID()), make_batch(0), letters=[letter])


def make_message(body: str) -> str:
    """Return a Celery message as it lies in a Redis queue."""
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "router.route_points", "id": "message", "lang": "py"},
            "properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {}},
        }
    )


GOOD = PointBatch.of([make_point()]).to_json()
BODY = f"[[{GOOD}], {{}}, {{}}]"


@pytest.mark.parametrize(
    ("original", "where"),
    [
        pytest.param(make_message(BODY), "queue points", id="a whole message"),
        pytest.param(BODY, "queue points", id="the body of a task that failed"),
        pytest.param(GOOD, "stream 1-1", id="an entry of the stream"),
        pytest.param({"base64": base64.b64encode(GOOD.encode()).decode()}, "stream 1-1", id="bytes"),
    ],
)
def test_a_message_is_read_again_whatever_door_it_came_to(original, where, fleet, store):
    bury_message(store, original, where)

    assert replay(fleet).replayed == Counter({"-": 1})

    fleet.route()
    assert (report(store).matched, list(store.letters())) == (1, [])


@pytest.mark.parametrize(
    ("original", "where", "why"),
    [
        ({"beginning": "[", "bytes": 10**9}, "stream 1-1", "only the beginning was kept"),
        ({"base64": "//4="}, "stream 1-1", "envelope.encoding"),
        ("{}", "queue points", "envelope"),
        ("[1, 2]", "queue points", "envelope"),
        ("[]", "stream 1-1", "hold no points"),
        ({"field": "value"}, "stream 1-1", "still invalid: required"),
    ],
)
def test_a_message_that_still_cannot_be_read_stays(original, where, why, fleet, store):
    bury_message(store, original, where)

    outcome = replay(fleet)

    assert outcome.replayed == Counter()
    ((told, count),) = outcome.stay.items()
    assert count == 1
    assert why in told
    assert len(list(store.letters())) == 1


def test_replaying_more_letters_than_one_step_takes(fleet, store, monkeypatch):
    monkeypatch.setattr("workers.replay.LETTERS_AT_A_TIME", 7)
    kill_rows(fleet, make_batch(40), *range(40))

    outcome = replay(fleet)
    work(fleet)

    assert outcome.replayed == Counter(all=40)
    assert report(store, fleet.table).at_rest
    assert list(store.letters()) == []


def test_two_replays_at_once_replay_each_letter_once(fleet, redis_url, monkeypatch):
    monkeypatch.setattr("workers.replay.LETTERS_AT_A_TIME", 5)
    kill_rows(fleet, make_batch(60), *range(60))
    both, outcomes = threading.Barrier(2), []

    def run() -> None:
        mine = Journey(Store.connect(redis_url), fleet.table, Silent(), folder=fleet.folder)
        both.wait()
        outcomes.append(replay(mine))
        mine.store.redis.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(outcome.replayed["all"] for outcome in outcomes) == 60
    work(fleet)
    route = next(r for r in report(fleet.store, fleet.table).routes if r.route_id == "all")
    assert (route.replayed, route.delivered, route.written) == (60, 60, 60)


def test_letters_that_somebody_else_took_meanwhile_do_not_hold_up_the_others(fleet, store):
    kill_rows(fleet, make_batch(4), *range(4))
    letters = list(Letters(store, Filters()).oldest_first())
    store.drop([letters[1].letter_id, letters[2].letter_id])

    (done,) = Replayer(store, fleet.table, fleet.folder).replay(iter(letters))

    assert done == (4, Replayed(Counter(all=2), Counter(), 2))


def test_a_replay_whose_answer_was_lost_is_repeated_without_harm(fleet, store, monkeypatch):
    kill_rows(fleet, make_batch(4), *range(4))
    once = store.replay

    def twice(revival):
        assert once(revival) == []
        return once(revival)

    monkeypatch.setattr(store, "replay", twice)
    assert replay(fleet).replayed == Counter(all=4)
    work(fleet)
    route = next(r for r in report(store, fleet.table).routes if r.route_id == "all")
    assert (route.replayed, route.written) == (4, 4)


def test_rows_written_after_all_are_not_doubled_by_a_replay_whatever_was_pruned(fleet, store):
    batch_id = str(ULID())
    store.accept(batch_id, make_batch(5))
    claim, held = claim_all(fleet)
    write(fleet, held.slice(0, 4))  # the answer was lost, and the rows were given up
    letters = [letter_for("all", held, row, "retries.exhausted", "no") for row in (2, 3, 4)]
    store.settle(claim, delivered=2, letters=letters)
    other = kill_rows(fleet, make_batch(3, ["ETH"]))

    assert prune(fleet) == 1
    assert store.still_owed("all", [batch_id, other]) == {batch_id}
    assert replay(fleet).replayed == Counter(all=3)
    assert prune(fleet) == 0
    work(fleet)

    assert fleet.deliveries.destinations.prune("exports", timedelta(days=1), store.still_owed) == 0
    assert prune(fleet) == 1
    assert len((fleet.folder / "BTC%2FUSDT.csv").read_text().splitlines()) == 1 + 5
    now = report(store, fleet.table)
    assert (now.routes[0].delivered, now.routes[0].written, now.broken) == (8, 8, [])


# -- dropped --------------------------------------------------------------------------------------


def test_dropped_letters_are_gone_and_stay_counted_as_dead(fleet, store):
    kill_rows(fleet, make_batch(5), 0, 1, 2)
    held = store.snapshot()["totals"]["bytes"]
    assert held > 0

    dropped = list(
        drop_letters(store, Letters(store, Filters(ids=tuple(ids(store)[:2]))).oldest_first(), fleet.folder)
    )

    assert dropped == [(2, 2)]
    assert len(ids(store)) == 1
    drop = list(drop_letters(store, Letters(store, Filters()).oldest_first(), fleet.folder))
    assert drop == [(1, 1)]
    now = report(store)
    assert (now.bytes, now.dead_letters) == (0, 0)
    assert next(r for r in now.routes if r.route_id == "all").dead == 3
