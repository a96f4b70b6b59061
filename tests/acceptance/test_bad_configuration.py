"""Configuration that cannot be used, case by case: one message, nothing shown that is secret, exit code 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from destinations import MemoryDestination
from router import ConfigError, DataRouter, Route
from tests.acceptance.fleet_fixture import configured
from workers import cli

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def candlefleet(tmp_path, monkeypatch, capsys) -> Say:
    """Run a command on a routes file in YAML; return its exit code and what it said."""

    def call(text: str, *command: str) -> tuple[int, str, str]:
        (tmp_path / "routes.yaml").write_text(text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["candlefleet", *command])
        given = {"CANDLEFLEET_ROUTES": "routes.yaml", "CANDLEFLEET_DIR": str(tmp_path / "fleet")}
        with configured(given), pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


class Bad(NamedTuple):
    """Something a person writes, and the one line it is answered with."""

    case: str  #: its number in the list of bad inputs
    text: str
    line: str


ROUTE = """\
routes:
  - route_id: a
    condition: {condition}
    destination: {{kind: memory}}
    {field}
"""
FILE = """\
routes:
  - route_id: a
    condition: "true"
    destination:
      kind: csv_file
      path: out
      {}
"""


def bad_condition(case: str, condition: str, message: str) -> Bad:
    """Return a condition, quoted, and what is said of it."""
    text = ROUTE.format(condition=json.dumps(condition), field="")
    return Bad(case, text, f"routes.yaml:3: routes[0].condition: {message}")


def bad_field(case: str, field: str, message: str) -> Bad:
    """Return a field of a route, and what is said of it."""
    text = ROUTE.format(condition='"true"', field=field)
    return Bad(case, text, f"routes.yaml:5: routes[0].{field.partition(':')[0]}: {message}")


def bad_argument(case: str, argument: str, message: str) -> Bad:
    """Return an argument of a file destination, and what is said of it."""
    name = argument.partition(":")[0]
    return Bad(case, FILE.format(argument), f"routes.yaml:7: routes[0].destination.{name}: {message}")


NOT_DECLARED = "is not declared; functions are abs, coalesce, lower, upper [condition.forbidden]"
NO_PLACE = "has no place in a condition, which reads columns of one point [condition.forbidden]"
KNOWN = "symbol, timeframe, date, asset_class, source"
LITERAL = "a secret stands here for all to read: write ${env:NAME} or ${file:PATH} [secret.literal]"
PLAIN = "has a tag (!): only plain values are read from this file [yaml.tag]"

CASES = [
    bad_condition(
        "S081",
        "__import__('os').system('id')",
        "\"__import__('os').system('id')\" is not one of the declared operators [condition.syntax]",
    ),
    bad_condition("S082", "close > 9**9**9", "cannot be read near '9' [condition.syntax]"),
    bad_condition(
        "S082 depth", "(" * 99 + "true" + ")" * 99, "more than 32 open parentheses [condition.syntax]"
    ),
    bad_condition(
        "S082 length", "close > 1" + "0" * 5_000, "5,009 characters are more than 4,096 [condition.syntax]"
    ),
    bad_condition("S083", "symbol IN (SELECT a FROM read_csv('x.csv'))", f"'SELECT' {NO_PLACE}"),
    bad_condition("S083 function", "read_csv('x.csv') = 1", f"read_csv {NOT_DECLARED}"),
    bad_condition("S083 clock", "timestamp > now()", f"now {NOT_DECLARED}"),
    bad_condition("S083 two", "true; DROP TABLE x", f"';' {NO_PLACE}"),
    bad_condition(
        "S084",
        "tmeframe == '1d'",
        "a point has no field 'tmeframe' (did you mean 'timeframe'?) [condition.unknown_field]",
    ),
    bad_condition("S085", "close > 'abc'", "close is a number and 'abc' is text [condition.type]"),
    Bad(
        "S086",
        ROUTE.format(
            condition='"true"', field="\n  - {route_id: a, condition: 'true', destination: {kind: memory}}"
        ),
        "routes.yaml:6: routes[1].route_id: another route has this id [route.duplicate_id]",
    ),
    Bad(
        "S087",
        """\
