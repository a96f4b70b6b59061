"""A real fleet whose doubtful points wait for a person, and the person at `candlefleet review`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ulid import ULID

from tests.acceptance.fleet_fixture import CANDLEFLEET, Crew, Said, crew_at_work, pool, run, until
from tests.make import make_point
from tests.servers.postgres import plain

ROUTES = Path(__file__).with_name("review_fleet.yaml")
NOBODY = {"CANDLEFLEET_BROKER_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture(scope="module")
def reviewed(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `review_fleet.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIEW_DATABASE", postgres_url)
        patch.setenv("REVIEW_TABLE", f"review_{ULID()}".lower())
        with crew_at_work(tmp_path_factory.mktemp("reviewed"), ROUTES) as at_work:
            yield at_work


@pytest.fixture
def review(reviewed, candlefleet) -> Iterator[Callable[..., Said]]:
    """Run `candlefleet review`; whatever became of the points, the account is right at the end."""

    def call(*arguments: str, **changes: str) -> Said:
        return candlefleet("review", *arguments, environment={**reviewed.environment, **changes})

    yield call
    reviewed.settled()
    assert candlefleet("audit", environment=reviewed.environment).code == 0


@pytest.fixture
def doubtful(reviewed, review) -> Callable[..., list[str]]:
    """Send points that have to wait, and return their ids."""

    def send(symbol: str, points: int = 1, **changes: Any) -> list[str]:
        given = {"symbol": symbol, "data_quality_score": 0.62} | changes
        reviewed.deliver([make_point(row=row, **given) for row in range(points)])
        waiting = review("list", "--symbol", symbol, "--json", "--limit", "1000").json
        return [str(one["id"]) for one in waiting][::-1]

    return send


def delivered(crew: Crew, symbol: str) -> list[dict[str, Any]]:
    """Return what the route of good points got of a symbol, once nothing is owed."""
    crew.settled()
    return [row for row in crew.rows("bars") if row["symbol"] == symbol]


def killed_at(crew: Crew, point: str, *arguments: str) -> int:
    """Run `candlefleet review` in a process that dies at a fail point, and return how it ended."""
    environment = {**crew.environment, "CANDLEFLEET_FAILPOINTS": f"{point}=kill"}
    return run([*CANDLEFLEET, "review", *arguments], environment, crew.folder).returncode


# -- one decision ----------------------------------------------------------------------------------


def test_a_point_of_low_quality_waits_and_is_delivered_once_it_is_approved(reviewed, review, doubtful):
    (review_id,) = doubtful("APPROVED")
    assert delivered(reviewed, "APPROVED") == []
    before = reviewed.report().accepted

    listed = review("list", "--symbol", "APPROVED")
    said = review("approve", review_id, "--why", "checked", "--by", "ann")

    assert "data_quality_score < 0.8 (data_quality_score 0.62)" in listed.out
    assert (said.code, said.out.splitlines()) == (
        0,
        ["1 point approved by ann", "1 point sent: every route sees them anew"],
    )
    (row,) = delivered(reviewed, "APPROVED")
    assert row["data_quality_score"] == 1.0
    assert reviewed.report().accepted == before + 1
    shown = review("show", review_id, "--json").json
    assert (shown["state"], shown["decided_by"], shown["why"]) == ("approved", "ann", "checked")
    assert shown["point"]["data_quality_score"] == 0.62
    assert review("list", "--symbol", "APPROVED", "--json").json == []


def test_a_corrected_point_is_delivered_with_its_new_values(reviewed, review, doubtful):
    (review_id,) = doubtful("CORRECTED", volume=12.5)
    said = review(
        "correct", review_id, "close=42001.25", "volume=", "--why", "a fat finger", "--score", "0.97"
    )
    assert said.code == 0
    (row,) = delivered(reviewed, "CORRECTED")
    assert (row["close"], row["volume"], row["data_quality_score"]) == (42_001.25, None, 0.97)
    assert "a fat finger" in review("show", review_id).out


def test_a_rejected_point_goes_nowhere(reviewed, review, doubtful):
    ids = doubtful("REJECTED", 3)
    assert review("reject", *ids, "--why", "invented").out.startswith("3 points rejected by ")
    assert delivered(reviewed, "REJECTED") == []
    states = {one["state"] for one in review("list", "--state", "all", "--symbol", "REJECTED", "--json").json}
    assert states == {"rejected"}


def test_a_point_that_waits_for_another_reason_is_not_asked_about_twice_for_one(reviewed, review, doubtful):
    doubtful("TWICE", volume=0.0)
    ids = {one["route"]: str(one["id"]) for one in review("list", "--symbol", "TWICE", "--json").json}
    review("approve", ids["poor"], "--why", "the score is wrong", "--score", "0.99")
    assert len(delivered(reviewed, "TWICE")) == 1
    waiting = review("list", "--symbol", "TWICE", "--json").json
    assert [one["route"] for one in waiting] == ["silent"]
    assert review("show", ids["silent"], "--json").json["superseded_by"] == waiting[0]["id"]

    review("approve", str(waiting[0]["id"]), "--why", "a holiday")
    assert len(delivered(reviewed, "TWICE")) == 2
    assert review("list", "--symbol", "TWICE", "--json").json == []


def test_a_second_decision_is_refused_and_says_who_made_the_first(reviewed, review, doubtful):
    (review_id,) = doubtful("SECOND")
    review("approve", review_id, "--why", "checked", "--by", "ann")
    said = review("reject", review_id, "--why", "invented", "--by", "bob")
    assert said.code == 2
    assert said.err.startswith(f"candlefleet: {review_id} was approved by ann at ")
    assert said.err.endswith("UTC: checked [review.decided]\n")
    assert len(delivered(reviewed, "SECOND")) == 1


def test_a_revision_takes_the_place_of_the_point_that_waits(reviewed, review, doubtful):
    (older,) = doubtful("REVISED")
    (newer,) = doubtful("REVISED", close=42_000.25)
    said = review("approve", older, "--why", "checked")
    assert (said.code, f"{older} was superseded by {newer}" in said.err) == (2, True)
    review("approve", newer, "--why", "checked")
    assert [row["close"] for row in delivered(reviewed, "REVISED")] == [42_000.25]


def test_a_correction_that_is_no_valid_point_is_refused_with_every_reason(reviewed, review, doubtful):
    (review_id,) = doubtful("INVALID")
    said = review("correct", review_id, "low=50000", "volume=-1", "--why", "a typing error")
    assert said.code == 2
    assert "number.negative volume" in said.err
    assert "ohlc.high_below_low" in said.err
    assert [one["state"] for one in review("list", "--symbol", "INVALID", "--json").json] == ["waiting"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "999999"], "no point has this id; ids go from 1 to "),
        (["approve", "999998", "999999", "--why", "w"], "999998, 999999: no point has this id"),
        (["approve", "1", "--why", " "], "why: is empty"),
        (["correct", "1", "clsoe=1", "--why", "w"], "did you mean 'close'?"),
        (["correct", "1", "symbol=ETH", "--why", "w"], "makes the point the one it is"),
        (["correct", "1", "close", "--why", "w"], "write what changes like close=101.5"),
        (["correct", "1", "close=1", "close=2", "--why", "w"], "close: is given twice"),
        (["correct", "1", "technical_indicators={", "--why", "w"], "is not JSON"),
        (["list", "--state", "wating"], "did you mean 'waiting'?"),
        (["list", "--older-than", "yesterday"], "is no duration"),
        (["list", "--queue", "dsek"], "did you mean 'desk'?"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(review, arguments, said):
    found = review(*arguments)
    assert (found.code, said in found.err) == (2, True), found.err
    assert found.err.count("\n") == 1


def test_a_dry_run_says_what_would_happen_and_decides_nothing(review, doubtful):
    (review_id,) = doubtful("DRY")
    said = review("approve", review_id, "--why", "checked", "--by", "ann", "--dry-run")
    assert (said.code, said.out) == (0, "1 point would be approved by ann\n")
    assert [one["state"] for one in review("list", "--symbol", "DRY", "--json").json] == ["waiting"]


# -- what dies, what is away -----------------------------------------------------------------------


@pytest.mark.parametrize(("point", "copies"), [("review.decided", 0), ("review.accepted", 1)])
def test_a_decision_that_is_killed_before_it_is_sent_is_sent_once_by_the_next(
    reviewed, review, doubtful, point, copies
):
    symbol = point.upper()
    ids = doubtful(symbol, 3)
    assert killed_at(reviewed, point, "approve", *ids, "--why", "checked") == -signal.SIGKILL
    assert len(delivered(reviewed, symbol)) == 3 * copies

    listed = review("list", "--state", "approved", "--symbol", symbol)
    assert "3 points decided, not sent yet: `candlefleet review send`" in listed.out
    assert "approved, not sent yet" in listed.out

    (other,) = doubtful(f"{symbol}.OTHER")
    said = review("reject", other, "--why", "invented")
    assert "3 points decided before and not sent then: sent now" in said.err
    assert len(delivered(reviewed, symbol)) == 3
    assert review("send").out == "nothing waits to be sent\n"


def test_a_decision_is_kept_while_the_fleet_is_away(reviewed, review, doubtful):
    (review_id,) = doubtful("AWAY")
    said = review("approve", review_id, "--why", "checked", **NOBODY)
    assert said.code == 1
    assert said.out.splitlines()[0].startswith("1 point approved by ")
    assert said.out.splitlines()[1].startswith("not sent yet: ")
    assert delivered(reviewed, "AWAY") == []

    said = review("send")
    assert (said.code, said.out) == (0, "1 point sent: every route sees them anew\n")
    assert len(delivered(reviewed, "AWAY")) == 1


def test_of_two_people_who_approve_at_once_one_does(reviewed, doubtful):
    ids = doubtful("BOTH", 5)
    command = [*CANDLEFLEET, "review", "approve", *ids, "--why", "checked"]
    with ThreadPoolExecutor(2) as people:
        ended = people.map(lambda _: run(command, reviewed.environment, reviewed.folder).returncode, range(2))
        assert sorted(ended) == [0, 2]
    assert len(delivered(reviewed, "BOTH")) == 5


def test_workers_killed_while_they_write_leave_every_point_waiting_once(reviewed, review, doubtful):
    doubtful("BEFORE")
    points = [make_point(row=row, symbol="KILLED", data_quality_score=0.62) for row in range(300)]
    url, table = plain(os.environ["REVIEW_DATABASE"]), os.environ["REVIEW_TABLE"]
    with psycopg.connect(url) as other:
        other.execute(f"LOCK TABLE {table} IN SHARE MODE")
        reviewed.producer.send_batch(points)
        until(lambda: is_waiting(url, table), "a worker is in mid-write")
        for child in pool(reviewed.pid):
            os.kill(child, signal.SIGKILL)
    reviewed.settled()
    waiting = review("list", "--symbol", "KILLED", "--limit", "1000", "--json").json
    assert [one["point"]["timestamp"] for one in waiting[::-1]] == [
        f"{point.timestamp:%Y-%m-%dT%H:%M:%S.%f}Z" for point in points
    ]
    assert reviewed.route("poor").written == reviewed.route("poor").delivered


def is_waiting(url: str, table: str) -> bool:
    """Return whether somebody waits for a lock on a table."""
    asked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    with psycopg.connect(url) as other:
        return bool(other.execute(asked, [table]).fetchall()[0][0])
