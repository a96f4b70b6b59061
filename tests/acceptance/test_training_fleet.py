"""A real fleet that writes a training set, whatever is killed meanwhile."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from destinations.training.destination import example_lines
from destinations.training.options import PARTS, SETTINGS, TrainingOptions
from router import NormalizedDataPoint, PointBatch
from tests.acceptance.fleet_fixture import Crew, crew_at_work, pool, until
from tests.acceptance.training_fleet_code import with_indicators
from tests.make import make_point
from workers.series import decode_windows, window_name

ROUTES = Path(__file__).with_name("training_fleet.yaml")
WINDOW = 10


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the training set."""
    return tmp_path_factory.mktemp("sets") / "minutes"


@pytest.fixture(scope="module")
def teachers(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `training_fleet.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINING_SET", str(dataset))
        with crew_at_work(tmp_path_factory.mktemp("teachers"), ROUTES) as at_work:
            yield at_work


def parts(dataset: Path) -> list[Path]:
    return sorted((dataset / PARTS).rglob("part-*.jsonl"), key=lambda path: path.name)


def written(dataset: Path, source: str) -> list[dict[str, Any]]:
    """Return the examples of a source, in the order of writing, without the route that wrote them."""
    rows = (json.loads(line) for path in parts(dataset) for line in path.read_text().splitlines())
    return [row | {"route_version": ""} for row in rows if row["source"] == source]


def undisturbed(dataset: Path, points: Sequence[NormalizedDataPoint]) -> list[dict[str, Any]]:
    """Return the examples of points that come all at once and in order."""
    options = TrainingOptions.from_json((dataset / SETTINGS).read_text())
    return [json.loads(line) for line in example_lines(PointBatch.of(points), options).values()]


def in_time(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["symbol"], row["as_of"]))


def make_points(source: str, rows: int = 450, start: int = 0, **changes: Any) -> list[NormalizedDataPoint]:
    return [make_point(row=start + row, source=source, **changes) for row in range(rows)]


def test_examples_are_those_of_the_bars_and_their_rows_are_on_record(teachers, dataset, candlefleet):
    bitcoin, ether = make_points("plain", 150), make_points("plain", 40, symbol="ETH/USDT")
    found = teachers.deliver([*bitcoin, *ether])
    complete = undisturbed(dataset, [*bitcoin[:-1], *ether[:-1]])  # the newest may still change for a minute
    assert in_time(written(dataset, "plain")) == in_time(complete)
    (route,) = [route for route in found.routes if route.route_id == "examples"]
    assert route.written == route.delivered
    assert candlefleet("audit", environment=teachers.environment).code == 0


def test_workers_killed_while_they_write_leave_every_example_once(teachers, dataset, candlefleet):
    points = make_points("killed", 2000)
    before = len(parts(dataset))
    for start in range(0, len(points), 250):
        teachers.producer.send_batch(points[start : start + 250])
    for more in range(1, 4):
        until(lambda more=more: len(parts(dataset)) >= before + more, "a worker is in mid-write", every=0.0)
        for child in pool(teachers.pid):
            os.kill(child, signal.SIGKILL)
    teachers.settled()
    found = written(dataset, "killed")
    assert len({row["example_id"] for row in found}) == len(found)
    assert found == undisturbed(dataset, points[:-1])
    assert candlefleet("audit", environment=teachers.environment).code == 0


def test_a_series_goes_on_after_all_workers_were_replaced(teachers, dataset):
    points = make_points("replaced", 60)
    teachers.deliver(points[:30])
    for child in pool(teachers.pid):
        os.kill(child, signal.SIGKILL)
    teachers.deliver(points[30:])
    assert written(dataset, "replaced") == undisturbed(dataset, points[:-1])


def test_a_bar_within_the_allowed_lateness_takes_its_place_and_a_later_one_is_a_dead_letter(
    teachers, dataset
):
    points = make_points("late", 40)
    swapped = [*points[:20], points[21], points[20], *points[22:30], *points[31:], points[30]]
    teachers.deliver(swapped)
    without = [*points[:30], *points[31:-1]]
    assert in_time(written(dataset, "late")) == in_time(undisturbed(dataset, without))
    (letter,) = teachers.letters("examples")
    assert letter["original"]["timestamp"].startswith("2024-01-01T00:30")
    assert letter["reasons"][0]["code"] == "late"
    assert "allowed_lateness of its route is 60 s" in letter["reasons"][0]["message"]


def test_windows_are_bounded_and_hold_the_newest_bars(teachers):
    points = make_points("window", 300)
    teachers.deliver(points)
    series = ("window", "BTC/USDT", "1m")
    kept = teachers.store.windows("examples", [window_name("destination", series)])
    closes = decode_windows([series], kept).frame["close"].to_list()
    assert closes == [point.close for point in points[-len(closes) :]]
    assert len(closes) == WINDOW + 1 + 1  # and the one that may still change


def test_indicators_are_those_of_one_batch_whatever_is_killed(teachers, dataset):
    closes = [100 + 10 * math.sin(n / 3) + n % 7 for n in range(1500)]
    points = [
        make_point(row=5 * n, timeframe="5m", source="indicated", open=c, high=c + 1, low=c - 1, close=c)
        for n, c in enumerate(closes)
    ]
    folder = Path(f"{dataset}-indicated")
    for start in range(0, len(points), 100):
        teachers.producer.send_batch(points[start : start + 100])
        if start in (300, 700):
            before = len(parts(folder))
            until(lambda before=before: len(parts(folder)) > before, "a worker is in mid-write", every=0.0)
            for child in pool(teachers.pid):
                os.kill(child, signal.SIGKILL)
    teachers.settled()
    options = TrainingOptions.from_json((folder / SETTINGS).read_text())
    lines = example_lines(with_indicators(PointBatch.of(points)), options)
    found = written(folder, "indicated")
    assert found == [json.loads(line) for line in lines.values()]
    assert found[-1]["current"]["indicators"].keys() == {"sma_20", "rsi_14", "vwap_5"}
