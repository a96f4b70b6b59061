"""A routes file in YAML becomes the table its author means, or one error with every mistake in it."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import polars as pl
import pytest

from destinations import (
    REGISTRY,
    CSVDestination,
    JSONLinesDestination,
    MemoryDestination,
    load_routes,
    load_routes_file,
)
from router import ConfigError, RoutePriority, RoutesFileError, RouteTable, hidden
from router.conditions import ColumnCondition, PointCondition, said

Load = Callable[[str], RouteTable]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a routes file of some text, in the folder where this process is."""
    monkeypatch.chdir(tmp_path)

    def call(text: str) -> RouteTable:
        Path("routes.yaml").write_text(dedent(text))
        return load_routes("routes.yaml")

    return call


def refusals(load: Load, text: str) -> list[str]:
    """Return what is wrong with a file, a line for each mistake."""
    with pytest.raises(RoutesFileError) as refusal:
        load(text)
    return [str(problem) for problem in refusal.value.problems]


# -- what a file says ------------------------------------------------------------------------------


def test_file_says_what_python_would_say(load: Load):
    table = load("""\
        destinations:
          daily:
            kind: csv_file
            path: exports/daily
            filename_pattern: "{symbol}_daily.csv"
            include_headers: false
        routes:
          - route_id: csv_daily
            name: Daily bars
            description: For the analysts.
            condition: "timeframe = '1d' and data_quality_score >= 0.95"
            destination: daily
            priority: high
            batch_size: 5000
            batch_timeout: 2
            enabled: false
            retry_on_failure: false
            max_retries: 0
            retry_delay: 0.5
            rate_limit: 100
            max_owed: 10
            at_max_owed: dead_letter
          - route_id: lines
            condition: close > open
            destination: {kind: jsonl_file, path: exports/lines, compression: zstd, name: zipped}
        default_destination: daily
    """)

    first, second = table
    assert table.route_ids == ["csv_daily", "lines"]
    assert list(table.destinations()) == ["daily", "zipped"]
    assert isinstance(first.destination, CSVDestination)
    assert isinstance(second.destination, JSONLinesDestination)
    assert first.destination.path == Path("exports/daily")
    assert first.destination.pattern.text == "{symbol}_daily.csv"
    assert second.destination.pattern.text.endswith(".zst")
    assert table.default_destination is first.destination
    assert {
        "name": "Daily bars",
        "description": "For the analysts.",
        "condition": "timeframe = '1d' and data_quality_score >= 0.95",
        "priority": RoutePriority.HIGH,
        "batch_size": 5000,
        "batch_timeout": 2.0,
        "enabled": False,
        "retry_on_failure": False,
        "max_retries": 0,
        "retry_delay": 0.5,
        "rate_limit": 100.0,
        "max_owed": 10,
        "at_max_owed": "dead_letter",
    }.items() <= vars(first).items()
    assert (second.name, second.priority, second.enabled) == ("lines", RoutePriority.NORMAL, True)


def test_file_carries_tests_that_know_their_lines(load: Load):
    load("""\
        routes: [{route_id: a, condition: "true", destination: {kind: memory}}]
        tests:
          - {name: one, points: {close: 5}, routes: [a]}
          - name: other
            points: [{close: 5}, {close: null}]
            invalid: true
    """)
    tests = load_routes_file("routes.yaml").tests
    assert list(tests) == ["routes.yaml:3: tests[0]", "routes.yaml:4: tests[1]"]
    assert [test.name for test in tests.values()] == ["one", "other"]


def test_tests_are_refused_with_the_rest_of_the_file(load: Load):
    lines = refusals(
        load,
        """\
        routes:
          - {route_id: a, condition: "true", destination: {kind: memory, nam: x}}
          - {route_id: a, condition: "true", destination: {kind: memory, name: n}}
        tests:
          - {name: one, points: {close: 5}, routes: [a], destinations: {a: n}}
          - {name: one, points: {symbol: 5}, rutes: [a]}
          - {points: {}}
          - 5
          - {name: 5, points: [], routes: [b]}
        """,
    )
    assert [line.removeprefix("routes.yaml:") for line in lines] == [
        "2: routes[0].destination.nam: memory takes no 'nam'; it takes refuse [unknown_field]",
        "3: routes[1].route_id: another route has this id [route.duplicate_id]",
        "6: tests[1].points.symbol: must be text, and 5 is not: put it in quotes [type]",
        "6: tests[1].rutes: a test has no field 'rutes' (did you mean 'routes'?) [unknown_field]",
        "7: tests[2].name: missing: a test needs one [required]",
        "7: tests[2].routes: missing: name the routes that take the points, or say that they are invalid "
        "[required]",
        "8: tests[3]: must be a test, a mapping of fields, not a number [type]",
        "9: tests[4].name: must be text, and 5 without quotes is a number: write '5' [type]",
        "9: tests[4].points: must be fields of a point, as a mapping, not [] [type]",
        "9: tests[4].routes[0]: there is no 'b' [route.unknown]",
    ]


