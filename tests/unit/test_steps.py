"""The watchdog's eye: a stall is told from a pause."""

from __future__ import annotations

import pytest

from workers.steps import Stall


class Clock:
    """A clock that a test winds on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stall(clock: Clock) -> Stall:
    """Give an eye that calls a minute a stall and has already seen ten messages taken."""
    eye = Stall(60.0, clock)
    eye.lasts(waiting=5, busy=False, taken=10)
    return eye


def test_a_queue_that_nobody_takes_from_is_a_stall_after_a_minute(stall: Stall, clock: Clock) -> None:
    clock.now += 60.0
    assert not stall.lasts(waiting=5, busy=False, taken=10)
    clock.now += 0.1
    assert stall.lasts(waiting=5, busy=False, taken=10)


def test_a_stall_goes_on_until_something_moves(stall: Stall, clock: Clock) -> None:
    clock.now += 61.0
    assert stall.lasts(waiting=5, busy=False, taken=10)
    clock.now += 10.0
    assert stall.lasts(waiting=6, busy=False, taken=10)


@pytest.mark.parametrize(
    "sign", [{"waiting": 0}, {"busy": True}, {"taken": 11}], ids=["empty queue", "busy", "message taken"]
)
def test_a_sign_of_life_starts_the_minute_anew(stall: Stall, clock: Clock, sign: dict[str, int]) -> None:
    stuck = {"waiting": 5, "busy": False, "taken": 10}
    clock.now += 59.0
    assert not stall.lasts(**(stuck | sign))
    stuck["taken"] = sign.get("taken", 10)
    clock.now += 59.0
    assert not stall.lasts(**stuck)
    clock.now += 2.0
    assert stall.lasts(**stuck)


def test_a_worker_that_never_took_a_message_may_be_stuck_as_well(clock: Clock) -> None:
    stall = Stall(60.0, clock)
    assert not stall.lasts(waiting=1, busy=False, taken=0)
    clock.now += 61.0
    assert stall.lasts(waiting=1, busy=False, taken=0)


def test_a_long_idle_time_is_no_stall_when_the_first_message_comes(stall: Stall, clock: Clock) -> None:
    clock.now += 3600.0
    assert not stall.lasts(waiting=0, busy=False, taken=10)
    assert not stall.lasts(waiting=3, busy=False, taken=10)
