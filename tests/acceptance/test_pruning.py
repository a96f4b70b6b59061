"""Destinations forget what was written long ago and nobody owes any more, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from ulid import ULID

from destinations import CSVDestination
from router.batch import PointBatch
from router.errors import FleetUnreachableError
from router.route import Route
from router.table import RouteTable
from tests.acceptance.fleet_fixture import Crew, crew_at_work, frame_of_csv, until
from tests.acceptance.one_process import Silent, make_fleet, work
from tests.make import make_batch, make_frame
from workers.journey import Journey
from workers.report import report
from workers.store import PREFIX, Store

ROUTES = Path(__file__).with_name("pruning_fleet.yaml")
DAY = 86_400
LEDGER = ("written", "at")
RECORDS = ("ohlcv_written", "written_at")


def grow_old(path: Path, table: str, at: str) -> None:
    """Let a day pass for all that is on record."""
    with closing(sqlite3.connect(path, timeout=30)) as found, found:
        found.execute(f"UPDATE {table} SET {at} = {at} - {DAY}")


def remembered(path: Path, table: str, _at: str) -> set[str]:
    """Return the batches on record."""
    with closing(sqlite3.connect(path, timeout=30)) as found:
        return {batch for (batch,) in found.execute(f"SELECT batch FROM {table}") if batch}


# -- in one process -------------------------------------------------------------------------------


@pytest.fixture
def fleet(store: Store, tmp_path) -> Journey:
    """Give a fleet of one process whose only route takes everything."""
    exports = CSVDestination(tmp_path / "out", "all.csv", name="out", durability="process")
    return make_fleet(store, tmp_path, Route(route_id="all", condition="true", destination=exports))


def ledger(fleet: Journey) -> Path:
    return fleet.folder / "out" / ".candlefleet-ledger.sqlite"


def deliver(fleet: Journey, batch: PointBatch | None = None) -> str:
    """Have a batch accepted and delivered; return its id."""
    batch_id = str(ULID())
    assert fleet.store.accept(batch_id, batch or make_batch(3)).verdict == "accepted"
    work(fleet)
    return batch_id


def another_process(fleet: Journey) -> Journey:
    (route,) = fleet.table
    exports = CSVDestination(fleet.folder / "out", "all.csv", name="out", durability="process")
    fresh = Route(route_id=route.route_id, condition="true", destination=exports)
    return Journey(fleet.store, RouteTable([fresh]), Silent(), folder=fleet.folder)


def test_a_delivery_lets_its_destination_forget_and_the_next_within_an_hour_does_not(fleet, account):
    first = deliver(fleet)
    fleet.store.redis.delete(f"{PREFIX}pruned:out")
    grow_old(ledger(fleet), *LEDGER)
    second = deliver(another_process(fleet))
    assert remembered(ledger(fleet), *LEDGER) == {second}

    grow_old(ledger(fleet), *LEDGER)
    third = deliver(another_process(fleet))
    assert remembered(ledger(fleet), *LEDGER) == {second, third}
    assert first not in (second, third)
    (route,) = report(fleet.store, fleet.table).routes
    assert (route.delivered, route.written) == (9, 9)


def test_a_destination_that_forgot_something_goes_on_soon_and_one_that_did_not_in_an_hour(fleet):
    deliver(fleet)
    key = f"{PREFIX}pruned:out"
    assert 3500 < fleet.store.redis.ttl(key) <= 3600
    fleet.store.redis.delete(key)
    grow_old(ledger(fleet), *LEDGER)
    deliver(another_process(fleet))
    assert 0 < fleet.store.redis.ttl(key) <= 10


def test_a_delivery_is_done_though_nobody_can_say_what_is_owed(fleet, account, monkeypatch):
    def away(*_: object) -> bool:
        raise FleetUnreachableError("the broker does not answer")

    monkeypatch.setattr(fleet.store, "begin_pruning", away)
    deliver(fleet)
    monkeypatch.undo()
    monkeypatch.setattr(fleet.store, "still_owed", away)
    grow_old(ledger(fleet), *LEDGER)
    fleet.pruning._looked.clear()
    deliver(fleet)

    assert len(remembered(ledger(fleet), *LEDGER)) == 2
    (route,) = report(fleet.store, fleet.table).routes
    assert (route.delivered, route.written) == (6, 6)


# -- in a fleet -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew whose first process that is told what is owed is killed before it forgets the rest."""
    folder = tmp_path_factory.mktemp("pruning")
    fired = folder / "fired"
    fired.mkdir()
    kill = {"CANDLEFLEET_FAILPOINTS": "still_owed.after=kill", "CANDLEFLEET_FAILPOINTS_FIRED": str(fired)}
    with crew_at_work(folder, ROUTES, **kill) as at_work:
        yield at_work


def test_a_fleet_forgets_what_is_old_though_it_is_killed_meanwhile_and_the_audit_adds_up(crew, candlefleet):
    records = {
        crew.exports / "files" / ".candlefleet-ledger.sqlite": LEDGER,
        crew.exports / "bars.db": RECORDS,
    }
    crew.deliver(make_frame(300, source="old"))
    old = {path: remembered(path, *where) for path, where in records.items()}
    assert all(old.values())
    for path, where in records.items():
        grow_old(path, *where)

    sources = count()

    def forgotten() -> bool:
        for name in ("files", "table"):
            crew.store.redis.delete(f"{PREFIX}pruned:{name}")
        crew.deliver(make_frame(5, source=f"new-{next(sources)}"))
        return not any(old[path] & remembered(path, *where) for path, where in records.items())

    until(forgotten, "both have forgotten")
    assert (crew.folder / "fired" / "still_owed.after").exists()
    until(lambda: "Records pruned." in (crew.folder / "worker.log").read_text(), "it is in the log")
    frame = frame_of_csv(crew.exports / "files")
    assert len(frame) == frame.n_unique(["source", "timestamp"]) == 300 + 5 * next(sources)
    for name in ("files", "table"):
        assert crew.route(name).written == crew.route(name).delivered == len(frame)
    assert candlefleet("audit", environment=crew.environment).code == 0
