"""The `candlefleet` command, as a person and as a program uses it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from tests.acceptance.brokers import broker_of_the_run
from tests.acceptance.fleet_fixture import (
    CANDLEFLEET,
    alive,
    clean_environment,
    descendants,
    files_under,
    json_rows,
    run,
    running,
    until,
)
from tests.make import make_point
from workers.embedded import running_url

PROJECT = Path(__file__).parents[2]
HEADER = "timestamp,open,high,low,close,volume,symbol,asset_class,timeframe,source"

ROUTES = """
import os
from destinations import CSVDestination
from router import Route

exports = CSVDestination(os.environ["CANDLEFLEET_EXPORTS"])
routes = [Route(route_id="all", condition="true", destination=exports)]
"""


def row(minute: int, symbol: str = "CLI", close: str = "10.5") -> str:
    return f"2024-01-01T00:{minute:02}:00Z,10,11,9,{close},1,{symbol},equity,1m,plain"


def make_file(path: Path, rows: Sequence[str]) -> str:
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return str(path)


def csv_rows(folder: Path, pattern: str = "*.csv") -> list[dict[str, str]]:
    """Return the rows of CSV files under a folder."""
    found: list[dict[str, str]] = []
    for path in sorted(folder.rglob(pattern)):
        with path.open(newline="") as file:
            found += csv.DictReader(file)
    return found


# -- look ------------------------------------------------------------------------------------------


def test_routes_list_describes_every_route(crew, candlefleet):
    listed = candlefleet("routes", "list", environment=crew.environment)
    told = candlefleet("routes", "list", "--json", environment=crew.environment)

    assert listed.code == told.code == 0
    assert all(route_id in listed.out for route_id in crew.table.route_ids)
    by_id = {route["route_id"]: route for route in told.json}
    assert set(by_id) == {*crew.table.route_ids, "default"}
    assert by_id["hopeless"]["queue"] == "destinations.hopeless"
    assert by_id["hopeless"]["task"] == "deliver.hopeless"
    assert by_id["hopeless"]["max_retries"] == 2


def test_routes_list_needs_no_broker_and_takes_a_file(tmp_path, candlefleet):
    (tmp_path / "mine.py").write_text(ROUTES)
    environment = {"CANDLEFLEET_EXPORTS": str(tmp_path / "out"), "CANDLEFLEET_DIR": str(tmp_path)}

    said = candlefleet("routes", "list", "--routes", str(tmp_path / "mine.py"), environment=environment)

    assert said.code == 0
    assert "all" in said.out


def test_status_shows_what_every_route_owes(crew, candlefleet):
    crew.settled()

    shown = candlefleet("status", environment=crew.environment)
    told = candlefleet("status", "--json", environment=crew.environment)

    assert shown.code == told.code == 0
    assert "points wait for routing" in shown.out
    assert {route["route_id"] for route in told.json["routes"]} == {*crew.table.route_ids, "default"}
    assert told.json["owed"] == 0
    assert told.json["holds"] is True


def test_audit_holds_and_breaks_with_a_counter(crew, candlefleet):
    crew.settled()
    totals = "candlefleet:totals"

    before = candlefleet("audit", environment=crew.environment)
    crew.store.redis.hincrby(totals, "accepted", 1)
    try:
        broken = candlefleet("audit", environment=crew.environment)
        told = candlefleet("audit", "--json", environment=crew.environment)
    finally:
        crew.store.redis.hincrby(totals, "accepted", -1)
    after = candlefleet("audit", "--json", environment=crew.environment)

    assert (before.code, broken.code, told.code, after.code) == (0, 1, 1, 0)
    assert "adds up" in before.out
    assert "does not add up" in broken.out
    assert "accepted + replayed = invalid + waiting + routed" in broken.out
    assert told.json["holds"] is False
    assert len(told.json["broken"]) == 1
    assert after.json["holds"] is True


def test_audit_finds_more_delivered_than_the_files_hold(crew, candlefleet):
    crew.deliver([make_point(source="plain", symbol="AUDITED")])
    stats = "candlefleet:route:csv"

    crew.store.redis.hincrby(stats, "delivered", 10_000)
    crew.store.redis.hincrby(stats, "matched", 10_000)
    try:
        said = candlefleet("audit", environment=crew.environment)
    finally:
        crew.store.redis.hincrby(stats, "delivered", -10_000)
        crew.store.redis.hincrby(stats, "matched", -10_000)

    assert said.code == 1
    assert "csv: " in said.out
    assert "its destination holds" in said.out


# -- send ------------------------------------------------------------------------------------------


def test_a_file_sent_twice_adds_nothing_unless_asked(crew, candlefleet, tmp_path):
    path = make_file(tmp_path / "once.csv", [row(minute, "ONCE") for minute in range(5)])
    wait = ("--wait", "--json")

    first = candlefleet("send", path, *wait, environment=crew.environment)
    second = candlefleet("send", path, *wait, environment=crew.environment)
    told = candlefleet("send", path, environment=crew.environment)
    again = candlefleet("send", path, "--again", *wait, environment=crew.environment)

    assert first.json == {"accepted": 5, "refused": 0, "again": 0}
    assert second.json == {"accepted": 0, "refused": 0, "again": 5}
    assert "5 were sent before (--again sends them as new)" in told.out
    assert again.json == {"accepted": 5, "refused": 0, "again": 0}
    assert len(csv_rows(crew.exports / "csv", "ONCE_1m.csv")) == 10


def test_a_bad_row_is_named_by_file_and_line_and_the_rest_is_sent(crew, candlefleet, tmp_path):
    path = make_file(tmp_path / "some.csv", [row(0, "SOME"), row(1, "SOME", close="oops"), row(2, "SOME")])

    sent = candlefleet("send", path, "--wait", environment=crew.environment)
    listed = candlefleet("dead-letters", "list", "--limit", "1", environment=crew.environment)
    told = candlefleet("dead-letters", "list", "--limit", "1", "--json", environment=crew.environment)

    assert sent.code == 0
    assert "2 points accepted" in sent.out
    assert "1 refused" in sent.out
    (letter,) = told.json
    assert letter["where"].endswith("some.csv:3")
    assert [(reason["code"], reason["field"]) for reason in letter["reasons"]] == [("number.format", "close")]
    assert "oops" in letter["original"]
    assert listed.code == 0
    assert len(csv_rows(crew.exports / "csv", "SOME_1m.csv")) == 2


def test_bars_can_be_piped_in(crew, candlefleet):
    points = [{"symbol": "PIPED", "timestamp": f"2024-01-01T00:0{minute}:00Z"} for minute in range(3)]
    rest = dict(zip(HEADER.split(",")[1:6], (10, 11, 9, 10.5, 1), strict=True))
    fixed = {"asset_class": "equity", "timeframe": "1m", "source": "plain"}
    stdin = "".join(json.dumps(point | rest | fixed) + "\n" for point in points)

    said = candlefleet("send", "-", "--wait", "--json", environment=crew.environment, stdin=stdin)

    assert said.json == {"accepted": 3, "refused": 0, "again": 0}
    assert len(csv_rows(crew.exports / "csv", "PIPED_1m.csv")) == 3


# -- errors are one line -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("audit",), ("send", "x.csv"), ("dead-letters", "list")])
def test_without_a_broker_a_command_says_how_to_get_one(command, tmp_path, candlefleet):
    (tmp_path / "x.csv").write_text(HEADER + "\n")
    arguments = [str(tmp_path / "x.csv") if argument == "x.csv" else argument for argument in command]

    said = candlefleet(*arguments, environment={"CANDLEFLEET_DIR": str(tmp_path)})

    assert said.code == 2
    (line,) = said.err.splitlines()
    assert line.startswith("candlefleet: CANDLEFLEET_BROKER_URL: no broker is configured")
    assert "candlefleet up" in line


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"CANDLEFLEET_BROKER_URL": "localhost:6379"}, ["CANDLEFLEET_BROKER_URL", "redis://"]),
        ({"CANDLEFLEET_LEASE": "soon"}, ["CANDLEFLEET_LEASE", "number"]),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment, words, candlefleet):
    said = candlefleet("status", environment=environment)

    assert said.code == 2
    (line,) = said.err.splitlines()
    assert all(word in line for word in words)


def test_a_file_that_is_not_there_is_named(crew, candlefleet, tmp_path):
    said = candlefleet("send", str(tmp_path / "nothing.csv"), environment=crew.environment)

    assert said.code == 2
    (line,) = said.err.splitlines()
    assert "nothing.csv" in line


def test_a_routes_file_that_is_not_there_is_named(crew, candlefleet, tmp_path):
    said = candlefleet("routes", "list", "--routes", str(tmp_path / "none.py"), environment=crew.environment)

    assert said.code == 2
    (line,) = said.err.splitlines()
    assert "none.py" in line


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "routes.py").write_text(ROUTES)
    environment = clean_environment(
        CANDLEFLEET_DIR=str(tmp_path / "file" / "fleet"), CANDLEFLEET_EXPORTS=str(tmp_path / "out")
    )

    said = run([*CANDLEFLEET, "up", "--no-flower"], environment, tmp_path)

    assert said.returncode == 2
    (line,) = said.stderr.splitlines()
    assert str(tmp_path / "file") in line


# -- up ----------------------------------------------------------------------------------------------


class Up(NamedTuple):
    """A fleet started by `candlefleet up`."""

    process: subprocess.Popen[bytes]
    members: list[int]
    environment: dict[str, str]
    folder: Path


@contextmanager
def up(folder: Path) -> Iterator[Up]:
    """Start a fleet of one route, and wait until it says that it is up."""
    (folder / "routes.py").write_text(ROUTES)
    log = folder / "up.log"
    with ExitStack() as stack:
        environment = clean_environment(
            CANDLEFLEET_BROKER_URL=stack.enter_context(broker_of_the_run("")),
            CANDLEFLEET_DIR=str(folder / "fleet"),
            CANDLEFLEET_EXPORTS=str(folder / "out"),
        )
        process = stack.enter_context(running([*CANDLEFLEET, "up", "--no-flower"], log, environment))
        until(lambda: "Ctrl-C stops everything" in log.read_text(), "the fleet is up")
        members = descendants(process.pid)
        try:
            yield Up(process, members, environment, folder)
        finally:
            for pid in filter(alive, members if process.poll() is None else []):
                os.kill(pid, signal.SIGTERM)


def assert_all_stopped(fleet: Up) -> None:
    assert fleet.process.wait(60) == 0
    assert [pid for pid in fleet.members if alive(pid)] == []
    assert running_url(fleet.folder / "fleet") is None


def test_up_serves_until_ctrl_c_and_leaves_no_process(tmp_path):
    with up(tmp_path) as fleet:
        assert len(fleet.members) >= 6  # Redis, Beat, two workers with a process each
        path = make_file(tmp_path / "bars.csv", [row(minute) for minute in range(3)])
        sent = run([*CANDLEFLEET, "send", path, "--wait", "--json"], fleet.environment, tmp_path)
        assert json.loads(sent.stdout) == {"accepted": 3, "refused": 0, "again": 0}, sent.stderr
        assert len(csv_rows(tmp_path / "out")) == 3

        fleet.process.send_signal(signal.SIGINT)

        assert_all_stopped(fleet)


def test_a_second_fleet_in_a_folder_is_refused_and_sigterm_stops_the_first(tmp_path):
    with up(tmp_path) as fleet:
        second = run([*CANDLEFLEET, "up", "--no-flower"], fleet.environment, tmp_path)
        assert second.returncode == 2
        (line,) = second.stderr.splitlines()
        assert "a fleet already runs here" in line
        url = running_url(tmp_path / "fleet")
        assert url is not None
        with closing(redis.Redis.from_url(url)) as client:
            assert client.ping()

        fleet.process.send_signal(signal.SIGTERM)

        assert_all_stopped(fleet)


# -- demo --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_demo_delivers_the_example_bars_once_however_often_it_runs(tmp_path):
    folder = tmp_path / "demo"
    command = [*CANDLEFLEET, "demo", "--dir", str(folder), "--no-flower"]

    first = run(command, clean_environment(), PROJECT)
    held = {path: path.read_bytes() for path in files_under(folder / "exports")}
    second = run(command, clean_environment(), PROJECT)

    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    for said in (first.stdout, second.stdout):
        assert all(name in said for name in ("csv_daily", "jsonl_index", "large_moves", "11,571", "5,031"))
        assert "adds up" in said
        assert "accepted 11,571 = invalid 0 + waiting 0 + routed 11,571" in said
    assert "11,571 points were sent before" in second.stderr
    counts = {
        path.name: len(csv_rows(path.parent, path.name)) for path in files_under(folder / "exports" / "daily")
    }
    assert counts == {"AAPL_daily.csv": 3270, "IBM_daily.csv": 3270, "%5EGSPC_daily.csv": 5031}
    assert len(json_rows(folder / "exports" / "index")) == 5031
    moves = csv_rows(folder / "exports" / "large-moves")
    assert moves
    assert all(abs(float(move["close"]) / float(move["open"]) - 1) > 0.1 for move in moves)
    assert {path: path.read_bytes() for path in files_under(folder / "exports")} == held
