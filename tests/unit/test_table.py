"""Tables check routes together, name destinations, and are read from a routes file."""

import pickle
import sys

import pytest

from router.errors import ConfigError
from router.route import Route, RoutePriority
from router.table import RouteTable, load_routes


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


# -- a routes file --------------------------------------------------------------------------------

HEAD = """\
from router import DataRouter, Route

class Nowhere:
    def __init__(self, name=None): self.name = name
    def open(self): ...
    def write_batch(self, batch): ...
    def close(self): ...

def is_daily(point): return point.timeframe == "1d"

here = Nowhere()
"""
ROUTE = 'Route(route_id="csv", condition="close > 1", destination=here)'


@pytest.fixture
def file(tmp_path):
    return tmp_path / "routes.py"


def test_file_defines_routes(file):
    file.write_text(f"{HEAD}routes = [{ROUTE}]\n")
    table = load_routes(file)
    assert (table.route_ids, table.default_destination) == (["csv"], None)


def test_file_defines_a_default_destination(file):
    file.write_text(f"{HEAD}routes = [{ROUTE}]\ndefault_destination = Nowhere('rest')\n")
    assert load_routes(str(file)).destination_name("default") == "rest"


def test_file_defines_a_router(file):
    file.write_text(f"{HEAD}router = DataRouter([{ROUTE}], default_destination=Nowhere('rest'))\n")
    assert list(load_routes(file).destinations()) == ["csv", "rest"]


def test_file_imports_what_lies_beside_it(file):
    (file.parent / "beside_routes_file.py").write_text("LIMIT = 'close > 1'\n")
    file.write_text(f"from beside_routes_file import LIMIT\n{HEAD}routes = [{ROUTE}]\n")
    before = list(sys.path)
    assert load_routes(file).route_ids == ["csv"]
    assert sys.path == before


def test_file_is_run_afresh_at_every_call(file):
    file.write_text(f"{HEAD}routes = [{ROUTE}]\n")
    first = load_routes(file)
    file.write_text(f"{HEAD}routes = [{ROUTE.replace('csv', 'xyz')}]\n")
    assert (first.route_ids, load_routes(file).route_ids) == (["csv"], ["xyz"])


def test_function_of_a_file_can_be_pickled(file):
    file.write_text(f"{HEAD}routes = [{ROUTE.replace(chr(34) + 'close > 1' + chr(34), 'is_daily')}]\n")
    function = load_routes(file).route("csv").condition
    assert pickle.loads(pickle.dumps(function)) is function


BAD_FILES = [
    ("Route(route_id='a', conditon='true')", "unknown_field", ":12: a.conditon", "'condition'"),
    (ROUTE.replace("close", "clse"), "condition.unknown_field", ":12: csv.condition", "'close'"),
    ("routes = [\n Route(route_id='a', condition='true')]", "required", ":13: a.destination", "missing"),
    (f"routes = [{ROUTE}, {ROUTE}]", "route.duplicate_id", ": csv.route_id", "another route"),
    (f"router = DataRouter([{ROUTE}, {ROUTE}])", "route.duplicate_id", ":12: csv.route_id", "another route"),
    ("routes = [Rute()]", "file.error", ":12", "'Rute' is not defined (did you mean 'Route'?)"),
    ("from router import Rute", "file.error", ":12", "(did you mean 'Route'?)"),
    ("Nowhere(nam='x')", "file.error", ":12", "unexpected keyword argument 'nam' (did you mean 'name'?)"),
    ("def bad():\n    return 1 / 0\nbad()", "file.error", ":13", "ZeroDivisionError: division by zero"),
    ("import sys\nsys.exit(3)", "file.error", ":13", "SystemExit: 3"),
    ("\nroutes = [", "file.syntax", ":13", "SyntaxError: '[' was never closed"),
    ("route = []", "required", ": routes", "(did you mean 'route'?)"),
    ("routes = 3", "type", ": routes", "must be a list of Route, not int"),
    ("routes = [here]", "type", ": routes[0]", "must be a Route"),
]


@pytest.mark.parametrize(("text", "code", "place", "message"), BAD_FILES)
def test_bad_file_is_refused_with_its_place_and_the_reason(file, text, code, place, message):
    file.write_text(HEAD + text)
    with pytest.raises(ConfigError) as refusal:
        load_routes(file)
    assert (refusal.value.code, refusal.value.where) == (code, f"{file}{place}")
    assert message in refusal.value.message
    assert "Traceback" not in str(refusal.value)


def test_missing_file_is_named():
    with pytest.raises(ConfigError) as refusal:
        load_routes("no/such/routes.py")
    assert (refusal.value.code, refusal.value.where) == ("file.missing", "no/such/routes.py")