destinations: {here: {kind: memory}}
routes:
  - {route_id: a, condition: "true", destination: here}
  - {route_id: b, condition: "true", destination: here}
  - {route_id: c, condition: "true"}
""",
        "routes.yaml:5: routes[2].destination: missing: a route needs one [required]",
    ),
    bad_field("S088", "batch_size: 0", "must be a whole number from 1 to 1,000,000 or None, not 0 [range]"),
    bad_field("S090", "rate_limit: 0", "must be a finite number above 0 or None, not 0 [range]"),
    bad_argument(
        "S091",
        'filename_pattern: "{symbol.__class__}_{date}.csv"',
        f"'symbol.__class__' is not one of {KNOWN} [pattern.field]",
    ),
    bad_argument(
        "S092", 'filename_pattern: "{symbol"', "'{symbol' has a '{' without its partner [pattern.syntax]"
    ),
    bad_argument(
        "S093",
        'filename_pattern: "../{symbol}.csv"',
        "'../{symbol}.csv' must be relative, with no empty, hidden or '..' part [pattern.path]",
    ),
    bad_argument("S094", 'compression: "zip"', "'zip' is not one of None, gzip, bz2, zstd [enum]"),
    bad_argument("S098", "password: hunter2", LITERAL),
    bad_argument("S098 URL", "url: kafka://me:hunter2@broker", LITERAL),
    bad_argument(
        "S099",
        "compression: ${env:NOBODY_SETS_THIS}",
        "the environment variable NOBODY_SETS_THIS is not set, or empty [secret.missing]",
    ),
    bad_argument(
        "S099 file",
        "compression: ${file:no/such/secret}",
        "'no/such/secret' cannot be read: No such file or directory [secret.missing]",
    ),
    Bad(
        "S100",
        ROUTE.format(condition="!!python/object/apply:os.system [id]", field=""),
        f"routes.yaml:3: routes[0].condition: {PLAIN}",
    ),
    Bad(
        "S101",
        ROUTE.format(condition='"true"', field="condition: close > 1"),
        "routes.yaml:5:5: routes[0].condition: 'condition' was given before, in line 3 [yaml.duplicate_key]",
    ),
]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.case)
def test_routes_are_refused_with_one_line_and_no_secret(bad: Bad, candlefleet: Say):
    code, out, err = candlefleet(bad.text, "routes", "list")
    assert (code, out) == (2, "")
    assert err == f"candlefleet: {bad.line}\n"
    assert "hunter2" not in err
    assert "Traceback" not in err


def test_s086_two_routes_of_one_id_are_refused_in_the_constructor_too():
    here = MemoryDestination()
    routes = [Route(route_id="a", condition="true", destination=here) for _ in range(2)]
    with pytest.raises(ConfigError, match=r"a\.route_id: another route has this id \[route\.duplicate_id\]"):
        DataRouter(routes)


def test_s089_a_batch_size_without_a_timeout_gets_one_that_is_shown(candlefleet: Say):
    _, out, _ = candlefleet(
        ROUTE.format(condition='"true"', field="batch_size: 100"), "routes", "list", "--json"
    )
    (route,) = json.loads(out)
    assert (route["batch_size"], route["batch_timeout"]) == (100, 5.0)


def test_s095_an_output_root_that_is_not_writable_is_refused_at_start(candlefleet: Say, tmp_path):
    code, out, err = candlefleet(FILE.format("").replace("path: out", "path: routes.yaml/out"), "up")
    assert (code, out) == (2, "")
    assert err == (
        "candlefleet: destination a: path: routes.yaml/out: [Errno 17] File exists: "
        f"'{tmp_path / 'routes.yaml'}' [path.not_writable]\n"
    )
