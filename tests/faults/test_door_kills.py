"""kill -9 of the worker at the door for Celery messages, again and again: every point arrives once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.acceptance.fleet_fixture import (
    CELERY,
    QUIET,
    Crew,
    alive,
    crew_at_work,
    descendants,
    pool,
    running,
    until,
)
from tests.faults.send_batches import make_bars
from tests.make_messages import make_message
from workers.envelope import QUEUE

MESSAGES = 200
POINTS = 5  #: in each
KILLS = 10
SEED = int(os.environ.get("CANDLEFLEET_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
#: Messages in the hands of the dead come back soon; a pool takes some seconds to see that its process died.
HASTY = {"CANDLEFLEET_TASK_TIME_LIMIT": "8", "CANDLEFLEET_VISIBILITY_TIMEOUT": "13"}


class Doorkeeper:
    """A worker at the door that is killed and started again."""

    def __init__(self, crew: Crew, folder: Path) -> None:
        self._crew = crew
        self._folder = folder
        self._running = contextlib.ExitStack()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [*CELERY, "worker", "-n", "points@%h", "-Q", QUEUE, "-c", "1", *QUIET]
        environment = {**self._crew.environment, **HASTY}
        return self._running.enter_context(running(command, self._folder / "door.log", environment))

    def child(self) -> int:
        """Return the process that runs its tasks."""
        return until(lambda: next(iter(pool(self.process.pid)), 0), "a pool process")

    def kill(self, pid: int) -> None:
        """Kill it, or its child, at once; there is one again afterwards."""
        children = descendants(self.process.pid)
        os.kill(pid, signal.SIGKILL)
        if pid == self.process.pid:
            self.process.wait()
            until(lambda: not any(map(alive, children)), "the children end with it")
            self.process = self._start()

    def close(self) -> None:
        """Stop it."""
        self._running.close()


@pytest.fixture
def doorkeeper(tmp_path: Path) -> Iterator[tuple[Crew, Doorkeeper]]:
    with crew_at_work(tmp_path / "crew", Path(__file__).with_name("routes.py")) as crew:
        keeper = Doorkeeper(crew, tmp_path)
        yield crew, keeper
        keeper.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_of_the_worker_at_the_door_lose_and_double_nothing(
    doorkeeper: tuple[Crew, Doorkeeper],
) -> None:
    print(f"CANDLEFLEET_TEST_SEED={SEED}")
    crew, keeper = doorkeeper
    dice, redis = random.Random(SEED), crew.store.redis
    bars = (
        make_bars(0, MESSAGES * POINTS)
        .with_columns(pl.col("timestamp").dt.to_string("iso:strict"))
        .to_dicts()
    )

    def accepted() -> int:
        return int(redis.hget("candlefleet:totals", "accepted") or 0)

    sent, killed = 0, []
    for kill in range(KILLS):
        for _ in range(MESSAGES // KILLS):
            points = bars[sent * POINTS : (sent + 1) * POINTS]
            redis.lpush(QUEUE, make_message(points, headers__id=f"kill-{sent}"))
            sent += 1
        goal = accepted() + POINTS * dice.randint(1, MESSAGES // KILLS // 2)
        until(lambda goal=goal: accepted() >= goal, "it is at work", every=0.001)
        victim = keeper.process.pid if kill % 2 else keeper.child()
        keeper.kill(victim)
        killed.append((victim, redis.llen(QUEUE)))

    until(lambda: accepted() >= MESSAGES * POINTS, "everything is accepted", within=200)
    until(lambda: not redis.llen(QUEUE) and not redis.hlen("unacked"), "every message is finished", within=60)
    found = crew.settled()

    print(*killed, sep="\n")
    assert sum(waiting > 0 for _, waiting in killed) >= KILLS // 2, "most fell in the middle of the work"
    assert (found.accepted, found.invalid, found.dead_letters) == (MESSAGES * POINTS, 0, 0)
    rows = Counter((row["symbol"], row["timestamp"]) for row in crew.rows("jsonl"))
    assert len(rows) == MESSAGES * POINTS
    assert set(rows.values()) == {1}
