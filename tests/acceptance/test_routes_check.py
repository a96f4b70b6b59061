"""`candlefleet routes check`: what a person is told before a fleet runs a routes file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.acceptance.fleet_fixture import Said, files_under

PROJECT = Path(__file__).parents[2]

HEAD = """
from destinations import CSVDestination, DataDestination, MemoryDestination
from router import Route, UnavailableError

default_destination = MemoryDestination(name="rest")
"""
CLEAN = "routes = [Route(route_id='daily', condition=\"timeframe = '1d'\", destination=MemoryDestination())]"
WARNED = CLEAN.replace("condition=", "max_retries=0, condition=")
BROKEN = CLEAN.replace("timeframe = '1d'", "timeframe = '1d' and timeframe = '1h'")
AWAY = """
class Away(DataDestination):
    def open(self):
        raise UnavailableError("10.0.0.1 answers 503")

    def write_batch(self, batch):
        pass

routes = [Route(route_id="away", condition="close > open", destination=Away())]
"""


def files_in(folder: Path) -> str:
    """Return a route to files under a folder."""
    destination = f"CSVDestination({str(folder)!r})"
    return f"routes = [Route(route_id='files', condition='close > open', destination={destination})]"


@pytest.fixture
def checked(candlefleet, tmp_path) -> Callable[..., Said]:
    """Write a routes file, check it, and return what was said."""

    def call(text: str, *options: str, **environment: str) -> Said:
        path = tmp_path / "routes.py"
        path.write_text(HEAD + text)
        known = {"CANDLEFLEET_DIR": str(tmp_path / "none"), "COLUMNS": "200"} | environment
        return candlefleet("routes", "check", str(path), *options, environment=known)

    return call


@pytest.mark.parametrize(
    ("text", "options", "code", "summary"),
    [
        (CLEAN, (), 0, "1 route, 2 destinations: no findings"),
        (CLEAN, ("--strict",), 0, "1 route, 2 destinations: no findings"),
        (WARNED, (), 0, "1 route, 2 destinations: 1 warning"),
        (WARNED, ("--strict",), 1, "1 route, 2 destinations: 1 warning"),
        (BROKEN, (), 1, "1 route, 2 destinations: 1 error"),
        ("routes = []", (), 0, "0 routes, 1 destination: 1 warning"),
    ],
)
def test_exit_code_and_last_line_tell_the_outcome(checked, text, options, code, summary):
    said = checked(text, *options)
    assert (said.code, said.err) == (code, "")
    assert said.out.splitlines()[-1] == summary


def test_finding_is_told_with_its_place_its_code_and_what_to_do(checked, tmp_path):
    said = checked(BROKEN)
    assert " ".join(said.out.split()).startswith(
        f"error {tmp_path}/routes.py:6: daily.condition: timeframe = '1d' and timeframe = '1h' are never "
        "true together, so the route never takes a point [condition.never] "
        "→ write OR where either may hold, or mend one of them"
    )


def test_programs_get_the_findings_as_json(checked):
    said = checked(WARNED, "--json", "--strict")
    assert said.code == 1
    assert (said.json["routes"], said.json["destinations"]) == (1, 2)
    (finding,) = said.json["findings"]
    assert finding["severity"] == "warning"
    assert (finding["code"], finding["route_id"], finding["field"]) == (
        "retries.none",
        "daily",
        "max_retries",
    )


def test_file_that_cannot_be_loaded_is_another_exit_code(checked, candlefleet, tmp_path):
    said = checked(CLEAN.replace("timeframe =", "tmeframe ="))
    assert (said.code, said.out) == (2, "")
    assert "did you mean 'timeframe'?" in said.err
    missing = candlefleet("routes", "check", str(tmp_path / "no.py"), environment={})
    assert missing.code == 2


MISTAKEN = """\
destinations:
  bars: {kind: memory}
routes:
  - route_id: daily
    condition: tmeframe = '1d'
    destination: bars
  - route_id: hourly
    condition: close > 'abc'
    destination: bras