def test_destination_is_named_by_its_key_or_after_its_route(load: Load):
    table = load("""\
        destinations: {kept: {kind: memory}}
        routes:
          - {route_id: a, condition: "true", destination: kept}
          - {route_id: b, condition: "true", destination: {kind: memory}}
          - {route_id: c, condition: "true", destination: kept}
        default_destination: {kind: memory}
    """)
    assert [table.destination_name(i) for i in ("a", "b", "c", "default")] == ["kept", "b", "kept", "default"]
    assert table.route("a").destination is table.route("c").destination


def test_names_that_other_readers_take_for_something_else_are_names(load: Load):
    table = load("""\
        destinations: {on: {kind: memory}}
        routes:
          - {route_id: NO, condition: "symbol in ('NO', 'ON')", destination: on}
          - {route_id: 007, condition: "true", destination: on}
    """)
    assert (table.route_ids, list(table.destinations())) == (["NO", "007"], ["on"])


def test_anchors_and_keys_of_ones_own_save_repetition(load: Load):
    table = load("""\
        x-policy: &policy {batch_size: 500, max_retries: 9}
        destinations: {here: {kind: memory}}
        routes:
          - {route_id: a, condition: "true", destination: here, <<: *policy}
          - {<<: *policy, route_id: b, condition: "true", destination: here, max_retries: 1}
    """)
    assert [(route.batch_size, route.max_retries) for route in table] == [(500, 9), (500, 1)]


def test_condition_runs_over_several_lines(load: Load):
    table = load("""\
        routes:
          - route_id: a
            condition: >
              timeframe in ('1h', '1d')
              and close > open
            destination: {kind: memory}
    """)
    assert isinstance(table.route("a").compiled, ColumnCondition)


def test_file_without_routes_may_have_a_default_destination(load: Load):
    assert len(load("routes: []\ndefault_destination: {kind: stdout}")) == 0


# -- code beside it --------------------------------------------------------------------------------

