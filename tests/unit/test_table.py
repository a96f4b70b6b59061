"""Tables check routes together, and name destinations."""

import pytest

from router.errors import ConfigError
from router.route import Route, RoutePriority
from router.table import RouteTable


class Nowhere:
    def __init__(self, name=None):
        self.name = name

    def open(self): ...
    def write_batch(self, batch): ...
    def close(self): ...


def make_route(route_id="csv", **fields):
    return Route(**{"route_id": route_id, "condition": "close > 1", "destination": Nowhere(), **fields})


# -- routes together ------------------------------------------------------------------------------


def test_table_gives_routes_in_order_and_by_id():
    a, b = make_route("a"), make_route("b")
    table = RouteTable([a, b])
    assert (list(table), table.route_ids, len(table)) == ([a, b], ["a", "b"], 2)
    assert table.route("b") is b
    assert "b" in table
    assert "default" not in table


def test_default_destination_is_a_route_that_iteration_leaves_out():
    nowhere = Nowhere()
    table = RouteTable([make_route("a")], nowhere)
    assert table.route_ids == ["a"]
    assert table.route("default").destination is table.default_destination is nowhere
    assert "default" in table


@pytest.mark.parametrize("route_id", ["cvs", "default"])
def test_unknown_id_is_refused_with_the_nearest(route_id):
    with pytest.raises(ConfigError) as refusal:
        RouteTable([make_route("csv")]).route(route_id)
    assert (refusal.value.code, refusal.value.where) == ("route.unknown", route_id)
    assert ("did you mean 'csv'" in refusal.value.message) == (route_id == "cvs")


def test_two_routes_of_one_id_are_refused():
    with pytest.raises(ConfigError) as refusal:
        RouteTable([make_route("a"), make_route("a")])
    assert (refusal.value.code, refusal.value.where) == ("route.duplicate_id", "a.route_id")


def test_something_else_among_the_routes_is_refused():
    with pytest.raises(ConfigError, match=r"routes\[1\]: must be a Route, not 'b' \[type\]"):
        RouteTable([make_route("a"), "b"])


def test_destination_is_named_by_itself_or_after_the_first_route_that_uses_it():
    shared, named, last = Nowhere(), Nowhere("influx"), Nowhere()
    routes = [make_route("a", destination=shared), make_route("b", destination=shared)]
    table = RouteTable([*routes, make_route("c", destination=named)], last)
    assert [table.destination_name(i) for i in ("a", "b", "c", "default")] == ["a", "a", "influx", "default"]
    assert table.destinations() == {"a": shared, "influx": named, "default": last}


def test_default_destination_that_a_route_uses_keeps_its_name():
    shared = Nowhere()
    assert RouteTable([make_route("a", destination=shared)], shared).destination_name("default") == "a"


@pytest.mark.parametrize(
    "other", [make_route("c", destination=Nowhere("a")), make_route("b", destination=Nowhere("a"))]
)
def test_two_destinations_of_one_name_are_refused(other):
    with pytest.raises(ConfigError) as refusal:
        RouteTable([make_route("a"), other])
    assert (refusal.value.code, refusal.value.where) == (
        "destination.duplicate_name",
        f"{other.route_id}.destination",
    )


def test_destination_whose_name_cannot_name_a_queue_is_refused():
    with pytest.raises(ConfigError, match=r"a\.destination: .* not 'x y' \[destination\.name\]"):
        RouteTable([make_route("a", destination=Nowhere("x y"))])


def test_routes_are_served_by_priority_with_the_default_last():
    low, high = make_route("low", priority=RoutePriority.LOW), make_route("high", priority=RoutePriority.HIGH)
    table = RouteTable([low, make_route("n1"), high, make_route("n2")], Nowhere())
    assert [route.route_id for route in table.by_priority()] == ["high", "n1", "n2", "low", "default"]


def test_adding_and_removing_make_other_tables():
    table = RouteTable([make_route("a")], Nowhere())
    more = table.with_route(make_route("b"))
    assert (table.route_ids, more.route_ids) == (["a"], ["a", "b"])
    assert more.without_route("a").route_ids == ["b"]
    assert more.without_route("a").default_destination is table.default_destination


@pytest.mark.parametrize("owns", [lambda: 1 / 0, lambda: None, lambda: ["folder"]])
def test_destination_whose_places_cannot_be_told_is_refused(owns):
    nowhere = Nowhere("mine")
    nowhere.owns = owns
    with pytest.raises(ConfigError) as refusal:
        RouteTable([make_route("a", destination=nowhere)])
    assert (refusal.value.code, refusal.value.where) == ("destination.error", "mine.destination")
    assert refusal.value.message.startswith("owns() gives the places it writes to, and raised ")
