"""DirectDelivery writes what routes took, and reports what it could not."""

import pytest

from router import delivery
from router.delivery import DirectDelivery, error_entries
from router.errors import TerminalError, TransientError, UnavailableError
from router.matching import match
from router.route import Route, RoutePriority
from router.table import RouteTable
from tests.make import make_days


class Memory:
    """Keeps what it is given; `errors` are raised, in turn, by the writes to come."""

    def __init__(self, *errors, journal=None):
        self.name = None
        self.errors = list(errors)
        self.journal = [] if journal is None else journal

    def open(self):
        self.journal.append("open")

    def close(self):
        self.journal.append("close")

    def write_batch(self, batch):
        if self.errors:
            raise self.errors.pop(0)
        self.journal.append("".join(batch.frame["symbol"]))


class Refusing(Memory):
    """Refuses whole writes that hold an x, without saying which row it is."""

    def write_batch(self, batch):
        if "x" in batch.frame["symbol"]:
            raise TerminalError("no x here")
        super().write_batch(batch)


def make_route(destination, route_id="r", **fields):
    return Route(**{"route_id": route_id, "condition": "true", "destination": destination, **fields})


def deliver(routes, symbols, default=None, by=None):
    table, batch = RouteTable(routes, default), make_days(symbols)
    return (by or DirectDelivery()).deliver(batch, match(table, batch), table, {})


def test_rows_are_written_once_by_an_open_destination():
    memory = Memory()
    assert deliver([make_route(memory, condition="symbol <> 'B'")], "ABC") == []
    assert memory.journal == ["open", "AC"]


def test_writes_hold_exactly_batch_size_points_and_the_rest_goes_at_once():
    memory = Memory()
    deliver([make_route(memory, batch_size=2)], "ABCDE")
    assert memory.journal == ["open", "AB", "CD", "E"]


def test_written_rows_say_their_route_and_keep_their_names():
    class Names(Memory):
        def write_batch(self, batch):
            self.journal.append((batch.route_id, batch.parts[0].rows.positions.tolist()))

    names = Names()
    deliver([make_route(names, condition="symbol <> 'B'")], "ABC")
    assert names.journal[1:] == [("r", [0, 2])]


def test_routes_are_served_by_priority_and_the_default_destination_last():
    journal = []
    routes = [
        make_route(Memory(journal=journal), "low", priority=RoutePriority.LOW, condition="symbol = 'A'"),
        make_route(Memory(journal=journal), "high", priority=RoutePriority.HIGH, condition="symbol = 'B'"),
    ]
    deliver(routes, "ABC", default=Memory(journal=journal))
    assert [entry for entry in journal if entry != "open"] == ["B", "A", "C"]


def test_destination_stays_open_until_it_is_closed():
    memory, by = Memory(), DirectDelivery()
    deliver([make_route(memory)], "A", by=by)
    deliver([make_route(memory)], "B", by=by)
    by.close()
    by.close()
    deliver([make_route(memory)], "C", by=by)
    assert memory.journal == ["open", "A", "B", "close", "open", "C"]


@pytest.mark.parametrize("error", [TransientError("gone"), UnavailableError("busy", 3.0), OSError("reset")])
def test_write_that_failed_is_tried_again_on_an_open_destination(error):
    memory = Memory(error, error)
    assert deliver([make_route(memory, max_retries=2)], "AB") == []
    assert memory.journal == ["open", "close", "open", "close", "open", "AB"]


@pytest.mark.parametrize("fields", [{"max_retries": 1}, {"retry_on_failure": False}])
def test_rows_whose_attempts_are_used_up_are_reported(fields):
    memory = Memory(TransientError("gone"), TransientError("still gone"))
    errors = deliver([make_route(memory, **fields)], "AB")
    message = "TransientError: still gone" if "max_retries" in fields else "TransientError: gone"
    assert errors == [
        {"route_id": "r", "type": "destination_error", "error": message, "destination": "r", "rows": [0, 1]}
    ]


def test_refused_rows_are_reported_with_their_position_in_the_batch():
    memory = Memory(TerminalError("bad price", rows=[1]))
    errors = deliver([make_route(memory, condition="symbol <> 'A'")], "ABCD")
    assert [(error["error"], error["rows"]) for error in errors] == [("TerminalError: bad price", [2])]


def test_refused_write_is_halved_until_the_bad_row_stands_alone():
    refusing = Refusing()
    errors = deliver([make_route(refusing)], "ABxCD")
    assert [error["rows"] for error in errors] == [[2]]
    assert "".join(entry for entry in refusing.journal if entry != "open") == "ABCD"


def test_transform_errors_are_reported_and_the_others_written():
    def no_b(point):
        return point if point.symbol != "B" else 1 / 0

    memory = Memory()
    errors = deliver([make_route(memory, condition="symbol <> 'A'", transform=no_b)], "ABC")
    assert memory.journal == ["open", "C"]
    assert [(error["type"], error["error"], error["rows"]) for error in errors] == [
        ("transform_error", "ZeroDivisionError: division by zero", [1])
    ]


def test_destination_error_after_a_transform_names_the_rows_of_the_batch():
    memory = Memory(TerminalError("bad price", rows=[1]))
    errors = deliver([make_route(memory, transform=lambda p: None if p.symbol == "A" else p)], "ABC")
    assert [error["rows"] for error in errors] == [[2]]


def test_broken_route_costs_no_other():
    class Broken(Memory):
        def open(self):
            raise OSError("no route to host")

    memory = Memory()
    errors = deliver([make_route(Broken(), "bad"), make_route(memory, "good")], "AB")
    assert [(error["route_id"], error["error"]) for error in errors] == [("bad", "OSError: no route to host")]
    assert memory.journal == ["open", "AB"]


def test_entries_gather_rows_by_message():
    entries = error_entries("r", "transform_error", "csv", [(0, "a"), (1, "b"), (5, "a")])
    assert [(entry["error"], entry["rows"]) for entry in entries] == [("a", [0, 5]), ("b", [1])]


def test_flush_finds_nothing_waiting():
    memory = Memory()
    DirectDelivery().flush(RouteTable([make_route(memory)]))
    assert memory.journal == []


def test_current_delivery_is_what_was_installed(monkeypatch):
    class Other(DirectDelivery):
        pass

    monkeypatch.setattr(delivery, "_factory", [])
    assert type(delivery.current()) is DirectDelivery
    delivery.install(Other)
    assert type(delivery.current()) is Other
    delivery.install(None)
    assert type(delivery.current()) is DirectDelivery