BESIDE = """\
import polars as pl
from enum import Enum
from pydantic import BaseModel, Field, SecretStr
from destinations import DataDestination, MemoryDestination

rising = pl.col("close") > pl.col("open")

def is_daily(point):
    return point.timeframe == "1d"

def halved(batch):
    return batch

class Own(MemoryDestination):
    def __init__(self, places: tuple[int, ...], ratio: float = 1.0, **others):
        super().__init__()
        self.given = places, ratio, others

class Nameless(DataDestination):
    batch_size = 0
    def __init__(self):
        super().__init__()
    def write_batch(self, batch): ...

class Broken(MemoryDestination):
    def __init__(self, url):
        raise OSError(f"cannot resolve {url}")

class Colour(Enum):
    RED = "red"
    BLUE = "blue"

class Server(BaseModel):
    host: str
    port: int

class Typed(MemoryDestination):
    def __init__(
        self, server: Server, colour: Colour, key: SecretStr, tags: list[str], ports: dict[str, int]
    ):
        super().__init__()
        self.given = server, colour, key, tags, ports

class Model(BaseModel, DataDestination):
    host: str
    port: int = Field(1, le=9)
    def write_batch(self, batch): ...
"""


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module beside the routes file."""
    (tmp_path / "beside_yaml.py").write_text(BESIDE)
    monkeypatch.delitem(sys.modules, "beside_yaml", raising=False)


@pytest.mark.usefixtures("beside")
def test_functions_and_expressions_are_named_by_module(load: Load):
    before = list(sys.path)
    table = load("""\
        routes:
          - route_id: slow
            condition: {python: "beside_yaml:is_daily"}
            transform: beside_yaml:halved
            destination: {kind: memory, refuse: {python: "beside_yaml:is_daily"}}
          - route_id: fast
            condition: {python: "beside_yaml:rising"}
            destination: {kind: memory}
    """)
    slow, fast = table
    assert isinstance(slow.compiled, PointCondition)
    assert isinstance(fast.condition, pl.Expr)
    assert slow.transform.__name__ == "halved"
    assert slow.destination.refuse is slow.condition
    assert sys.path == before


@pytest.mark.usefixtures("beside")
def test_destination_of_ones_own_is_named_by_module(load: Load):
    table = load("""\
        destinations:
          mine: {kind: "beside_yaml:Own", places: [1, 2], ratio: 2, colour: red}
        routes:
          - {route_id: a, condition: "true", destination: mine}
    """)
    destination: Any = table.route("a").destination
    assert destination.name == "mine"
    assert destination.given == ((1, 2), 2.0, {"colour": "red"})


@pytest.mark.usefixtures("beside")
def test_arguments_that_are_references_are_what_the_class_takes(load: Load, monkeypatch):
    monkeypatch.setenv("RATIO", "0.5")
    monkeypatch.setenv("COLOUR", "007")
    table = load("""\
        routes:
          - route_id: a
            condition: "true"
            destination: {kind: "beside_yaml:Own", places: [], ratio: "${env:RATIO}", colour: "${env:COLOUR}"}
    """)
    assert table.route("a").destination.given == ((), 0.5, {"colour": "007"})


@pytest.mark.usefixtures("beside")
def test_arguments_are_read_as_any_type_that_pydantic_knows(load: Load, monkeypatch):
    monkeypatch.setenv("WORD", "tr0ub4dor")
    table = load("""\
        routes:
          - route_id: a
            condition: "true"
            destination:
              kind: beside_yaml:Typed
              server: {host: h, port: 1}
              colour: red
              key: "${env:WORD}"
              tags: [a]
              ports: {a: 1}
    """)
    server, colour, key, *others = table.route("a").destination.given
    assert (server.host, server.port, colour.name, others) == ("h", 1, "RED", [["a"], {"a": 1}])
    assert key.get_secret_value() == "tr0ub4dor"


@pytest.mark.usefixtures("beside")
def test_arguments_of_other_types_are_refused_with_the_type(load: Load):
    lines = refusals(
        load,
        """\
        routes:
          - route_id: a
            condition: "true"
            destination:
              kind: beside_yaml:Typed
              server: {host: h, port: x}
              colour: green
              key: 5
              tags: [1]
              ports: {a: b}
          - {route_id: b, condition: "true", destination: {kind: "beside_yaml:Model", host: h, port: 10}}
        """,
    )
    assert [line.removeprefix("routes.yaml:").partition(" [type]")[0] for line in lines] == [
        "6: routes[0].destination.server: must be beside_yaml.Server, not {'host': 'h', 'port': 'x'}",
        "7: routes[0].destination.colour: must be 'red' or 'blue', not 'green'",
        "8: routes[0].destination.key: must be text, not 5",
        "9: routes[0].destination.tags: must be a list of text, not [1]",
        "10: routes[0].destination.ports: must be a mapping of text and a whole number, not {'a': 'b'}",
        "11: routes[1].destination.port: Input should be less than or equal to 9",
    ]


# -- mistakes --------------------------------------------------------------------------------------

TEN = """\
destinations:
  daily:
    kind: csv_fil
    path: exports/daily
  lines:
    kind: jsonl_file
    path: exports/lines
    compression: zip
  spare:
    kind: memory
routes:
  - route_id: a
    condition: "tmeframe = '1d'"
    destination: daily
  - route_id: b
    condition: "close > 'abc'"
    batch_size: 0
    destination: lines
  - route_id: a
    condition: "true"
    destination: liens
  - route_id: c
    condition: "true"
  - route_id: 1234
    conditon: "true"
    destination: lines