"""


def test_every_mistake_of_a_yaml_file_is_listed_with_its_line(candlefleet, tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(MISTAKEN)
    said = candlefleet("routes", "check", str(path), environment={})
    told = candlefleet("routes", "check", str(path), "--json", environment={})

    assert (said.code, said.out, told.code, told.err) == (2, "", 2, "")
    assert [line.split(": ")[0] for line in said.err.splitlines()[1:]] == [f"{path}:{n}" for n in (5, 8, 9)]
    assert told.json["loaded"] is False
    assert [one["code"] for one in told.json["findings"]] == [
        "condition.unknown_field",
        "condition.type",
        "destination.undefined",
    ]
    assert told.json["findings"][0]["where"] == f"{path}:5: routes[0].condition"


def test_findings_in_a_yaml_file_have_their_line(candlefleet, tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(
        MISTAKEN.replace("tmeframe", "timeframe").replace("'abc'", "1 and close < 1").replace("bras", "bars")
    )
    said = candlefleet("routes", "check", str(path), environment={"COLUMNS": "200"})
    assert said.code == 1
    assert f"error    {path}:8: hourly.condition: close > 1 and close < 1 are never true together" in said.out


def test_settings_of_the_fleet_are_those_of_the_environment(checked):
    slow = CLEAN.replace("condition=", "retry_delay=30, condition=")
    assert checked(slow).code == 0
    said = checked(slow, CANDLEFLEET_RETRY_CAP="10")
    assert "retry_delay 30 s is cut to CANDLEFLEET_RETRY_CAP, 10 s" in said.out


def test_nothing_is_opened_unless_it_is_asked_for(checked, tmp_path):
    files = files_in(tmp_path / "out")
    assert checked(files).code == 0
    assert not (tmp_path / "out").exists()
    said = checked(files, "--connect")
    assert said.code == 0
    assert (tmp_path / "out").is_dir()
    assert files_under(tmp_path / "out") == []


def test_destination_that_cannot_be_opened_is_told_in_its_own_words(checked):
    assert checked(AWAY).code == 0
    said = checked(AWAY, "--connect")
    assert said.code == 1
    assert "away.destination: cannot be opened: UnavailableError: 10.0.0.1 answers 503" in said.out


def test_root_that_cannot_be_made_is_told_once(checked, tmp_path):
    (tmp_path / "file").touch()
    files = files_in(tmp_path / "file" / "out")
    for options in ((), ("--connect",)):
        said = checked(files, *options)
        assert said.code == 1
        assert said.out.count("[path.not_writable]") == 1


def test_broker_that_nobody_started_is_no_fault(checked):
    said = checked(CLEAN, "--connect")
    assert said.code == 0
    assert "broker: none is configured, and no embedded Redis runs in" in said.out


def test_broker_that_does_not_answer_is_one(checked):
    said = checked(CLEAN, "--connect", CANDLEFLEET_BROKER_URL="redis://:hidden@127.0.0.1:1/0")
    assert said.code == 1
    assert "[broker.unreachable]" in said.out
    assert "hidden" not in said.out


@pytest.mark.parametrize("url", ["redis://:hidden@127.0.0.1:port/0", "redis://:hid/den@127.0.0.1:1/0"])
def test_broker_whose_url_cannot_be_read_is_said_without_it(checked, url):
    said = checked(CLEAN, "--connect", CANDLEFLEET_BROKER_URL=url)
    assert (said.code, said.out) == (2, "")
    assert "CANDLEFLEET_BROKER_URL: cannot be read: write redis://user:password@host:port/0" in said.err
    assert "hid" not in said.err


def test_broker_is_asked_whether_it_keeps_what_it_is_given(checked, redis_url):
    assert checked(CLEAN, "--connect", CANDLEFLEET_BROKER_URL=redis_url).code == 0
    with closing(redis.Redis.from_url(redis_url)) as server:
        server.config_set("maxmemory-policy", "allkeys-lru")
        try:
            said = checked(CLEAN, "--connect", CANDLEFLEET_BROKER_URL=redis_url)
        finally:
            server.config_set("maxmemory-policy", "noeviction")
    assert said.code == 1
    assert (
        "maxmemory-policy is allkeys-lru, so it may drop points: set noeviction [redis.eviction]" in said.out
    )


def test_example_routes_hold_nothing_to_mend(candlefleet, tmp_path):
    said = candlefleet(
        "routes",
        "check",
        str(PROJECT / "examples/routes.py"),
        "--strict",
        "--json",
        environment={"CANDLEFLEET_EXPORTS": str(tmp_path)},
    )
    assert said.code == 0
    assert [finding["code"] for finding in said.json["findings"]] == ["condition.python"]


def test_a_destination_to_which_nothing_goes_is_named_and_hurts_nobody(candlefleet, tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(
        "destinations:\n"
        "  used: {kind: memory}\n"
        "  spare: {kind: memory}\n"
        "routes: [{route_id: a, condition: close > open, destination: used}]\n"
        "default_destination: used\n"
    )
    known = {"CANDLEFLEET_DIR": str(tmp_path / "none"), "COLUMNS": "200"}
    said = candlefleet("routes", "check", str(path), environment=known)
    assert said.code == 0
    assert f"warning  {path}:3: spare: no route goes there" in said.out
    assert candlefleet("routes", "check", str(path), "--strict", environment=known).code == 1
