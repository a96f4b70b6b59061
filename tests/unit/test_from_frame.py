"""Frames of Polars, pandas and Arrow whose columns are not those of a point."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from inspect import signature
from pathlib import Path
from typing import Any

import pandas
import polars as pl
import pytest

from destinations import MemoryDestination
from router import Admission, DataRouter, PointBatch, Route, admit, from_frame
from router.adapters.frame import Said
from router.errors import ConfigError, DecodeError
from router.files import read_bars
from tests.make import START, make_batch, make_frame

SAID: dict[str, Any] = {"symbol": "SPY", "timeframe": "1m", "asset_class": "etf", "source": "x"}
MINUTES = pandas.date_range("2024-01-01", periods=3, freq="min")


def make_pandas(index: Any = None, **columns: Any) -> Any:
    prices = {"Open": [1.0, 2.0, 3.0], "High": 4.0, "Low": 0.5, "Close": 1.5, "Volume": [10, 0, 5]}
    return pandas.DataFrame(
        {**prices, **columns}, index=MINUTES.tz_localize("UTC") if index is None else index
    )


def admitted(frame: Any, **changes: Any) -> Admission:
    return admit(from_frame(frame, **{**SAID, **changes}))


def starts(admission: Admission) -> list[datetime]:
    return [point.timestamp for point in admission.batch]


def codes(admission: Admission) -> dict[int, list[str]]:
    return {one.index: [reason.code for reason in one.reasons] for one in admission.refused}


EXPECTED = [START, START.replace(minute=1), START.replace(minute=2)]


def test_a_frame_of_prices_by_its_index_needs_only_what_holds_for_all_rows() -> None:
    admission = admitted(make_pandas())
    assert starts(admission) == EXPECTED
    point = admission.batch[1]
    assert (point.open, point.high, point.low, point.close, point.volume) == (2.0, 4.0, 0.5, 1.5, 0.0)
    assert point.identity == ("x", "SPY", "1m", EXPECTED[1])
    assert point.asset_class == "etf"


INDEXES: dict[str, Callable[[], Any]] = {
    "of New York": lambda: MINUTES.tz_localize("UTC").tz_convert("America/New_York"),
    "with an offset": lambda: MINUTES.tz_localize("UTC").tz_convert("+05:30"),
    "named": lambda: MINUTES.tz_localize("UTC").rename("Date"),
    "named otherwise": lambda: MINUTES.tz_localize("UTC").rename("Time"),
    "in nanoseconds": lambda: MINUTES.tz_localize("UTC").as_unit("ns"),
    "of text": lambda: pandas.Index([f"{at:%Y-%m-%d %H:%M:%S}+00:00" for at in MINUTES], name="date"),
    "of seconds": lambda: pandas.Index([int(at.timestamp()) for at in EXPECTED], name="time"),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_of_any_kind_says_the_moments(kind: str) -> None:
    assert starts(admitted(make_pandas(INDEXES[kind]()))) == EXPECTED


def test_a_naive_index_is_read_in_the_zone_that_is_given() -> None:
    berlin = MINUTES + pandas.Timedelta(hours=1)
    assert starts(admitted(make_pandas(berlin), tz="Europe/Berlin")) == EXPECTED
    assert starts(admitted(make_pandas(MINUTES), tz="UTC")) == EXPECTED


def test_a_naive_index_without_a_zone_is_an_error_that_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"names no zone.*tz='UTC'") as caught:
        admitted(make_pandas(MINUTES))
    assert caught.value.code == "timestamp.no_zone"


def test_a_local_time_that_comes_twice_is_refused_alone_or_chosen() -> None:
    index = pandas.DatetimeIndex(["2023-10-29 01:59", "2023-10-29 02:30", "2023-10-29 03:00"])
    admission = admitted(make_pandas(index), tz="Europe/Berlin")
    assert codes(admission) == {1: ["timestamp.invalid"]}
    assert len(admission.batch) == 2
    later = admitted(make_pandas(index), tz="Europe/Berlin", fold="later")
    assert starts(later)[1] == datetime(2023, 10, 29, 1, 30, tzinfo=UTC)


def test_days_are_midnights_of_daily_bars() -> None:
    days = [day.date() for day in pandas.date_range("2024-01-01", periods=3)]
    frames = [
        make_pandas(pandas.RangeIndex(3), date=days),
        make_pandas(pandas.RangeIndex(3), date=[f"{day}" for day in days]),
        make_pandas(pandas.DatetimeIndex(days)),
        pl.DataFrame({"Date": days, "o": 1.0, "h": 2.0, "l": 1.0, "c": 1.5}),
    ]
    for frame in frames:
        assert starts(admitted(frame, timeframe="1d"))[2] == datetime(2024, 1, 3, tzinfo=UTC)


def test_midnights_are_no_days_where_a_zone_is_given_or_some_are_no_midnights() -> None:
    days = pandas.date_range("2024-01-01", periods=3)
    moscow = admitted(make_pandas(days), timeframe="1d", tz="Europe/Moscow")
    assert starts(moscow)[0] == datetime(2023, 12, 31, 21, tzinfo=UTC)
    with pytest.raises(ConfigError, match="names no zone"):
        admitted(make_pandas(days + pandas.Timedelta(hours=9)), timeframe="1d")


def test_the_end_of_a_bar_may_be_what_the_index_says() -> None:
    closes = MINUTES.tz_localize("UTC") + pandas.Timedelta(minutes=1)
    assert starts(admitted(make_pandas(closes), stamp="close")) == EXPECTED


def test_an_index_of_symbol_and_moment_is_both() -> None:
    index = pandas.MultiIndex.from_product([["A", "B", "C"], MINUTES[:1].tz_localize("UTC")])
    frame = make_pandas(index.set_names(["symbol", "timestamp"]))
    assert [point.symbol for point in admitted(frame, symbol=None).batch] == ["A", "B", "C"]


def test_a_column_counts_more_than_an_index_of_its_name() -> None:
    index = pandas.Index([1, 2, 3], name="timestamp")
    assert starts(admitted(make_pandas(index, timestamp=MINUTES.tz_localize("UTC")))) == EXPECTED


def test_columns_can_be_named() -> None:
    frame = make_pandas(begin=MINUTES.tz_localize("UTC"), index=pandas.RangeIndex(3))
    assert starts(admitted(frame, columns={"timestamp": "begin"})) == EXPECTED


def test_frames_of_polars_and_arrow_are_read_alike() -> None:
    frame = pl.from_pandas(make_pandas().reset_index(names="time"))
    for given in (frame, frame.lazy(), frame.to_arrow()):
        assert admitted(given).batch == admitted(make_pandas()).batch


def test_all_that_can_be_said_can_be_said_to_whoever_sends() -> None:
    assert list(signature(from_frame).parameters) == ["frame", *Said.__annotations__]


def test_what_is_whole_needs_nothing_said() -> None:
    assert admit(from_frame(make_frame(3))).batch == make_batch(3)
    assert admit(from_frame(make_batch(3).table)).batch == make_batch(3)
    assert len(admit(from_frame(pl.DataFrame())).batch) == 0


def test_values_that_are_missing_or_of_mixed_types_are_judged_by_the_row() -> None:
    frame = make_pandas(Open=["x", None, 3.0], Close=[Decimal("1.1"), 1.5, float("nan")])
    assert codes(admitted(frame)) == {0: ["number.format"], 1: ["required"], 2: ["required"]}
    frame = make_pandas(Volume=[10, None, 5])
    assert [point.volume for point in admitted(frame).batch] == [10.0, None, 5.0]


@pytest.mark.parametrize(
    ("frame", "changes", "message"),
    [
        (make_pandas(), {"symbol": None, "asset_class": None}, "give symbol=, asset_class="),
        (make_pandas(symbol="A"), {}, "has a column for symbol already: leave out symbol="),
        (make_pandas(), {"asset_class": "stocks"}, "'stocks' is not one of crypto, equity"),
        (make_pandas(), {"timeframe": "1min"}, "'1min' is not one of tick, 1s"),
        (make_pandas(), {"tz": "Europe/Berln"}, "Europe/Berlin"),
        (make_pandas(), {"stamp": "end"}, "'end' is not one of open, close"),
        (make_pandas(), {"columns": {"open": "opn"}}, "has no column 'opn'"),
        (make_pandas(open=1.0), {}, r"'Open' and 'open' may each be the open: choose with columns=\{'open'"),
        (
            make_pandas().drop(columns="Low"),
            {},
            r"no column for low: name it, as in columns=\{'low': 'COLUMN'\}",
        ),
        (make_pandas(pandas.RangeIndex(3)), {}, "no column for timestamp"),
    ],
)
def test_what_cannot_be_read_is_one_error_that_says_what_to_do(
    frame: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        admitted(frame, **changes)
    assert "--" not in str(caught.value)


def test_columns_of_several_levels_or_one_name_twice_are_no_frame_of_points() -> None:
    with pytest.raises(DecodeError, match="from_yfinance"):
        from_frame(pandas.concat({"A": make_pandas()}, axis="columns"), **SAID)
    twice = pandas.concat([make_pandas(), make_pandas()[["Open"]]], axis="columns", sort=False)
    with pytest.raises(DecodeError, match="'Open' twice"):
        from_frame(twice, **SAID)


@pytest.mark.parametrize("name", ["equity_1d.csv", "index_1d.csv"])
def test_a_file_read_by_pandas_is_the_points_that_send_makes_of_it(name: str) -> None:
    path = Path(__file__).parents[2] / "examples" / "data" / name
    sent = PointBatch.concat([admit(chunk.rows).batch for chunk in read_bars(path)])
    assert len(sent) > 5_000
    assert admit(from_frame(pandas.read_csv(path))).batch == sent
    indexed = pandas.read_csv(path, index_col="timestamp", parse_dates=True)
    assert admit(from_frame(indexed)).batch == sent


@pytest.mark.parametrize("given", [None, [1], {"open": [1.0]}, pandas.Series([1.0]), "frame"])
def test_what_is_no_frame_is_an_error_of_the_caller(given: Any) -> None:
    with pytest.raises(TypeError, match="is no frame"):
        from_frame(given, **SAID)


def test_a_router_takes_what_a_frame_became() -> None:
    kept = MemoryDestination()
    router = DataRouter([Route(route_id="all", condition="true", destination=kept)], enable_parallel=False)
    assert router.route(from_frame(make_pandas(), **SAID))["routed"] == 3
    assert [point.timestamp for point in kept.points] == EXPECTED