"""


def test_ten_mistakes_are_found_in_one_run_each_with_its_line(load: Load):
    assert [line.partition(" (")[0] for line in refusals(load, TEN)] == [
        f"routes.yaml:3: destinations.daily.kind: 'csv_fil' is none of {', '.join(REGISTRY)}",
        "routes.yaml:8: destinations.lines.compression: 'zip' is not one of None, gzip, bz2, zstd [enum]",
        "routes.yaml:9: destinations.spare: no route goes there, and it is not the default: "
        "use it or take it out [destination.unused]",
        "routes.yaml:13: routes[0].condition: a point has no field 'tmeframe'",
        "routes.yaml:16: routes[1].condition: close is a number and 'abc' is text [condition.type]",
        "routes.yaml:17: routes[1].batch_size: must be a whole number from 1 to 1,000,000 or None, "
        "not 0 [range]",
        "routes.yaml:19: routes[2].route_id: another route has this id [route.duplicate_id]",
        "routes.yaml:21: routes[2].destination: no destination is named 'liens'",
        "routes.yaml:22: routes[3].destination: missing: a route needs one [required]",
        "routes.yaml:24: routes[4].route_id: must be text, and 1234 without quotes is a number: "
        "write '1234' [type]",
        "routes.yaml:25: routes[4].conditon: a route has no field 'conditon'",
    ]


def test_error_of_several_mistakes_is_said_in_so_many_lines_and_survives_a_pickle(load: Load):
    with pytest.raises(RoutesFileError) as refusal:
        load(TEN)
    first, *others = str(refusal.value).splitlines()
    assert (first, len(others)) == ("routes.yaml: 11 mistakes", 11)
    assert (refusal.value.code, refusal.value.where) == ("destination.unknown", "routes.yaml")
    again = pickle.loads(pickle.dumps(refusal.value))
    assert (type(again), str(again)) == (RoutesFileError, str(refusal.value))
    assert str(refusal.value.at("here")).count("here: routes.yaml") == 12


def test_error_of_one_mistake_is_one_line(load: Load):
    with pytest.raises(RoutesFileError) as refusal:
        load("routes: 3")
    assert (
        str(refusal.value)
        == "routes.yaml:1: routes: must be a list, each item after a '- ', not a number [type]"
    )


BAD_FILES = [
    ("- a", "1: must be a routes file, a mapping of fields, not a list [type]"),
    ("just text", "1: must be a routes file, a mapping of fields, not text [type]"),
    ("null", "1: must be a routes file, a mapping of fields, not nothing [type]"),
    ("destinations: {}", "1: routes: missing: a routes file needs one [required]"),
    ("routes:", "1: routes: must be a list, each item after a '- ', not nothing [type]"),
    ("route: []", "1: route: a routes file has no field 'route' (did you mean 'routes'?) [unknown_field]"),
    (
        "routes: []\ndestinations: [a]",
        "2: destinations: must be a mapping of names to destinations, not a list [type]",
    ),
    ("routes: [text]", "1: routes[0]: must be a route, a mapping of fields, not text [type]"),
    ("routes:\n-", "2: routes[0]: must be a route, a mapping of fields, not nothing [type]"),
    (
        "routes: []\ndefault_destination: [a]",
        "2: default_destination: must be the name of a destination, or one itself: {kind: …} [type]",
    ),
    (
        "routes: []\ndefault_destination: rest",
        "2: default_destination: no destination is named 'rest' [destination.undefined]",
    ),
    (
        "routes: []\ndestinations: {a b: {kind: memory}}\ndefault_destination: a b",
        "2: destinations['a b']: a destination's name is 1 to 100 letters, digits and . _ -,"
        " not 'a b' [destination.name]",
    ),
    (
        "routes: []\ndestinations: {a: {kind: memory, name: b}}\ndefault_destination: a",
        "2: destinations.a.name: its key is its name already: 'a' [unknown_field]",
    ),
    (
        "routes: []\ndestinations: {a: }\ndefault_destination: a",
        "2: destinations.a: must be a destination, a mapping of fields, not nothing [type]",
    ),
]
BAD_DESTINATIONS = [
    (
        '{kind: "beside_yaml:Own", place: [1]}',
        "destination.places: missing: beside_yaml:Own needs one [required]",
    ),
    ("null", "destination: must be the name of a destination, or one itself: {kind: …} [type]"),
    ("5", "destination: must be text, and 5 without quotes is a number: write '5' [type]"),
    ("{path: x}", "destination.kind: missing: a destination needs one [required]"),
    ("{knd: memory}", "destination.kind: missing: a destination needs one [required]"),
    ("{kind: 5}", "destination.kind: must be text, and 5 without quotes is a number: write '5' [type]"),
    ("{kind: csv_file}", "destination.path: missing: csv_file needs one [required]"),
    (
        "{kind: csv_file, pth: x}",
        "destination.pth: csv_file takes no 'pth' (did you mean 'path'?); it takes path,"
        " filename_pattern, append, include_headers, compression, durability, shared,"
        " guard_formulas [unknown_field]",
    ),
    ("{kind: csv_file, path: }", "destination.path: must be text, not null [type]"),
    (
        "{kind: csv_file, path: x, append: yes}",
        "destination.append: must be true or false, not 'yes' [type]",
    ),
    ("{kind: csv_file, path: x, append: 1}", "destination.append: must be true or false, not 1 [type]"),
    (
        "{kind: csv_file, path: x, durability: strong}",
        "destination.durability: must be 'power' or 'process', not 'strong' [type]",
    ),
    (
        "{kind: stdout, path: x}",
        "destination.path: stdout takes no 'path'; it takes nothing [unknown_field]",
    ),
    (
        '{kind: "no_such:Class"}',
        "destination.kind: no_such:Class: ModuleNotFoundError: No module named 'no_such'"
        " [destination.import]",
    ),
    ('{kind: "beside_yaml:Broken", url: x}', "destination: OSError: cannot resolve x [destination.error]"),
    (
        '{kind: "beside_yaml:Nameless"}',
        "batch_size: must be a whole number from 1 to 1,000,000 or None, not 0 [range]",
    ),
    (
        "{kind: memory, refuse: is_daily}",
        "destination.refuse: must be {python: 'module:function'} or null, not 'is_daily' [type]",
    ),
    (
        '{kind: memory, refuse: {python: "beside_yaml:is_dayly"}}',
        "destination.refuse: beside_yaml has no 'is_dayly' (did you mean 'is_daily'?) [argument.unknown]",
    ),
]
BAD_FIELDS = [
    (
        "transform: 'beside_yaml:halvd'",
        "transform: beside_yaml has no 'halvd' (did you mean 'halved'?) [transform.unknown]",
    ),
    ("transform: halved", "transform: 'halved' is not of the form module:name [transform.import]"),
    ("transform: 'sys:path'", "transform: must be a callable or None, not "),
    ("transform: {python: x}", "transform: must be text, not a mapping [type]"),
    ("priority: hihg", "priority: 'hihg' is not one of high, normal, low (did you mean 'high'?) [enum]"),
    ("priority: 1", "priority: must be text, and 1 without quotes is a number: write '1' [type]"),
    ("enabled: off", "enabled: must be true or false, not 'off' [type]"),
    ("enabled: ", "enabled: must be true or false, not nothing [type]"),
    (
        "batch_size: 1_000",
        "batch_size: must be a whole number from 1 to 1,000,000 or None, not '1_000' [range]",
    ),
    ("batch_timeout: 1:30", "batch_timeout: must be a finite number above 0 or None, not '1:30' [range]"),
    ("max_retries: 017", "max_retries: must be a whole number of at least 0, not '017' [range]"),
    ("at_max_owed: dead_letter", "max_owed: missing: at_max_owed='dead_letter' needs one [required]"),
    ("compiled: x", "compiled: a route has no field 'compiled' [unknown_field]"),
    (
        "route_id: default",
        "route_id: 'default' is the route of the default destination: choose another id [route.id]",
    ),
    (
        "condition: true",
        "condition: must be text, and true without quotes is a Boolean: write 'true' [type]",
    ),
    (
        "condition: ",
        "condition: must be SQL text, or {python: 'module:name'} for a function or a Polars"
        " expression [type]",
    ),
    (
        "condition: {sql: x}",
        "condition: must be SQL text, or {python: 'module:name'} for a function or a Polars"
        " expression [type]",
    ),
    (
        "condition: {python: 'beside_yaml:BESIDE'}",
        "condition: beside_yaml has no 'BESIDE' [condition.unknown]",
    ),
    (
        "condition: {python: 'sys:path'}",
        "condition: must be SQL text, a Polars expression or a callable, not ",
    ),
]


@pytest.mark.parametrize(("text", "wanted"), BAD_FILES)
def test_file_of_another_shape_is_refused(load: Load, text: str, wanted: str):
    assert refusals(load, text) == [f"routes.yaml:{wanted}"]


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(("destination", "wanted"), BAD_DESTINATIONS)
def test_destination_is_refused_with_what_it_takes(load: Load, destination: str, wanted: str):
    text = f"routes: [{{route_id: a, condition: 'true', destination: {destination}}}]"
    assert refusals(load, text) == [f"routes.yaml:1: routes[0].{wanted}"]


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(("field", "wanted"), BAD_FIELDS)
def test_field_of_a_route_is_refused(load: Load, field: str, wanted: str):
    others = {"route_id": "a", "condition": "'true'", "destination": "{kind: memory}"}
    route = {**others, field.partition(":")[0]: field.partition(":")[2]}
    text = f"routes: [{{{', '.join(f'{name}: {value}' for name, value in route.items())}}}]"
    (line,) = refusals(load, text)
    assert line.startswith(f"routes.yaml:1: routes[0].{wanted}")


TOGETHER = """\
destinations:
  one: {{kind: csv_file, path: out}}
  two: {{kind: csv_file, path: ./out}}
