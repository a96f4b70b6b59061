"""A destination that is opened to see whether it can be: whatever it does, somebody is told."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from destinations import MemoryDestination
from router import ConfigError, Route, RouteTable, hidden
from router.findings import Finding
from workers.connections import reach_destinations


class Odd(MemoryDestination):
    """A destination whose `open` and `close` do what they are given."""

    def __init__(self, opens: Any = bool, closes: Any = bool) -> None:
        super().__init__()
        self.opens, self.closes = opens, closes

    def open(self) -> None:
        self.opens()

    def close(self) -> None:
        self.closes()


def raising(error: BaseException) -> Any:
    def call() -> None:
        raise error

    return call


def found(*destinations: Odd, patience: float = 60) -> list[Finding]:
    routes = [
        Route(route_id=f"r{n}", condition="true", destination=destination)
        for n, destination in enumerate(destinations)
    ]
    return list(reach_destinations(RouteTable(routes), lambda _: None, patience))


@pytest.mark.parametrize("where", ["opens", "closes"])
def test_destination_that_hangs_is_given_up_and_the_next_is_looked_at(where):
    never = Event()
    one, other = found(Odd(**{where: never.wait}), Odd(raising(OSError("gone"))), patience=0.05)
    never.set()
    assert (one.route_id, one.code) == ("r0", "destination.unreachable")
    assert one.message.startswith("did not open and close within 0.05 seconds")
    assert (other.route_id, other.message) == ("r1", "cannot be opened: OSError: gone")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), BaseException("odd"), ValueError()])
def test_whatever_opening_raises_is_told(error):
    (one,) = found(Odd(raising(error)))
    assert one.message.startswith(f"cannot be opened: {type(error).__name__}")


def test_no_finding_shows_what_a_routes_file_refers_to(monkeypatch):
    monkeypatch.setattr(hidden, "_SHOWN", {"tr0ub4dor": "${env:WORD}"})
    errors = [OSError("not with tr0ub4dor"), ConfigError("url", "a", "not with tr0ub4dor")]
    one, other = found(*(Odd(raising(error)) for error in errors))
    assert (one.message, other.message) == (
        "cannot be opened: OSError: not with ${env:WORD}",
        "not with ${env:WORD}",
    )


def test_destination_that_opens_is_not_told_of():
    assert found(Odd()) == []
