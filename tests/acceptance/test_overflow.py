"""A route above its max_owed that lets its oldest points become dead letters on disk."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

import pytest
from ulid import ULID

import workers.overflow
from destinations import CSVDestination
from router.batch import BatchRows
from router.errors import FleetUnreachableError
from router.route import Route
from router.rows import Rows
from tests.acceptance.one_process import claim_all, ids, make_fleet, replay, work
from tests.make import make_batch
from workers.dead_letters import Filters, Letters, drop_letters
from workers.journey import Journey
from workers.overflow import overflow, read
from workers.records import Buried, Claim
from workers.report import RouteReport, report
from workers.store import Store

pytestmark = pytest.mark.usefixtures("account")


@pytest.fixture
def fleet(store: Store, tmp_path) -> Journey:
    """Give a fleet of one process whose only route, `full`, may owe 10 points."""
    route = Route(
        route_id="full",
        condition="true",
        destination=CSVDestination(tmp_path / "out", "{symbol}.csv", name="out", durability="process"),
        max_owed=10,
        at_max_owed="dead_letter",
    )
    return make_fleet(store, tmp_path / "fleet", route)


def owe(fleet: Journey, rows: int) -> str:
    """Have a batch accepted that the route owes; return its id."""
    batch_id = str(ULID())
    assert fleet.store.accept(batch_id, make_batch(rows)).verdict == "accepted"
    fleet.store.match(fleet.judge(fleet.store.take(100_000, 60))[0])
    return batch_id


def spill(fleet: Journey) -> int:
    return overflow(fleet.store, fleet.table.route("full"), fleet.folder)


def files(fleet: Journey) -> list[Path]:
    return sorted((fleet.folder / "dead-letters" / "full").glob("*"))


def route(fleet: Journey) -> RouteReport:
    return report(fleet.store, fleet.table).routes[0]


def make_old(path: Path) -> None:
    """Let a file be from yesterday."""
    os.utime(path, (0, 0))


def letters(fleet: Journey) -> list[Buried]:
    return list(Letters(fleet.store, Filters()).oldest_first())


def test_the_door_stays_open_and_the_oldest_points_go_to_a_file(fleet, store):
    batches = [owe(fleet, 6) for _ in range(3)]
    accepted = {b: int(store.redis.get(f"candlefleet:accepted:{b}")) for b in batches}

    assert store.accept(str(ULID()), make_batch(1)).verdict == "accepted"
    assert spill(fleet) == 10

    now = route(fleet)
    assert (now.matched, now.dead, now.owed) == (18, 10, 8)
    (letter,) = letters(fleet)
    assert (letter.rows, letter.codes, letter.route_id) == (10, ["owed.limit"], "full")
    held, digest = read(fleet.folder, letter), make_batch(6).parts[0].digest
    assert held.parts == (
        BatchRows(batches[0], Rows.all(6), accepted[batches[0]], digest),
        BatchRows(batches[1], Rows.all(4), accepted[batches[1]], digest),
    )
    assert held.frame.equals(make_batch(6).frame.vstack(make_batch(4).frame))
    (file,) = files(fleet)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file == fleet.folder / letter.file


def test_the_batches_of_a_file_are_still_owed_until_it_is_replayed_and_delivered(fleet, store):
    batches = [owe(fleet, 6) for _ in range(3)]
    spill(fleet)
    work(fleet)
    assert store.still_owed("full", batches) == set(batches[:2])
    replay(fleet)
    assert store.still_owed("full", batches) == set(batches[:2])
    work(fleet)
    assert store.still_owed("full", batches) == set()


def test_a_route_within_its_limit_keeps_all_of_its_points(fleet):
    owe(fleet, 10)
    assert spill(fleet) == 0
    assert files(fleet) == []


def test_the_rest_is_delivered_and_the_file_is_replayed_when_there_is_room(fleet, tmp_path):
    owe(fleet, 14)
    spill(fleet)
    work(fleet)
    assert (route(fleet).delivered, route(fleet).dead) == (8, 6)

    outcome = replay(fleet)
    work(fleet)

    assert outcome.replayed == Counter(full=6)
    assert letters(fleet) == []
    now = route(fleet)
    assert (now.replayed, now.delivered, now.owed, now.written) == (6, 14, 0, 14)
    assert len((tmp_path / "out" / "BTC%2FUSDT.csv").read_text().splitlines()) == 15


def test_the_file_of_a_replay_goes_a_minute_later(fleet):
    owe(fleet, 14)
    spill(fleet)
    (file,) = files(fleet)
    make_old(file)

    replay(fleet)
    work(fleet)
    spill(fleet)
    assert files(fleet) == [file], "a power cut may bring its letter back"

    make_old(file)
    spill(fleet)
    assert files(fleet) == []


def test_points_that_are_replayed_into_a_route_that_is_still_full_spill_again_under_their_names(fleet):
    batch_id = owe(fleet, 14)
    spill(fleet)
    replay(fleet)
    fleet.store.match(fleet.judge(fleet.store.take(1000, 60))[0])

    assert spill(fleet) == 6

    (letter,) = letters(fleet)
    assert [(part.batch_id, part.rows) for part in read(fleet.folder, letter).parts] == [
        (batch_id, Rows(range(6, 12)))
    ]
    assert (route(fleet).dead, route(fleet).replayed, route(fleet).owed) == (12, 6, 8)


def test_a_kill_after_the_file_was_written_leaves_the_points_owed_and_the_file_goes(
    fleet, store, monkeypatch
):
    owe(fleet, 14)
    with monkeypatch.context() as patch:
        patch.setattr(store, "spill", lambda *_: (_ for _ in ()).throw(FleetUnreachableError("killed")))
        with pytest.raises(FleetUnreachableError):
            spill(fleet)
    (orphan,) = files(fleet)
    assert (route(fleet).owed, letters(fleet)) == (14, [])

    work(fleet)
    spill(fleet)
    assert files(fleet) == [orphan], "its letter may be on the way"
    make_old(orphan)
    spill(fleet)

    assert files(fleet) == []
    assert route(fleet).delivered == 14


def test_a_kill_in_the_middle_of_the_file_leaves_the_points_owed(fleet, monkeypatch):
    owe(fleet, 14)
    with monkeypatch.context() as patch:
        patch.setattr(workers.overflow.os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            spill(fleet)
    (unfinished,) = files(fleet)
    assert unfinished.suffix == ".part"
    assert route(fleet).owed == 14

    make_old(unfinished)
    assert spill(fleet) == 6
    assert unfinished not in files(fleet)


def test_a_spill_whose_answer_was_lost_is_repeated_without_harm(fleet, store, monkeypatch):
    owe(fleet, 14)
    once = store.spill

    def twice(*arguments):
        assert once(*arguments) == ("spilled", "")
        return once(*arguments)

    monkeypatch.setattr(store, "spill", twice)
    assert spill(fleet) == 6
    assert len(files(fleet)) == 1
    assert (route(fleet).dead, route(fleet).owed) == (6, 8)


def test_points_that_are_cut_meanwhile_are_not_spilled_as_pending_ones(fleet, monkeypatch):
    owe(fleet, 14)
    write = workers.overflow._write

    def slowly(*arguments):
        write(*arguments)
        fleet.cut(["full"])

    with monkeypatch.context() as patch:
        patch.setattr(workers.overflow, "_write", slowly)
        patch.setattr(fleet.store, "parts", lambda _: [])
        assert spill(fleet) == 0

    assert (files(fleet), letters(fleet), route(fleet).in_parts) == ([], [], 14)


def test_parts_that_nobody_works_on_are_spilled_when_nothing_is_pending(fleet, store):
    batch_id = owe(fleet, 14)
    fleet.cut(["full"])
    store.pause("out", asked=60.0, first=60.0, most=60.0, error="503")

    assert spill(fleet) == 14

    (letter,) = letters(fleet)
    assert [(part.batch_id, part.rows) for part in read(fleet.folder, letter).parts] == [
        (batch_id, Rows.all(14))
    ]
    assert (route(fleet).dead, route(fleet).owed) == (14, 0)
    assert replay(fleet).replayed == Counter(full=14)


def test_a_part_whose_spill_was_answered_in_vain_keeps_its_file(fleet, store, monkeypatch):
    owe(fleet, 14)
    fleet.cut(["full"])
    once = store.settle

    def twice(*arguments, **options):
        assert once(*arguments, **options).verdict == "settled"
        return once(*arguments, **options)

    monkeypatch.setattr(store, "settle", twice)

    assert spill(fleet) == 14
    (letter,) = letters(fleet)
    assert len(read(fleet.folder, letter)) == 14


def test_points_in_work_are_left_alone(fleet):
    owe(fleet, 5)
    claim, _ = claim_all(fleet)
    owe(fleet, 14)

    assert spill(fleet) == 11

    fleet.store.settle(claim, delivered=5)
    now = route(fleet)
    assert (now.delivered, now.dead, now.owed) == (5, 11, 3)


def test_points_whose_batch_is_lost_have_letters_of_their_own(fleet, store):
    lost = owe(fleet, 3)
    owe(fleet, 11)
    store.redis.hdel(f"candlefleet:batch:{lost}", "data")

    assert spill(fleet) == 6

    assert Counter(code for letter in letters(fleet) for code in letter.codes) == {
        "batch.missing": 3,
        "owed.limit": 1,
    }
    assert [letter.rows for letter in letters(fleet)] == [1, 1, 1, 3]
    missing = [letter.letter_id for letter in letters(fleet)][:3]
    store.drop(missing)
    (file,) = files(fleet)
    make_old(file)
    spill(fleet)
    assert files(fleet) == [file]


def test_a_file_on_another_host_stays_and_the_host_is_named(fleet, monkeypatch):
    owe(fleet, 14)
    with monkeypatch.context() as patch:
        patch.setattr(workers.overflow.socket, "gethostname", lambda: "elsewhere")
        spill(fleet)

    outcome = replay(fleet)

    ((why, rows),) = outcome.stay.items()
    assert rows == 6
    assert why.startswith("lie on elsewhere in dead-letters/full/")


def test_a_damaged_file_stays(fleet):
    owe(fleet, 14)
    spill(fleet)
    (file,) = files(fleet)
    file.write_bytes(file.read_bytes()[:-40])

    outcome = replay(fleet)

    assert outcome.replayed == Counter()
    assert len(letters(fleet)) == 1
    assert next(iter(outcome.stay)).startswith("cannot be read from")


def test_dropping_the_letter_removes_the_file(fleet, store):
    owe(fleet, 14)
    spill(fleet)

    dropped = list(
        drop_letters(store, Letters(store, Filters(ids=tuple(ids(store)))).oldest_first(), fleet.folder)
    )

    assert dropped == [(1, 1)]
    assert files(fleet) == []
    assert store.spilled() == set()


def test_a_disk_that_cannot_be_written_leaves_the_points_owed_and_is_told(fleet, caplog):
    owe(fleet, 14)
    fleet.folder.parent.mkdir(exist_ok=True)
    fleet.folder.write_text("a file where the folder should be")

    assert spill(fleet) == 0

    assert route(fleet).owed == 14
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("CRITICAL", "Overflow not written.")
    assert str(fleet.folder) in record.error


def test_dead_letters_that_are_full_leave_the_points_owed(fleet, store):
    owe(fleet, 14)
    store.redis.hset("candlefleet:marks", "letters", 1)

    assert spill(fleet) == 0

    assert (route(fleet).owed, files(fleet)) == (14, [])


def test_a_sweep_looks_after_it(fleet):
    owe(fleet, 14)
    fleet.store.redis.hdel("candlefleet:known", "full")  # no worker serves it, so nothing is cut
    fleet.sweep()
    assert (route(fleet).dead, route(fleet).owed) == (6, 8)


def test_a_part_that_holds_replayed_and_new_rows_of_one_batch_writes_each_once(fleet):
    owe(fleet, 14)
    spill(fleet)
    replay(fleet)
    claim, held = claim_all(fleet)
    assert isinstance(claim, Claim)
    assert [part.rows for part in held.parts] == [Rows(range(6, 14)), Rows(range(6))]
    written = fleet.deliveries.destinations.write(fleet.table, "full", held, None)
    assert written.error is None
    fleet.store.settle(claim, delivered=14)
    assert route(fleet).written == 14
