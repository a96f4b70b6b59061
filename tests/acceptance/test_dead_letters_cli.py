"""`candlefleet dead-letters` with a crew at work, as the person who mends things uses it."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fleet_fixture import CANDLEFLEET, Crew, Said, run, running, until
from tests.make import make_point, make_values

PAGE = Path(__file__).parents[2] / "docs" / "dead-letters.md"


@pytest.fixture
def letters(crew, candlefleet) -> Callable[..., Said]:
    """Run `candlefleet dead-letters`, on what the crew has done so far."""
    crew.settled()

    def call(*arguments: str, **options: str) -> Said:
        return candlefleet("dead-letters", *arguments, environment=crew.environment, **options)

    return call


def send(crew: Crew, source: str, symbols: Sequence[str], **changes: Any) -> None:
    """Send one bar for each symbol and wait until nothing of them is owed."""
    crew.deliver([make_point(row=r, source=source, symbol=s, **changes) for r, s in enumerate(symbols)])


def mend(crew: Crew, name: str, *, broken: bool = False) -> None:
    """Mend what a route needs, or break it again."""
    flag = crew.exports / f"{name}.mended"
    flag.unlink(missing_ok=True) if broken else flag.touch()


@pytest.fixture(autouse=True)
def broken(crew) -> None:
    """Let every route that can be mended be broken when a test begins."""
    for name in ("mended", "deaf", "asked", "brimful"):
        mend(crew, name, broken=True)


def symbols(crew: Crew, name: str) -> list[str]:
    return [row["symbol"] for row in crew.rows(name)]


# -- replay ---------------------------------------------------------------------------------------


def test_refused_rows_are_written_once_after_the_destination_was_mended(crew, letters):
    send(crew, "mended", ["M1", "M2", "M3"])
    before = crew.route("mended")
    mend(crew, "mended")

    said = letters("replay", "--route", "mended")
    again = letters("replay", "--route", "mended")
    crew.settled()

    assert (said.code, said.out) == (0, "3 points replayed: mended 3\n")
    assert (again.code, again.out) == (0, "no dead letters to replay\n")
    assert [symbol for symbol in symbols(crew, "mended") if symbol[0] == "M"] == ["M1", "M2", "M3"]
    after = crew.route("mended")
    assert after.replayed - before.replayed == after.delivered - before.delivered == 3
    assert after.dead == before.dead
    assert crew.letters("mended") == []


def test_rows_that_had_been_written_after_all_are_delivered_and_no_dead_letters(crew):
    send(crew, "deaf", ["D"] * 4)
    assert crew.letters("deaf") == []
    assert len((crew.exports / "deaf" / "D.jsonl").read_bytes().splitlines()) == 4
    assert (crew.route("deaf").delivered, crew.route("deaf").dead, crew.route("deaf").written) == (4, 0, 4)


def test_rows_whose_condition_failed_are_asked_again_when_it_is_mended(crew, letters):
    for volume in (1.0, 2.0, 4.0):
        send(crew, "asked", ["ASKED"], volume=volume)
    assert [letter["reasons"][0]["code"] for letter in crew.letters("asked")] == ["condition.error"] * 3

    unmended = letters("replay", "--route", "asked")
    crew.settled()
    mend(crew, "asked")
    mended = letters("replay", "--route", "asked")
    crew.settled()

    assert unmended.out == mended.out == "3 points replayed: asked 3\n"
    assert [row["volume"] for row in crew.rows("asked")] == [2.0, 4.0]
    route = crew.route("asked")
    assert (route.matched, route.replayed, route.failed) == (2, 0, 6)
    assert crew.letters("asked") == []


def test_a_point_refused_at_the_door_is_let_in_when_it_is_valid_by_now(crew, letters):
    soon = datetime.now(UTC) + timedelta(days=1, seconds=2)
    early = make_values(source="plain", symbol="SOON", timestamp=soon)
    receipt = crew.producer.send_batch([early, early | {"close": "?", "symbol": "NEVER"}])
    assert receipt.accepted == 0
    until(lambda: datetime.now(UTC) + timedelta(days=1) > soon, "it is no longer too early")

    said = letters("replay", "--route", "-", "--newer-than", "1m", "--reason", "timestamp.future")
    crew.settled()

    assert said.code == 1
    assert said.out.splitlines() == [
        "1 point replayed: refused at the door 1",
        "1 point stays: still invalid: number.format close",
    ]
    assert "SOON" in symbols(crew, "jsonl")
    assert "NEVER" in crew.letters("")[-1]["original"]
    assert "SOON" not in str([letter["original"] for letter in crew.letters("")])


def test_a_dry_run_says_what_would_happen_and_changes_nothing(crew, letters):
    send(crew, "mended", ["DRY", "DRY"])
    before = list(crew.store.letters(1000))
    totals = crew.store.snapshot()["totals"]

    replayed = letters("replay", "--route", "mended", "--dry-run")
    dropped = letters("drop", "--route", "mended", "--dry-run")

    assert replayed.out == "2 points would be replayed: mended 2\n"
    assert dropped.out == "2 dead letters would be dropped: mended 2\n"
    assert list(crew.store.letters(1000)) == before
    assert crew.store.snapshot()["totals"] == totals


def test_a_route_that_is_not_there_is_refused_with_the_nearest(letters):
    said = letters("replay", "--route", "mendet")
    assert said.code == 2
    assert said.err == "candlefleet: mendet: no route has this id (did you mean 'mended'?) [route.unknown]\n"


def test_a_replay_that_is_killed_is_run_again_and_each_row_is_written_once(crew, letters):
    points = [make_point(row=row, source="mended", symbol="KILLED", volume=float(row)) for row in range(3000)]
    crew.deliver(points)
    mend(crew, "mended")
    replay = [*CANDLEFLEET, "dead-letters", "replay", "--route", "mended"]

    with running(replay, crew.folder / "replay.log", crew.environment) as process:
        waiting = crew.store.snapshot()["dead_letters"]
        until(lambda: crew.store.snapshot()["dead_letters"] < waiting, "the first letters are replayed")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finished = run(replay, crew.environment, crew.folder)
    crew.settled()

    assert finished.returncode == 0, finished.stderr
    rows = [row["volume"] for row in crew.rows("mended") if row["symbol"] == "KILLED"]
    assert sorted(rows) == [float(row) for row in range(3000)]
    assert crew.letters("mended") == []


def test_a_full_route_puts_its_oldest_points_on_disk_and_gets_them_back_by_replay(crew, letters):
    points = [make_point(row=row, source="brimful", symbol="FULL", volume=float(row)) for row in range(500)]
    for start in range(0, 500, 50):
        crew.producer.send_batch(points[start : start + 50])
    until(lambda: not crew.report().waiting and crew.route("brimful").owed <= 100, "the oldest are on disk")

    listed = letters("list", "--route", "brimful", "--limit", "1")
    shown = letters("show", crew.letters("brimful")[0]["id"])
    assert "owed.limit" in listed.out
    assert "points in a file on" in listed.out
    assert '"symbol": "FULL"' in shown.out
    assert crew.report().broken == []

    mend(crew, "brimful")
    crew.settled()
    for _ in range(10):  # a sweep that comes in between finds the route too full once more
        if crew.letters("brimful"):
            letters("replay", "--route", "brimful")
            crew.settled()

    assert crew.letters("brimful") == []
    assert sorted(row["volume"] for row in crew.rows("brimful")) == [float(row) for row in range(500)]


# -- drop -----------------------------------------------------------------------------------------


def test_letters_are_dropped_only_after_a_yes(crew, letters):
    send(crew, "mended", ["GONE", "GONE", "GONE"])
    count = len(crew.letters("mended"))

    no = letters("drop", "--route", "mended", stdin="n\n")
    assert len(crew.letters("mended")) == count
    nobody = letters("drop", "--route", "mended")
    assert len(crew.letters("mended")) == count
    yes = letters("drop", "--route", "mended", stdin="y\n")
    nothing = letters("drop", "--route", "mended", "--yes")

    assert no.code == nobody.code == 1
    assert f"Drop {count} dead letters for good (mended {count})?" in no.err
    assert "nothing was dropped" in nobody.err
    assert (yes.code, yes.out) == (0, f"{count} dead letters dropped: mended {count}\n")
    assert (nothing.code, nothing.out) == (0, "no dead letters to drop\n")
    assert crew.letters("mended") == []
    crew.settled()


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_every_letter_is_meant_only_when_that_is_said(command, letters):
    said = letters(command)
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert "--all" in line


def test_letters_are_dropped_by_id_and_an_unknown_one_stops_everything(crew, letters):
    send(crew, "mended", ["ID", "ID"])
    first, second = [letter["id"] for letter in crew.letters("mended")][-2:]

    unknown = letters("drop", first, "1-1", "--yes")
    assert first in [letter["id"] for letter in crew.letters("mended")]
    told = letters("drop", first, "--yes", "--json")

    assert unknown.code == 2
    assert unknown.err.startswith("candlefleet: 1-1: there is no such dead letter")
    assert told.json == {"dropped": 1, "by_route": {"mended": 1}, "dry_run": False}
    assert second in [letter["id"] for letter in crew.letters("mended")]


# -- look -----------------------------------------------------------------------------------------


def test_list_shows_the_newest_and_counts_them_all(crew, letters):
    send(crew, "mended", ["OLD", "MID", "NEW"])

    shown = letters("list", "--route", "mended", "--limit", "2")
    told = letters("list", "--route", "mended", "--limit", "2", "--json")

    assert shown.code == told.code == 0
    assert "NEW 1m 2024-01-01 00:02:00" in shown.out
    assert "OLD 1m" not in shown.out
    count = len(crew.letters("mended"))
    assert f"{count} dead letters, the newest 2 of them above" in shown.out
    assert f"by route: mended {count}" in shown.out
    assert f"by reason: destination.refused {count}" in shown.out
    assert [letter["original"]["symbol"] for letter in told.json] == ["NEW", "MID"]


def test_list_filters_by_age(crew, letters):
    send(crew, "mended", ["AGE"])
    assert letters("list", "--older-than", "1d").out == "no dead letters\n"
    assert "AGE" in letters("list", "--route", "mended", "--newer-than", "1h").out
    assert letters("list", "--older-than", "soon").err == (
        "candlefleet: --older-than: 'soon' is no duration: write it like 30s, 15m, 2h or 1d12h [duration]\n"
    )


def test_what_a_stranger_wrote_is_shown_word_for_word(crew, letters):
    strange = "\x1b]0;owned\x07[/red] [bold]half \ud800"
    crew.producer.send_batch([{"symbol": strange, "close": strange}, strange])
    newest = crew.letters("")[-1]["id"]

    listed = letters("list", "--route", "-", "--limit", "2")
    shown = letters("show", newest)

    for said in (listed, shown):
        assert said.code == 0
        assert "\x1b" not in said.out
        assert "[/red] [bold]half" in said.out
        assert "owned" in said.out


def test_show_tells_everything_of_one_letter(crew, letters):
    send(crew, "mended", ["SHOWN"])
    letter = crew.letters("mended")[-1]

    shown = letters("show", letter["id"])
    told = letters("show", letter["id"], "--json")
    unknown = letters("show", "1-1")

    assert told.json == letter
    assert all(
        word in shown.out for word in (letter["batch_id"], "destination.refused: TerminalError", "UTC")
    )
    assert '  "symbol": "SHOWN",' in shown.out
    assert unknown.code == 2
    assert "dead-letters list" in unknown.err


# -- the page --------------------------------------------------------------------------------------


def test_every_command_of_the_page_about_dead_letters_does_what_it_says(crew, letters):
    send(crew, "mended", ["PAGE", "PAGE"])
    mend(crew, "mended")
    commands = re.findall(r"^candlefleet dead-letters (.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) > 8
    for command in commands:
        known = crew.letters("mended") or crew.letters("hopeless") or crew.letters("")
        ours = command.replace("csv_daily", "mended").replace("1795499323144-2", known[-1]["id"])

        said = letters(*shlex.split(ours, comments=True))

        stays = said.code == 1 and ours.startswith("replay") and "stay" in said.out
        assert said.code == 0 or stays, f"{ours}: {said}"
        crew.settled()