routes:
  - {{route_id: a, condition: "true", destination: one}}
  - {{route_id: b, condition: "true", destination: two}}
  - {{route_id: c, condition: "true", destination: two}}
{}"""


def test_destinations_that_share_files_are_refused_once_where_they_are_named(load: Load):
    (line,) = refusals(load, TOGETHER.format(""))
    assert line.startswith("routes.yaml:3: destinations.two: may write to out/")
    assert line.endswith("[destination.shared_place]")


def test_every_route_that_does_not_fit_is_named(load: Load):
    more = """\
  - {route_id: a, condition: "true", destination: one}
  - {route_id: d, condition: "true", destination: {kind: memory, name: one}}
  - {route_id: e, condition: "true", destination: {kind: memory}}
  - {route_id: e, condition: "true", destination: {kind: memory, name: f}}
default_destination: {kind: memory, name: e}
"""
    assert [
        line.partition(": may")[0].partition(": another")[0] for line in refusals(load, TOGETHER.format(more))
    ] == [
        "routes.yaml:3: destinations.two",
        "routes.yaml:8: routes[3].route_id",
        "routes.yaml:9: routes[4].destination",
        "routes.yaml:11: routes[6].route_id",
        "routes.yaml:12: default_destination",
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("routes.json", "file.kind"),
        ("routes", "file.kind"),
        ("no/such.yaml", "file.missing"),
        ("no/such.yml", "file.missing"),
    ],
)
def test_file_that_is_none_is_refused(text: str, code: str):
    with pytest.raises(ConfigError) as refusal:
        load_routes(text)
    assert (refusal.value.code, refusal.value.where) == (code, text)


def test_equal_mistakes_in_one_line_are_each_said(load: Load):
    route = "{route_id: %s, condition: close > 1, destination: {kind: memory}, batch_size: 0}"
    lines = refusals(load, f"routes: [{route % 'a'}, {route % 'b'}]")
    assert [line.partition(": must")[0] for line in lines] == [
        "routes.yaml:1: routes[0].batch_size",
        "routes.yaml:1: routes[1].batch_size",
    ]


def test_folder_or_file_that_cannot_be_read_is_refused(tmp_path: Path):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"Is a directory \[file\.unreadable\]"):
        load_routes(tmp_path / "folder.yaml")


def test_secrets_are_shown_by_no_error(load: Load, monkeypatch):
    monkeypatch.setenv("WORD", "tr0ub4dor")
    lines = refusals(
        load,
        """\
        destinations:
          a: {kind: csv_file, path: x, compression: "${env:WORD}", password: hunter2}
          b: {kind: csv_file, path: x, filename_pattern: "{${env:WORD}}"}
          c: {kind: csv_file, path: hunter2, append: hunter2}
        routes: []
        """,
    )
    assert len(lines) == 7
    assert not [line for line in lines if "tr0ub4dor" in line or "hunter2" in line]


def test_secrets_are_shown_by_no_later_error(load: Load, monkeypatch):
    monkeypatch.setattr(hidden, "_SHOWN", {})
    monkeypatch.setenv("WORD", "tr0ub4dor")
    load("""\
        routes:
          - {route_id: a, condition: close > 1, destination: {kind: csv_file, path: "${env:WORD}"}}
        """)
    assert said(OSError("cannot write tr0ub4dor/a.csv")) == "OSError: cannot write ${env:WORD}/a.csv"


def test_a_thousand_routes_to_one_destination_are_loaded(load: Load):
    routes = "".join(
        f"  - {{route_id: r{n}, condition: 'close > {n}', destination: here}}\n" for n in range(1000)
    )
    table = load(f"destinations: {{here: {{kind: memory}}}}\nroutes:\n{routes}")
    assert len(table) == 1000
    assert isinstance(table.route("r999").destination, MemoryDestination)
