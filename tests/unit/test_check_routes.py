"""What is found in routes before a fleet runs them, in the words a person reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from destinations import CSVDestination, JSONLinesDestination, MemoryDestination, ParquetDestination
from destinations.root import obstacles_under
from router import ConditionError, NormalizedDataPoint, Reason, Route, RouteTable
from router.check_routes import check_routes
from router.check_routes_policies import Limits
from router.findings import Finding

LIMITS = Limits(retry_cap=60, task_time_limit=120, visibility_timeout=600, turn=5)
MEND = "mend the condition, or take the route away"


def make_route(condition: Any = "timeframe = '1d'", route_id: str = "a", **fields: Any) -> Route:
    return Route(
        **{"route_id": route_id, "condition": condition, "destination": MemoryDestination()} | fields
    )


def found(*routes: Route, default: Any = None) -> list[Finding]:
    """Return the findings of some routes beside a default destination that is never told of."""
    return check_routes(RouteTable(routes, default or MemoryDestination()), LIMITS)


def is_daily(point: NormalizedDataPoint) -> bool:
    return point.timeframe == "1d"


def is_hourly(point: NormalizedDataPoint) -> bool:
    return point.timeframe == "1h"


def test_nothing_is_found_in_routes_that_do_what_they_say():
    plain = make_route("timeframe = '1d' and close > open and volume > 0", batch_size=10)
    assert found(plain, make_route("asset_class in ('crypto', 'etf') or symbol like 'A%'", "b")) == []


# -- conditions that are never met -----------------------------------------------------------------

NEVER = [
    (
        "timeframe = '1d' and timeframe = '1h'",
        "timeframe = '1d' and timeframe = '1h' are never true together",
    ),
    ("close > 10 and open > 1 and close < 5", "close > 10 and close < 5 are never true together"),
    ("close > 10 and high < 5", "close > 10 and high < 5 are never true together"),
    ("close = 1 and close <> 1", "close = 1 and close <> 1 are never true together"),
    ("volume is null and volume >= 0", "volume IS NULL and volume >= 0 are never true together"),
    (
        "symbol = 'A' and symbol in ('B', 'C')",
        "symbol = 'A' and symbol IN ('B', 'C') are never true together",
    ),
    ("symbol = 'A' and symbol like 'B%'", "symbol = 'A' and symbol LIKE 'B%' are never true together"),
    ("is_realtime and is_realtime = false", "is_realtime and is_realtime = FALSE are never true together"),
    (
        "close > open * 2 and not close > open * 2",
        "close > open * 2 and NOT close > open * 2 are never true together",
    ),
    (
        "timestamp < '2024-01-01' and timestamp >= '2024-01-01T00:00:00Z'",
        "timestamp < '2024-01-01' and timestamp >= '2024-01-01T00:00:00Z' are never true together",
    ),
    (
        "close < 0 and asset_class = 'equity'",
        "close < 0 and asset_class = 'equity' are never true together "
        "(only prices of futures may be 0 or less)",
    ),
    (
        "asset_class = 'etf' and asset_class = 'index'",
        "asset_class = 'etf' and asset_class = 'index' are never true together",
    ),
    ("data_quality_score > 1", "data_quality_score > 1 is never true (a score is from 0 to 1)"),
    ("volume < 0", "volume < 0 is never true (a volume is 0 or more, or absent)"),
    ("close > 1 and abs(volume) < 0", "ABS(volume) < 0 is never true (a volume is 0 or more, or absent)"),
    ("volume < 0 or data_quality_score > 1", "no valid point meets volume < 0 OR data_quality_score > 1"),
    ("high < low", "high < low is never true (low <= open, close <= high in a valid point)"),
    ("close between 2 and 1", "close BETWEEN 2 AND 1 is never true (its bounds are the wrong way round)"),
    (
        "data_quality_score between 3 and 2",
        "data_quality_score BETWEEN 3 AND 2 is never true (a score is from 0 to 1)",
    ),
    ("symbol is null", "symbol IS NULL is never true (every point has one)"),
    ("symbol = ''", "symbol = '' is never true (no symbol is '')"),
    ("source in (' a', '..')", "source IN (' a', '..') is never true (no source is ' a', '..')"),
    ("lower(symbol) = 'BTC'", "LOWER(symbol) = 'BTC' is never true (that is not the case it gives)"),
    (
        "timestamp > '2999-01-01'",
        "timestamp > '2999-01-01' is never true (a bar starts between 1677-09-21 and 2262-04-11)",
    ),
    (
        "technical_indicators['rsi'] > 70 and technical_indicators['rsi'] < 30",
        "technical_indicators['rsi'] > 70 and technical_indicators['rsi'] < 30 are never true together",
    ),
]


@pytest.mark.parametrize(("condition", "why"), NEVER, ids=[condition for condition, _ in NEVER])
def test_condition_that_is_never_met_is_an_error(condition, why):
    (finding,) = found(make_route(condition))
    assert finding[:4] == ("error", "condition.never", "a", "condition")
    assert finding.message == f"{why}, so the route never takes a point"


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("timeframe like '1day'", "did you mean '1d'?"),
        ("upper(asset_class) = 'cryto'", "did you mean 'crypto'?"),
        (pl.col("timeframe") == "1day", "did you mean '1d'?"),
        ("false", "rest a route by enabled=False"),
        ("close > 2 and close < 1", "write OR where either may hold, or mend one of them"),
        ("volume < 0", MEND),
    ],
)
def test_condition_that_is_never_met_comes_with_what_to_do(condition, hint):
    (finding,) = found(make_route(condition))
    assert (finding.code, finding.suggestion) == ("condition.never", hint)


def test_condition_of_a_disabled_route_hurts_nobody():
    disabled, never = found(make_route("volume < 0", enabled=False), make_route(route_id="b"))
    assert disabled == Finding(
        "info", "route.disabled", "a", "enabled", "is disabled: it takes nothing, and delivers what it owes"
    )
    assert (never.severity, never.code) == ("info", "condition.never")


def test_clause_that_is_never_true_is_named_where_others_decide():
    (finding,) = found(make_route("timeframe = '1d' or (close > 5 and volume < 0)"))
    assert finding == Finding(
        "warning",
        "condition.dead_clause",
        "a",
        "condition",
        "volume < 0 is never true (a volume is 0 or more, or absent): the rest decides alone",
        MEND,
    )


@pytest.mark.parametrize(
    "condition",
    [
        "close < 0",
        "close < 0 and asset_class <> 'equity'",
        "low > 5 and high < 7",
        "open > 5 and close < 5",
        "volume is null or volume = 0",
        "symbol like 'A%' and symbol like '%B'",
        "close > open and open > 3",
        "coalesce(volume, 7) > 5 and volume is null",
        "data_quality_score = 1 and data_quality_score >= 1",
        "timestamp > '2100-01-01'",
        pl.col("close") > 1e9,
    ],
    ids=str,
)
def test_condition_that_some_point_meets_is_let_be(condition):
    assert found(make_route(condition)) == []


# -- conditions that are always met, or odd --------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    ["true", "data_quality_score >= 0", "low <= high", "volume >= 0 or volume is null", pl.lit(value=True)],
    ids=str,
)
def test_condition_that_every_point_meets_leaves_nothing_for_the_default_destination(condition):
    always, idle = sorted(found(make_route(condition)), key=lambda one: one.code)
    assert always.message == "is true of every valid point: the route takes them all"
    assert (idle.severity, idle.code, idle.message) == (
        "info",
        "default.idle",
        "nothing ever gets there: the route 'a' takes every point",
    )


def test_words_are_no_lengths():
    (finding,) = found(make_route("timeframe >= '1h'"))
    assert finding.severity == "warning"
    assert finding.code == "condition.alphabetical"
    assert (
        finding.message
        == "timeframe >= '1h' compares letter by letter, not by length: '1d' comes before '1h'"
    )
    assert finding.suggestion == "name them: timeframe IN (…)"
    (finding,) = found(make_route("symbol < 'M'"))
    assert (finding.severity, finding.message) == ("info", "symbol < 'M' compares letter by letter")


def test_python_condition_is_told_what_it_costs():
    (finding,) = found(make_route(is_daily))
    assert finding == Finding(
        "info",
        "condition.python",
        "a",
        "condition",
        "is_daily is called for every point by itself, which costs about 50 times as much",
        "say it in SQL where that is possible",
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("close = '1d'", "close is a number and '1d' is text"),
        ("symbol > 3", "symbol is text and 3 is a number"),
        ("is_realtime = 'yes'", "is_realtime is true or false and 'yes' is text"),
        ("timestamp > 'yesterday'", "timestamp is compared with 'yesterday', not an ISO date or time"),
        ("timestamp > 3", "timestamp is a time and 3 is a number"),
        ("timeframe = '1day'", "no timeframe is '1day' (did you mean '1d'?)"),
        ("asset_class = 'cryto'", "no asset_class is 'cryto' (did you mean 'crypto'?)"),
        ("clsoe > 1", "a point has no field 'clsoe' (did you mean 'close'?)"),
        ("upppr(symbol) = 'A'", "upppr is not declared (did you mean 'upper'?)"),
    ],
)
def test_what_never_compares_is_refused_when_the_route_is_made(condition, message):
    with pytest.raises(ConditionError) as refusal:
        make_route(condition)
    assert refusal.value.message.startswith(message)


# -- routes that meet ------------------------------------------------------------------------------

TWICE = "and both deliver to 'store': each keeps its own record, so those rows are written twice"
SAME = "takes the same points as 'r0'"
ONLY = "takes only points that 'r0' takes too"
SOME = "takes points that 'r0' takes too, such as "


def overlap(*conditions: Any, **fields: Any) -> list[tuple[str, str, str]]:
    """Return code, route and message of what is found in routes to one destination, but for callables."""
    store = MemoryDestination(name="store")
    routes = [make_route(one, f"r{n}", destination=store, **fields) for n, one in enumerate(conditions)]
    return [(one.code, one.route_id, one.message) for one in found(*routes) if one.code != "condition.python"]


@pytest.mark.parametrize(
    ("one", "other", "code", "how"),
    [
        ("timeframe = '1d'", "'1d' = timeframe", "overlap.equal", SAME),
        ("close > 3 and close > 5", "not close <= 5", "overlap.equal", SAME),
        ("timeframe = '1d'", pl.col("timeframe") == "1d", "overlap.equal", SAME),
        (pl.col("close") > 3, pl.col("close") > 3, "overlap.equal", SAME),
        (is_daily, is_daily, "overlap.equal", SAME),
        ("timeframe = '1d'", "timeframe = '1d' and close > open", "overlap.implied", ONLY),
        ("close > 7", "high > 5", "overlap.implied", "takes all points that 'r0' takes"),
        ("data_quality_score >= 0.9", "data_quality_score > 0.9", "overlap.implied", ONLY),
        (
            "timeframe = '1d'",
            "asset_class = 'index'",
            "overlap.some",
            f"{SOME}timeframe '1d', asset_class 'index'",
        ),
        ("volume > 5", "close > 3", "overlap.some", f"{SOME}volume 6, close 4"),
    ],
)
def test_routes_that_deliver_the_same_rows_to_one_destination_are_named(one, other, code, how):
    assert overlap(one, other) == [(code, "r1", f"{how}, {TWICE}")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timeframe = '1d'", "timeframe = '1h'"),
        ("timeframe = '1d' and close > 5", "timeframe = '1d' and close <= 5"),
        ("symbol = 'A'", "symbol <> 'A'"),
        ("low > 5", "high < 5"),
        (is_daily, is_hourly),
        (is_daily, "timeframe = '1d'"),
        ("asset_class = 'etf'", pl.col("asset_class") == "index"),
    ],
)
def test_routes_that_do_not_surely_meet_are_let_be(one, other):
    assert overlap(one, other) == []


def test_routes_to_two_destinations_may_take_the_same_points():
    assert found(make_route(), make_route(route_id="b")) == []


def test_disabled_route_meets_nobody():
    assert {code for code, _, _ in overlap("close > 1", "close > 1", enabled=False)} == {
        "route.disabled",
        "routes.none",
    }


def test_route_that_meets_several_is_named_once():
    first, second = overlap("close > 1", "close > 2", "close > 1")
    assert first[1] == "r1"
    assert second == (
        "overlap.equal",
        "r2",
        f"takes the same points as 'r0', {TWICE}; the same goes for 'r1'",
    )


def test_many_routes_of_one_destination_are_looked_through():
    apart = [f"symbol = 'S{n}'" for n in range(60)]
    assert overlap(*apart, "symbol = 'S7' and close > 1") == [
        ("overlap.implied", "r60", f"takes only points that 'r7' takes too, {TWICE}")
    ]


def test_condition_too_large_to_look_at_is_let_be():
    large = " and ".join(f"(open > {n} or close < {n} or volume = {n} or is_realtime)" for n in range(24))
    assert found(make_route(f"{large} and volume < 0")) == []


# -- the rest of a route ---------------------------------------------------------------------------


def policy(**fields: Any) -> list[tuple[str, str, str, str]]:
    return [(one.severity, one.code, one.field, one.message) for one in found(make_route(**fields))]


class Bulky(MemoryDestination):
    advised_batch_size = 10_000


class Slow(MemoryDestination):
    timeout = 300.0


@pytest.mark.parametrize(
    ("fields", "severity", "code", "field", "message"),
    [
        (
            {"batch_size": 100, "rate_limit": 5, "max_owed": 1000},
            "warning",
            "rate_limit.below_batch_size",
            "rate_limit",
            "a write holds 5 points, not the 100 of batch_size: with a rate_limit of 5 points/s it "
            "holds those of one second",
        ),
        (
            {"batch_size": 100, "max_owed": 50, "batch_timeout": 30},
            "warning",
            "max_owed.below_batch_size",
            "max_owed",
            "max_owed 50 is reached before a write of 100 points is full: the door closes, unless "
            "batch_timeout, 30 s, comes first",
        ),
        (
            {"batch_size": 100, "max_owed": 50, "at_max_owed": "dead_letter"},
            "warning",
            "max_owed.below_batch_size",
            "max_owed",
            "max_owed 50 is reached before a write of 100 points is full: its oldest points become dead "
            "letters, unless batch_timeout, 5 s, comes first",
        ),
        (
            {"rate_limit": 0.5, "max_owed": 10_000},
            "warning",
            "rate_limit.fills",
            "rate_limit",
            "when it owes its max_owed of 10,000 the door closes for every route, and at 0.5 points/s it "
            "takes 67 minutes until a fifth is delivered and the door opens again",
        ),
        (
            {"rate_limit": 5},
            "info",
            "rate_limit.unbounded",
            "rate_limit",
            "when more than 5 points/s come, what it owes grows until the fleet is full, which closes "
            "the door for every route",
        ),
        (
            {"batch_timeout": 7},
            "info",
            "batch_timeout.idle",
            "batch_timeout",
            "batch_timeout 7 has no effect: without a batch_size nothing waits",
        ),
        (
            {"batch_size": 10, "batch_timeout": 1200},
            "info",
            "batch_timeout.long",
            "batch_timeout",
            "a point may wait 20 minutes for its write to fill, in Redis and in no message: "
            "CANDLEFLEET_VISIBILITY_TIMEOUT, 600 s, does not end it",
        ),
        (
            {"max_retries": 0},
            "warning",
            "retries.none",
            "max_retries",
            "retry_on_failure is true and max_retries is 0: the first failure is the last",
        ),
        (
            {"retry_delay": 100},
            "warning",
            "retry_delay.above_cap",
            "retry_delay",
            "retry_delay 100 s is cut to CANDLEFLEET_RETRY_CAP, 60 s",
        ),
        (
            {"destination": Bulky(), "batch_size": 500},
            "warning",
            "batch_size.small",
            "batch_size",
            "a write holds 500 points, not the 10,000 points that it should: Bulky pays for every write, and "
            "for reading it back",
        ),
        (
            {"destination": Bulky()},
            "warning",
            "batch_size.small",
            "batch_size",
            "a write holds whatever waits, not the 10,000 points that it should: Bulky pays for every write, "
            "and for reading it back",
        ),
        (
            {"destination": Slow()},
            "warning",
            "timeout.above_task_limit",
            "destination",
            "a write may take 300 s and begin 5 s into its task, which is killed after "
            "CANDLEFLEET_TASK_TIME_LIMIT, 120 s",
        ),
    ],
)
def test_policy_that_does_not_do_what_it_says_is_named(fields, severity, code, field, message):
    assert policy(**fields) == [(severity, code, field, message)]


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 100, "rate_limit": 100, "max_owed": 1000},
        {"destination": Bulky(), "batch_size": 10_000},
        {"rate_limit": 5, "max_owed": 10_000, "at_max_owed": "dead_letter"},
        {"max_retries": 0, "retry_on_failure": False},
        {"retry_delay": 60, "batch_size": 1, "batch_timeout": 600},
    ],
)
def test_policy_that_does_what_it_says_is_let_be(fields):
    assert policy(**fields) == []


def test_without_the_settings_of_a_fleet_nothing_is_said_of_them():
    table = RouteTable([make_route(retry_delay=100)], MemoryDestination())
    assert check_routes(table) == []


# -- the file as a whole ---------------------------------------------------------------------------


def test_points_that_match_no_route_should_go_somewhere():
    (finding,) = check_routes(RouteTable([make_route()]))
    assert finding == Finding(
        "warning",
        "default.missing",
        "",
        "default_destination",
        "there is no default destination: points that match no route are counted, and go nowhere",
        "give a default_destination, or count on `candlefleet status`",
    )
    assert check_routes(RouteTable([make_route("true")]))[0].code == "condition.always"


def test_file_without_a_route_takes_nothing():
    (finding,) = found()
    assert (finding.code, finding.message) == (
        "routes.none",
        "no route takes anything: there are none, or none is enabled",
    )


def test_worst_comes_first_then_the_order_of_the_routes():
    codes = [
        (one.severity, one.route_id)
        for one in check_routes(
            RouteTable(
                [
                    make_route("true", "x", rate_limit=1),
                    make_route("volume < 0", "y"),
                    make_route("volume < 0", "b", retry_delay=99),
                ]
            ),
            LIMITS,
        )
    ]
    assert codes == [("error", "y"), ("error", "b"), ("warning", "b"), ("info", "x"), ("info", "x")]


# -- where files go --------------------------------------------------------------------------------


def make_default(make: Callable[[Path], CSVDestination], path: Path) -> list[Finding]:
    return check_routes(RouteTable([make_route()], make(path)))


@pytest.mark.parametrize("make", [CSVDestination, JSONLinesDestination, ParquetDestination])
def test_root_below_a_file_cannot_be_written(make, tmp_path):
    (tmp_path / "file").write_text("here")
    (finding,) = make_default(make, tmp_path / "file" / "out")
    assert finding[:4] == ("error", "path.not_writable", "default", "destination.path")
    assert finding.message == f"{tmp_path}/file/out: {tmp_path}/file is a file, not a folder"


def test_root_that_is_not_there_yet_is_looked_for_where_it_will_be(tmp_path):
    assert make_default(CSVDestination, tmp_path / "a" / "b") == []
    assert list(tmp_path.iterdir()) == []


def test_root_with_too_long_a_name_cannot_be_made(tmp_path):
    (finding,) = make_default(CSVDestination, tmp_path / ("x" * 300))
    assert (finding.code, finding.message) == (
        "path.not_writable",
        f"{tmp_path}/{'x' * 300}: File name too long",
    )


def test_folder_of_another_user_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    (reason,) = obstacles_under(tmp_path / "out")
    assert reason == Reason(
        "path.not_writable", "path", f"{tmp_path}/out: this user may not write to {tmp_path}"
    )


@pytest.mark.parametrize(
    ("blocks", "severity", "code", "left"),
    [(300, "warning", "disk.nearly_full", "1.2 MB"), (0, "error", "disk.full", "0.0 MB")],
)
def test_disk_without_room_is_named(blocks, severity, code, left, tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 10**6, blocks, blocks, 9, 9, 9, 0, 255))
    )
    (finding,) = make_default(CSVDestination, tmp_path)
    assert (finding.severity, finding.code) == (severity, code)
    assert finding.message == f"{tmp_path}: its disk has {left} left"


def test_destination_that_cannot_tell_its_obstacles_is_told_of():
    odd = MemoryDestination()
    odd.obstacles = lambda: 1 / 0
    (one,) = found(make_route(destination=odd))
    assert (one.severity, one.code, one.field) == ("error", "destination.error", "destination")
    assert one.message == "obstacles() raised ZeroDivisionError: division by zero"
