"""A routes file in Python is run, and what is wrong with it is said with its line."""

import pickle
import sys

import pytest

from router.errors import ConfigError
from router.python_routes import load_python_routes

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
    table = load_python_routes(file)
    assert (table.route_ids, table.default_destination) == (["csv"], None)


def test_file_defines_a_default_destination(file):
    file.write_text(f"{HEAD}routes = [{ROUTE}]\ndefault_destination = Nowhere('rest')\n")
    assert load_python_routes(str(file)).destination_name("default") == "rest"


def test_file_defines_a_router(file):
    file.write_text(f"{HEAD}router = DataRouter([{ROUTE}], default_destination=Nowhere('rest'))\n")
    assert list(load_python_routes(file).destinations()) == ["csv", "rest"]


def test_file_imports_what_lies_beside_it(file):
    (file.parent / "beside_routes_file.py").write_text("LIMIT = 'close > 1'\n")
    file.write_text(f"from beside_routes_file import LIMIT\n{HEAD}routes = [{ROUTE}]\n")
    before = list(sys.path)
    assert load_python_routes(file).route_ids == ["csv"]
    assert sys.path == before


def test_file_is_run_afresh_at_every_call(file):
    file.write_text(f"{HEAD}routes = [{ROUTE}]\n")
    first = load_python_routes(file)
    file.write_text(f"{HEAD}routes = [{ROUTE.replace('csv', 'xyz')}]\n")
    assert (first.route_ids, load_python_routes(file).route_ids) == (["csv"], ["xyz"])


def test_function_of_a_file_can_be_pickled(file):
    file.write_text(f"{HEAD}routes = [{ROUTE.replace(chr(34) + 'close > 1' + chr(34), 'is_daily')}]\n")
    function = load_python_routes(file).route("csv").condition
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
        load_python_routes(file)
    assert (refusal.value.code, refusal.value.where) == (code, f"{file}{place}")
    assert message in refusal.value.message
    assert "Traceback" not in str(refusal.value)


def test_missing_file_is_named():
    with pytest.raises(ConfigError) as refusal:
        load_python_routes("no/such/routes.py")
    assert (refusal.value.code, refusal.value.where) == ("file.missing", "no/such/routes.py")
