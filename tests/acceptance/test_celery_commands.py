"""Celery's own commands, as its documentation writes them: worker, beat, inspect, flower."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fleet_fixture import BIN, alive, clean_environment, run, running, until
from tests.make import make_point
from tests.servers.process import free_port

CELERY = [str(BIN / "celery"), "-A", "workers"]

ROUTES = """
from destinations import CSVDestination
from router import Route

routes = [
    Route(route_id="csv_daily", condition="timeframe = '1d'", destination=CSVDestination("out")),
]
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working directory with a routes file and nothing else."""
    (tmp_path / "routes.py").write_text(ROUTES)
    return tmp_path


def fetched(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())
    except OSError:
        return None


def lines_of(text: str) -> list[str]:
    """Return the lines of a text without what Celery says about running as root."""
    told = re.sub(r"(?m)^.*SecurityWarning.*\n(.*\n)*?  _warn_or_raise_security_error.*\n", "", text)
    return [line for line in told.splitlines() if line.strip()]


# -- they work -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_for_one_queue_delivers_what_waited_for_it_and_flower_shows_it(crew, tmp_path):
    points = [make_point(row=row, source="late", symbol="WAITED") for row in range(4)]
    canary = make_point(source="canary", symbol="CANARY")
    crew.producer.send_batch(points)
    until(lambda: crew.route("late").owed == 4, "the points wait for a worker of their destination")
    port = free_port()
    flower = [*CELERY, "flower", "--address=127.0.0.1", f"--port={port}"]
    worker = [*CELERY, "worker", "-Q", "destinations.late", "-c", "2"]
    with running(flower, tmp_path / "flower.log", crew.environment | {"FLOWER_UNAUTHENTICATED_API": "true"}):
        tasks = f"http://127.0.0.1:{port}/api/tasks"
        until(lambda: fetched(tasks) is not None, "Flower answers", every=0.2)
        until(lambda: crew.producer.send_batch([canary]) and fetched(tasks), "Flower watches", every=0.2)

        with running(worker, tmp_path / "worker.log", crew.environment, cwd=tmp_path):
            crew.settled()
            delivered = f"{tasks}?taskname=deliver.late&state=SUCCESS"
            shown = until(lambda: fetched(delivered), "Flower shows the delivery", every=0.2)

    assert [row["timestamp"] for row in crew.rows("late")] == [p.timestamp.isoformat() for p in points]
    (task,) = shown.values()
    assert task["name"] == "deliver.late"
    assert task["kwargs"] == "{'rows': 4}"
    assert re.fullmatch(r"\('[0-9A-Z]{26}-0000000',\)", task["args"])


def test_inspect_registered_names_the_task_of_every_route(crew, tmp_path):
    asked = [*CELERY, "inspect", "registered", "-d", f"crew@{socket.gethostname()}", "--timeout", "60"]
    said = run(asked, crew.environment, tmp_path)

    assert said.returncode == 0, said.stderr
    tasks = set(re.findall(r"\* (\S+)", said.stdout))
    assert {f"deliver.{route_id}" for route_id in crew.table.route_ids} <= tasks
    assert {"router.route", "maint.sweep", "deliver.default"} <= tasks


def test_beat_needs_no_folder_and_sweeps(redis_url, store, folder):
    environment = clean_environment(CANDLEFLEET_BROKER_URL=redis_url)

    with running([*CELERY, "beat"], folder / "beat.log", environment) as beat:
        until(lambda: store.redis.llen("maint") > 1, "ticks in the queue")
        assert alive(beat.pid)

    assert sorted(path.name for path in folder.iterdir()) == ["beat.log", "routes.py"]


# -- they refuse -----------------------------------------------------------------------------------


def test_a_typo_in_a_queue_stops_the_worker_with_one_line(redis_url, folder):
    environment = clean_environment(CANDLEFLEET_BROKER_URL=redis_url)

    said = run([*CELERY, "worker", "-Q", "destinations.csv_dialy"], environment, folder)

    assert said.returncode != 0
    (line,) = lines_of(said.stdout + said.stderr)
    assert "destinations.csv_dialy" in line
    assert "did you mean 'destinations.csv_daily'?" in line


def test_a_broken_routes_file_stops_the_worker_with_one_line(redis_url, folder):
    environment = clean_environment(CANDLEFLEET_BROKER_URL=redis_url)
    (folder / "routes.py").write_text(ROUTES.replace("timeframe =", "time_frame ="))

    said = run([*CELERY, "worker", "-Q", "destinations.csv_daily"], environment, folder)

    assert said.returncode != 0
    (line,) = lines_of(said.stdout + said.stderr)
    assert line.startswith("candlefleet: routes.py:6: csv_daily.condition: ")
    assert "did you mean 'timeframe'?" in line


def test_every_mistake_of_routes_in_yaml_stops_the_worker_with_its_line(redis_url, folder):
    environment = clean_environment(CANDLEFLEET_BROKER_URL=redis_url, CANDLEFLEET_ROUTES="routes.yaml")
    routes = "routes:\n- {route_id: a, condition: clse > 1, destination: {kind: csv_fil, path: out}}\n"
    (folder / "routes.yaml").write_text(routes)

    said = run([*CELERY, "worker", "-Q", "destinations.a"], environment, folder)

    assert said.returncode != 0
    first, *others = lines_of(said.stdout + said.stderr)
    assert first == "candlefleet: routes.yaml: 2 mistakes"
    assert [line.partition(": ")[0] for line in others] == ["routes.yaml:2", "routes.yaml:2"]


def test_a_folder_that_cannot_be_written_stops_its_worker_and_no_other(redis_url, folder):
    environment = clean_environment(CANDLEFLEET_BROKER_URL=redis_url, CANDLEFLEET_DIR=str(folder))
    (folder / "out").write_text("no folder")

    said = run([*CELERY, "worker", "-Q", "destinations.csv_daily"], environment, folder)

    assert said.returncode != 0
    (line,) = lines_of(said.stdout + said.stderr)
    assert line.startswith("candlefleet: destination csv_daily: path: out: ")
    assert line.endswith("[path.not_writable]")
    router = [*CELERY, "worker", "-Q", "router", "-c", "1", "-l", "INFO"]
    with running(router, folder / "router.log", environment):
        until(lambda: "ready." in (folder / "router.log").read_text(), "the router's worker is ready")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["CANDLEFLEET_BROKER_URL", "no broker is configured", "candlefleet up"]),
        ({"CANDLEFLEET_BROKER_URL": "redis://:secret@127.0.0.1:1/0"}, ["127.0.0.1:1", "does not answer"]),
    ],
    ids=["none", "silent"],
)
def test_a_broker_that_cannot_be_used_stops_the_worker_with_one_line(folder, settings, words):
    said = run([*CELERY, "worker", "-Q", "destinations.csv_daily"], clean_environment(**settings), folder)

    assert said.returncode != 0
    (line,) = lines_of(said.stdout + said.stderr)
    assert all(word in line for word in words)
    assert "secret" not in line
