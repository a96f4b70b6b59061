"""An explanation says what matching does, clause by clause, and what would be delivered where."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destinations import CSVDestination, JSONLinesDestination, MemoryDestination, ParquetDestination
from router import (
    ConfigError,
    NormalizedDataPoint,
    PointBatch,
    Route,
    RoutePriority,
    RouteTable,
    explain,
    match,
)
from router.admission import Unreadable
from router.clauses import Seen
from router.errors import Reason
from tests.make import as_batch, make_batch, make_point, make_values
from tests.make_conditions import conditions, points, simple, tangled

POINT = make_point(
    symbol="AAPL",
    asset_class="equity",
    timeframe="1d",
    open=10.0,
    high=16.0,
    low=9.0,
    close=15.0,
    volume=None,
    technical_indicators={"rsi": 71.0},
)


def make_table(*given: object, default: object = None, **fields: object) -> RouteTable:
    """Return a table of routes with these conditions, r0, r1 and so on."""
    routes = [
        Route(**{"route_id": f"r{n}", "condition": one, "destination": MemoryDestination()} | fields)
        for n, one in enumerate(given)
    ]
    return RouteTable(routes, default)


def seen(condition: object, point: NormalizedDataPoint = POINT) -> Seen:
    (route,) = explain(make_table(condition), point).routes
    assert route.condition is not None
    return route.condition


def told(clause: Seen) -> list[tuple[str, str]]:
    """Return verdict and text of a clause and all within it, depth first."""
    return [(clause.verdict, clause.text), *(pair for part in clause.clauses for pair in told(part))]


def broken(point: NormalizedDataPoint) -> bool:
    raise LookupError("no such list")


# -- conditions ------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(conditions(st.one_of(simple, tangled)), points())
def test_root_of_the_explanation_says_what_match_says(condition, point):
    table = make_table(condition)
    (route,) = explain(table, point).routes
    assert route.condition is not None
    matched = "r0" in match(table, PointBatch.of([point])).selections
    assert (route.outcome == "matched", route.condition.verdict == "true") == (matched, matched)


@settings(max_examples=300, deadline=None)
@given(conditions(st.one_of(simple, tangled)), points())
def test_every_clause_says_what_it_would_say_as_a_condition_of_its_own(condition, point):
    def check(clause: Seen) -> None:
        assert seen(clause.text, point).verdict == clause.verdict

    def each(clause: Seen) -> None:
        if clause.clauses:
            assert clause.text in ("and", "or", "not")
            for part in clause.clauses:
                each(part)
        else:
            check(clause)

    each(seen(condition, point))


def test_clauses_are_split_where_they_are_joined():
    condition = seen("timeframe = '1d' and (close < open or not (close > 1 and high > 20)) and volume > 1")
    assert told(condition) == [
        ("null", "and"),
        ("true", "timeframe = '1d'"),
        ("true", "or"),
        ("false", "close < open"),
        ("true", "not"),
        ("false", "and"),
        ("true", "close > 1"),
        ("false", "high > 20"),
        ("null", "volume > 1"),
    ]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ("volume is not null", "volume IS NOT NULL"),
        ("symbol not in ('a', 'b')", "symbol NOT IN ('a', 'b')"),
        ("close not between 1 and 2", "close NOT BETWEEN 1 AND 2"),
        ("symbol not like 'A%'", "symbol NOT LIKE 'A%'"),
        ("is_realtime is not true", "is_realtime IS NOT TRUE"),
        ("not is_realtime", "NOT is_realtime"),
        ("((close == 15))", "close = 15"),
        ("symbol = 'IS IN'", "symbol = 'IS IN'"),
    ],
)
def test_clause_reads_as_people_write_it(condition, text):
    assert seen(condition).text == text


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("timeframe = '1h'", {"timeframe": "1d"}),
        ("close > open", {"close": 15.0, "open": 10.0}),
        ("volume > 1", {"volume": None}),
        ("abs(close - open) / open > 0.1", {"close": 15.0, "open": 10.0, "ABS(close - open) / open": 0.5}),
        ("technical_indicators['rsi'] > 70", {"technical_indicators['rsi']": 71.0}),
        ("coalesce(volume, 0) = 0", {"volume": None, "COALESCE(volume, 0)": 0.0}),
        ("not is_realtime", {"is_realtime": False}),
        ("true", {}),
        (pl.col("close") > pl.col("open"), {"close": 15.0, "open": 10.0}),
    ],
)
def test_clause_shows_what_it_saw(condition, values):
    assert seen(condition).values == values


def test_exception_is_shown_where_it_was_raised():
    table = make_table(broken, pl.col("symbol").cast(pl.Float64) > 1, "true", default=MemoryDestination())
    called, cast, other = explain(table, POINT).routes
    assert (called.outcome, called.condition) == (
        "error",
        Seen("broken(point)", "error", error="LookupError: no such list"),
    )
    assert cast.outcome == "error"
    assert cast.condition is not None
    assert "conversion from `str` to `f64` failed" in cast.condition.error
    assert other.outcome == "matched"


def test_disabled_route_takes_nothing_and_says_what_it_would_say():
    (route,) = explain(make_table("close > 1", enabled=False), POINT).routes
    assert route.outcome == "disabled"
    assert route.condition is not None
    assert route.condition.verdict == "true"
    assert not route.delivered


# -- transforms and destinations -------------------------------------------------------------------


def renamed(point: NormalizedDataPoint) -> NormalizedDataPoint:
    return point.revised(symbol="MSFT", volume=3)


def emptied(batch: PointBatch) -> PointBatch:
    return batch.filter(pl.col("close") < 0)


def negated(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(low=-pl.col("low"))


def test_transform_is_shown_by_what_it_changes_and_the_file_follows_it(tmp_path: Path):
    table = make_table("true", destination=CSVDestination(tmp_path, "{symbol}_{date}.csv"), transform=renamed)
    (route,) = explain(table, POINT).routes
    assert route.transform is not None
    assert route.transform.fields == {"volume": (None, 3.0), "symbol": ("AAPL", "MSFT")}
    assert route.target == str(tmp_path / "MSFT_20240101.csv")


def test_point_that_a_transform_drops_is_not_written():
    (route,) = explain(make_table("true", transform=emptied), POINT).routes
    assert route.transform is not None
    assert (route.outcome, route.transform.dropped, route.delivered) == ("matched", True, False)


def test_transform_whose_result_is_refused_says_why():
    (route,) = explain(make_table("true", transform=negated), POINT).routes
    assert route.transform is not None
    assert "number.not_positive low: -9.0 is not above zero" in route.transform.error
    assert not route.delivered


def test_no_file_is_named_for_a_point_that_does_not_match(tmp_path: Path):
    (route,) = explain(make_table("false", destination=CSVDestination(tmp_path)), POINT).routes
    assert (route.outcome, route.target) == ("no match", "")


def test_nothing_is_opened_or_made(tmp_path: Path):
    root = tmp_path / "out"
    table = make_table("true", destination=JSONLinesDestination(root, compression="zstd"))
    (route,) = explain(table, POINT).routes
    assert route.target == str(root / "AAPL_1d_20240101.jsonl.zst")
    assert not root.exists()


def test_target_is_the_file_that_a_write_makes(tmp_path: Path):
    destination = CSVDestination(tmp_path, "{source}/{symbol}_{timeframe}_{date}.csv", durability="process")
    odd = make_point(symbol="a/..b %~é", source=".hidden")
    (route,) = explain(make_table("true", destination=destination), odd).routes
    destination.open()
    destination.write_batch(make_batch(1, [odd.symbol], source=odd.source))
    destination.close()
    assert Path(route.target).is_file()


def test_target_in_a_dataset_is_the_folder(tmp_path: Path):
    destination = ParquetDestination(tmp_path, partition_by=("timeframe", "year"), durability="process")
    (route,) = explain(make_table("true", destination=destination), POINT).routes
    assert not list(tmp_path.iterdir())
    destination.open()
    destination.write_batch(as_batch(PointBatch.of([POINT]).frame))
    destination.close()
    assert route.target == str(tmp_path / "timeframe=1d" / "year=2024")
    assert len(list(Path(route.target).glob("*.parquet"))) == 1


def test_destination_that_cannot_tell_costs_no_explanation():
    class Odd(MemoryDestination):
        def target(self, point: NormalizedDataPoint) -> str:
            raise OSError("no plan")

    (route,) = explain(make_table("true", destination=Odd()), POINT).routes
    assert route.target == "unknown: OSError: no plan"


def test_queue_task_and_policy_are_those_of_the_route():
    table = make_table(
        "true",
        destination=MemoryDestination(name="store"),
        batch_size=100,
        rate_limit=5,
        priority=RoutePriority.HIGH,
    )
    (route,) = explain(table, POINT).routes
    assert (route.queue, route.task) == ("destinations.store", "deliver.r0")
    assert route.policy["batch_size"] == 100
    assert "100 a write, or after 5 s, priority high, 5 points/s, 3 retries" in str(explain(table, POINT))


# -- what matched nothing, and what was refused ----------------------------------------------------


def test_point_that_no_route_takes_goes_to_the_default_destination(tmp_path: Path):
    found = explain(make_table("false", default=CSVDestination(tmp_path)), POINT)
    assert found.default is not None
    assert (found.default.outcome, found.default.task, found.matched) == (
        "matched",
        "deliver.default",
        ["default"],
    )
    assert found.default.target.endswith("AAPL_1d_20240101.csv")
    assert "default: matched  no route took the point" in str(found)


@pytest.mark.parametrize(
    ("condition", "default", "line"),
    [
        ("true", MemoryDestination(), "default  not asked: a route matched"),
        ("false", None, "default  there is none: the point is counted as unmatched and goes nowhere"),
        (
            broken,
            MemoryDestination(),
            "default  not asked: a condition failed, so nobody knows that no route matches",
        ),
    ],
)
def test_default_destination_is_asked_only_where_no_route_could_match(condition, default, line):
    found = explain(make_table(condition, default=default), POINT)
    assert found.default is None or found.default.outcome == "no match"
    assert str(found).splitlines()[-1] == line


def test_refused_point_shows_every_reason_and_no_route():
    found = explain(
        make_table("true"), make_values(close="NaN", symbol="..", low=None), where=lambda _: "a.csv:17"
    )
    assert found.refused is not None
    assert [reason.code for reason in found.refused.reasons] == [
        "required",
        "number.not_finite",
        "symbol.charset",
    ]
    assert (found.point, found.routes, found.default, found.matched) == (None, (), None, [])
    first, *_, last = str(found).splitlines()
    assert first == "refused  at the door, for every reason below (a.csv:17)"
    assert last.strip() == "It becomes a dead letter that keeps the original; no route sees it."


def test_what_cannot_be_read_at_all_is_refused():
    row = Unreadable("a,b", (Reason("csv.columns", "", "has 2 cells where the first line has 10"),))
    found = explain(make_table("true"), [row])
    assert found.refused is not None
    assert found.refused.original == "a,b"


def test_point_is_shown_as_it_would_be_stored():
    raw = make_values(timestamp="2024-01-01T05:30:07+05:30", open="42000.0000000000000000001")
    found = explain(make_table("true"), raw)
    assert found.point is not None
    assert found.point.timestamp.isoformat() == "2024-01-01T00:00:07+00:00"
    assert set(found.notes) == {"rounded", "misaligned"}


@pytest.mark.parametrize("several", [[], [POINT, POINT], make_batch(2)])
def test_one_point_is_explained_at_a_time(several):
    with pytest.raises(ValueError, match="one point can be explained at a time"):
        explain(make_table("true"), several)


# -- how it is told --------------------------------------------------------------------------------


def test_story_reads_from_the_point_to_the_files(tmp_path: Path):
    table = make_table(
        "timeframe = '1d' and close > 20", pl.col("close") > 1, default=CSVDestination(tmp_path)
    )
    assert str(explain(table, POINT)).splitlines() == [
        "AAPL 1d 2024-01-01T00:00:00Z  equity from exchange-a",
        "  open 10, high 16, low 9, close 15, volume null",
        "  data_quality_score 0.99, is_realtime false",
        "  rsi 71",
        "",
        "r0: no match",
        "  false  and",
        "    true   timeframe = '1d'  (timeframe is '1d')",
        "    false  close > 20  (close is 15)",
        "",
        "r1: matched",
        '  true   [(col("close")) > (dyn int: 1)]  (close is 15)',
        "  written  to its destination (MemoryDestination)",
        "  by  task deliver.r1 on queue destinations.r1",
        "  policy  whatever waits at once, priority normal, 3 retries",
        "",
        "default  not asked: a route matched",
    ]


def test_explanation_is_short_in_a_repr_and_whole_in_a_notebook():
    found = explain(make_table("close < 1", "symbol = '<b>'"), POINT)
    assert repr(found) == "Explanation(AAPL 1d 2024-01-01 00:00: no route)"
    assert found._repr_html_().startswith("<pre>AAPL 1d")
    assert "&#x27;&lt;b&gt;&#x27;" in found._repr_html_()


def test_programs_get_the_same_as_json():
    found = explain(make_table("timestamp >= '2024-01-01'", transform=renamed), POINT)
    told = found.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["point"]["timestamp"] == "2024-01-01T00:00:00Z"
    (route,) = told["routes"]
    assert route["condition"]["values"] == {"timestamp": "2024-01-01T00:00:00Z"}
    assert route["transform"]["fields"]["symbol"] == ["AAPL", "MSFT"]
    assert explain(make_table("true"), {}).to_dict()["refused"]["reasons"][0]["code"] == "required"


def test_misspelt_function_is_given_its_name():
    with pytest.raises(
        ConfigError, match=r"lowr is not declared \(did you mean 'lower'\?\); functions are abs"
    ):
        make_table("lowr(symbol) = 'a'")
