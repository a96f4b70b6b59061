"""kill -9 of everything a fleet consists of while points are on their way: each arrives once, in order."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

import pytest

from router.errors import FleetUnreachableError
from tests.acceptance.fleet_fixture import (
    alive,
    close_all,
    configured,
    descendants,
    files_under,
    until,
)
from tests.faults.producing import ProducerProcess
from tests.faults.send_batches import START, SYMBOLS
from workers.report import Report, report
from workers.settings import settings
from workers.supervisor import Fleet

T = TypeVar("T")

POINTS = 100_000  #: at least: a fleet that is quicker than what watches it is given more
SEED = int(os.environ.get("CANDLEFLEET_TEST_SEED") or random.SystemRandom().randrange(1 << 32))

#: What is killed, and how often; "x child" is a process of the pool of worker x, in the middle of its work.
VICTIMS = {
    "csv child": 5,
    "jsonl child": 4,
    "csv": 1,
    "jsonl": 1,
    "router child": 2,
    "router": 1,
    "beat": 2,
    "producer": 3,
    "redis": 1,
}


class Storm:
    """A fleet under fire: feeds it, kills one process after another, and keeps what dies running."""

    def __init__(self, folder: Path, environment: dict[str, str], dice: random.Random) -> None:
        self.exports = Path(environment["CANDLEFLEET_EXPORTS"])
        self.others = set(descendants(os.getpid()))  #: servers that other tests share
        self.fleet = Fleet(settings(), flower=False)
        self.dice = dice
        self.sent = 0  #: points
        self.seen: dict[int, str] = {}  #: when every process began that ever belonged to it, by its id
        self.dead: set[int] = set()
        self.killed: list[tuple[str, int]] = []  #: victim, points in flight
        self.store = self.fleet.start()
        self.producer = ProducerProcess(environment | {"CANDLEFLEET_BROKER_URL": self.fleet.url})

    def close(self) -> None:
        self._look_around()
        self.producer.close()
        self.fleet.stop()
        self.store.redis.close()
        close_all(self.fleet.table)

    def report(self) -> Report:
        return report(self.store, self.fleet.table)

    def _look_around(self) -> None:
        for pid in set(descendants(os.getpid())) - self.others:
            self.seen.setdefault(pid, _began(pid))

    def mend(self) -> None:
        self.fleet.mend()
        self.producer.mend()

    def send(self, batches: Iterator[tuple[str, range]], count: int) -> None:
        for name, rows in islice(batches, count):
            self.producer.send(name, rows)
            self.sent = rows.stop

    def kill(self, victim: str, batches: Iterator[tuple[str, range]]) -> None:
        """Kill a process with points in flight: one that is at work on them if it is of a pool."""
        pid, points = until(self._answered(lambda: self._caught(victim, batches)), victim, every=0.01)
        os.kill(pid, signal.SIGKILL)
        self._look_around()
        self.dead.add(pid)
        self.killed.append((victim, points))

    def _caught(self, victim: str, batches: Iterator[tuple[str, range]]) -> tuple[int, int] | None:
        self.mend()
        in_flight = self.in_flight()
        if not in_flight and not self.producer.unacknowledged():
            self.send(batches, 3)
        pid = self._pid(victim)
        if pid is None or not in_flight or _parent(pid) is None or pid in self.dead:
            return None
        return pid, in_flight

    def in_flight(self) -> int:
        """Return the points that the fleet accepted and somebody still waits for."""
        found = self.store.snapshot()
        owed = sum(route["owed_pending"] + route["owed_parts"] for route in found["routes"].values())
        return int(found["unrouted"] + owed)

    def _pid(self, victim: str) -> int | None:
        if victim == "producer":
            return self.producer.process.pid if self.producer.unacknowledged() else None
        if victim == "redis":
            return int(self.store.redis.info("server")["process_id"])
        name, _, child = victim.partition(" ")
        leader = next(member.process.pid for member in self.fleet.members if member.name == name)
        if not child:
            return leader
        if name == "router":
            busy = self.store.redis.zcard("candlefleet:routing")
            return next(iter(descendants(leader)), None) if busy else None
        holders = [int(token.split("/")[1]) for token in self.store.holders().values()]
        return next((pid for pid in holders if _parent(pid) == leader), None)

    def calm(self) -> Report:
        """Wait until everything is acknowledged and nothing is owed; return what the fleet says then."""

        def at_rest() -> Report | None:
            self.mend()
            if self.producer.unacknowledged():
                return None
            found = self.report()
            return found if found.at_rest else None

        return until(self._answered(at_rest), "everything is delivered", every=0.1)

    # Redis may be the one that was killed.
    def _answered(self, look: Callable[[], T | None]) -> Callable[[], T | None]:
        def looked() -> T | None:
            try:
                return look()
            except FleetUnreachableError:
                self.mend()
                return None

        return looked


def _began(pid: int) -> str:
    """Return when a process began, in ticks since the machine did; '' of one that is gone."""
    return next(iter(_status(pid)[19:]), "")


def _parent(pid: int) -> int | None:
    """Return the parent of a process that is alive; None of one that is not."""
    state, parent = _status(pid)[:2] or ("X", "")
    return None if state in "ZX" else int(parent)


# What stands behind its name: man proc_pid_stat, from the third field on.
def _status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def planned(dice: random.Random) -> tuple[list[str], Iterator[tuple[str, range]]]:
    """Return the victims in a random order, and batches without end, of whole minutes and a random size."""
    victims = [victim for victim, times in VICTIMS.items() for _ in range(times)]
    dice.shuffle(victims)

    def batches() -> Iterator[tuple[str, range]]:
        stop = 0
        for number in count():
            start, stop = stop, stop + SYMBOLS * dice.randint(500 // SYMBOLS, 2000 // SYMBOLS)
            yield f"storm-{number}", range(start, stop)

    return victims, batches()


@pytest.fixture
def storm(tmp_path, request):
    environment = {
        "CANDLEFLEET_DIR": str(tmp_path / "fleet"),
        "CANDLEFLEET_ROUTES": str(Path(__file__).with_name("routes.py")),
        "CANDLEFLEET_EXPORTS": str(tmp_path / "exports"),
        "CANDLEFLEET_LEASE": "2",
        "CANDLEFLEET_RETRY_CAP": "2",
        "CANDLEFLEET_DOOR": "false",
    }
    with configured(environment):
        raging = Storm(tmp_path, dict(os.environ), random.Random(SEED))
        try:
            yield raging
        finally:
            raging.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_lose_and_double_nothing(storm):
    print(f"CANDLEFLEET_TEST_SEED={SEED}")
    victims, batches = planned(storm.dice)

    for victim in victims:
        storm.send(batches, storm.dice.randint(1, 3))
        storm.kill(victim, batches)
    while storm.sent < POINTS:
        storm.send(batches, 1)
    found = storm.calm()
    storm.close()

    print(*storm.killed, sep="\n")
    assert len(storm.killed) == sum(VICTIMS.values()) == 20
    assert len(storm.dead) == 20
    assert all(points for _, points in storm.killed)
    assert found.broken == []
    assert (found.accepted, found.invalid, found.matched) == (storm.sent, 0, storm.sent)
    assert [(r.route_id, r.delivered, r.dead) for r in found.routes] == [
        ("csv", storm.sent, 0),
        ("jsonl", storm.sent, 0),
    ]
    assert_files_hold_every_point_once_and_in_order(storm.exports, storm.sent)
    assert [pid for pid, began in storm.seen.items() if alive(pid) and _began(pid) == began] == []


def assert_files_hold_every_point_once_and_in_order(exports: Path, points: int) -> None:
    minutes = [START + timedelta(minutes=minute) for minute in range(points // SYMBOLS)]
    expected = [minute.isoformat() for minute in minutes]
    written = {path.stem: path for path in files_under(exports / "csv")}
    assert sorted(written) == [f"S{number}" for number in range(SYMBOLS)]
    for symbol, path in written.items():
        text = path.read_text()
        assert text.endswith("\n")
        rows = list(csv.DictReader(text.splitlines()))
        assert [row["timestamp"] for row in rows] == expected
        assert {row["symbol"] for row in rows} == {symbol}
        assert {len(line.split(",")) for line in text.splitlines()} == {11}
    for number in range(SYMBOLS):
        text = (exports / "jsonl" / f"S{number}.jsonl").read_text()
        assert text.endswith("\n")
        rows = [json.loads(line) for line in text.splitlines()]
        assert [row["timestamp"] for row in rows] == expected
        assert [row["volume"] for row in rows] == [float(n * SYMBOLS + number) for n in range(len(expected))]
