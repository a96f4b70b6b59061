"""Frames of yfinance, as `download` and `Ticker.history` return them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas
import polars as pl
import pytest

from router import Admission, admit, from_yfinance
from router.errors import ConfigError, DecodeError

DAYS = pandas.date_range("2024-01-02", periods=3, freq="D", name="Date")
MIDNIGHTS = [datetime(2024, 1, day, tzinfo=UTC) for day in (2, 3, 4)]


def make_history(index: Any = DAYS, price: float = 100.0) -> Any:
    """Return what `Ticker.history` gives; its columns are those of every version."""
    opens = [price + row for row in range(len(index))]
    return pandas.DataFrame(
        {
            "Open": opens,
            "High": [value + 2.5 for value in opens],
            "Low": [value - 1.25 for value in opens],
            "Close": [value + 0.5 for value in opens],
            "Volume": [1_000 + row for row in range(len(index))],
            "Dividends": 0.0,
            "Stock Splits": 0.0,
        },
        index=index,
    )


def make_download(by_ticker: dict[str, Any], *, group_by: str = "column", named: bool = True) -> Any:
    """Return what `download` gives for several tickers: one index, columns (Price, Ticker) or the reverse."""
    names = ["Ticker", "Price"] if named else [None, None]
    wide = pandas.concat(by_ticker, axis="columns", sort=True, names=names)
    if group_by == "column":
        wide.columns = wide.columns.swaplevel(0, 1)
        wide = wide.sort_index(axis="columns", level=0)
    return wide


def admitted(frame: Any, symbol: str | None = None, **changes: Any) -> Admission:
    return admit(from_yfinance(frame, symbol, **{"timeframe": "1d", "asset_class": "equity", **changes}))


def codes(admission: Admission) -> dict[int, list[str]]:
    return {one.index: [reason.code for reason in one.reasons] for one in admission.refused}


def test_a_history_is_points_of_its_symbol() -> None:
    batch = admitted(make_history(), "AAPL").batch
    assert [point.timestamp for point in batch] == MIDNIGHTS
    point = batch[0]
    assert (point.open, point.high, point.low, point.close, point.volume) == (
        100.0,
        102.5,
        98.75,
        100.5,
        1000,
    )
    assert (point.symbol, point.asset_class, point.timeframe, point.source) == (
        "AAPL",
        "equity",
        "1d",
        "yahoo",
    )


ZONES: list[Any] = [None, "UTC", "America/New_York", "Asia/Tokyo", "-05:00"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_bar_carries_the_date_of_its_session_whatever_the_zone(zone: str | None) -> None:
    batch = admitted(make_history(DAYS.tz_localize(zone)), "7203.T").batch
    assert [point.timestamp for point in batch] == MIDNIGHTS


def test_an_intraday_bar_begins_at_its_moment() -> None:
    index = pandas.DatetimeIndex(["2024-01-02 09:30", "2024-07-02 09:30"], name="Datetime")
    moments = [datetime(2024, 1, 2, 14, 30, tzinfo=UTC), datetime(2024, 7, 2, 13, 30, tzinfo=UTC)]
    aware = admitted(make_history(index.tz_localize("America/New_York")), "AAPL", timeframe="30m").batch
    assert [point.timestamp for point in aware] == moments
    naive = admitted(make_history(index), "AAPL", timeframe="30m", tz="America/New_York").batch
    assert naive == aware


def test_an_intraday_index_without_a_zone_needs_one() -> None:
    index = pandas.DatetimeIndex(["2024-01-02 09:30"], name="Datetime")
    with pytest.raises(ConfigError, match=r"names no zone.*tz='UTC'"):
        admitted(make_history(index), "AAPL", timeframe="30m")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("group_by", ["column", "ticker"])
def test_several_tickers_are_read_from_columns_of_either_order(group_by: str, *, named: bool) -> None:
    wide = make_download(
        {"OPEN": make_history(price=5), "LOW": make_history()}, group_by=group_by, named=named
    )
    batch = admitted(wide).batch
    found = {point.symbol: point.open for point in batch if point.timestamp == MIDNIGHTS[0]}
    assert found == {"OPEN": 5.0, "LOW": 100.0}
    assert len(batch) == 6


def test_a_row_in_which_only_other_tickers_have_a_bar_is_no_bar() -> None:
    wide = make_download({"AAPL": make_history(DAYS[:2]), "BTC-USD": make_history(DAYS)})
    assert wide["Close"]["AAPL"].isna().sum() == 1
    admission = admitted(wide, asset_class={"AAPL": "equity", "BTC-USD": "crypto"})
    assert codes(admission) == {}
    counts = {name: sum(point.symbol == name for point in admission.batch) for name in ("AAPL", "BTC-USD")}
    assert counts == {"AAPL": 2, "BTC-USD": 3}


def test_a_bar_with_some_of_its_values_is_refused_not_left_out() -> None:
    wide = make_download({"A": make_history(), "B": make_history()})
    wide.loc[DAYS[1], ("Close", "A")] = math.nan
    wide.loc[DAYS[0], ("Volume", "B")] = math.nan
    admission = admitted(wide)
    assert codes(admission) == {1: ["required"]}
    assert next(point for point in admission.batch if point.symbol == "B").volume is None


def test_empty_bars_of_a_single_ticker_are_refused() -> None:
    frame = make_history()
    frame.loc[DAYS[2], ["Open", "High", "Low", "Close"]] = math.nan
    assert codes(admitted(frame, "A")) == {2: ["required"] * 4}
    assert codes(admitted(make_download({"A": frame}))) == {2: ["required"] * 4}


def test_one_ticker_in_columns_of_two_levels_names_itself() -> None:
    wide = make_download({"AAPL": make_history()})
    assert {point.symbol for point in admitted(wide).batch} == {"AAPL"}
    assert {point.symbol for point in admitted(wide, "Apple").batch} == {"Apple"}
    with pytest.raises(ConfigError, match="has 2 tickers, which name their symbols: leave out symbol="):
        admitted(make_download({"A": make_history(), "B": make_history()}), "A")


def test_a_ticker_without_an_asset_class_is_refused_alone() -> None:
    wide = make_download({"A": make_history(DAYS[:1]), "B": make_history(DAYS[:1])})
    admission = admitted(wide, asset_class={"B": "etf"})
    assert codes(admission) == {0: ["required"]}
    assert [point.symbol for point in admission.batch] == ["B"]


@pytest.mark.parametrize(
    ("interval", "timeframe"),
    [("1d", "1d"), ("1wk", "1w"), ("1mo", "1M"), ("3mo", "3M"), ("60m", "1h"), ("1m", "1m"), ("1h", "1h")],
)
def test_intervals_of_yahoo_are_timeframes(interval: str, timeframe: str) -> None:
    frame = make_history(DAYS.tz_localize("UTC"))
    assert admitted(frame, "A", timeframe=interval).batch[0].timeframe == timeframe


@pytest.mark.parametrize("interval", ["90m", "5d"])
def test_intervals_that_no_point_has_are_refused(interval: str) -> None:
    with pytest.raises(ConfigError, match="is not one of tick"):
        admitted(make_history(DAYS.tz_localize("UTC")), "A", timeframe=interval)


def test_adjusted_close_is_not_the_close() -> None:
    frame = make_history().assign(**{"Adj Close": 1.0})
    assert admitted(frame, "A").batch[0].close == 100.5


EMPTY: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "no columns": pandas.DataFrame,
    "no rows": lambda: make_history(DAYS[:0]),
    "no rows of several": lambda: make_download({"A": make_history(DAYS[:0]), "B": make_history(DAYS[:0])}),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_download_is_no_points(kind: str) -> None:
    assert len(admitted(EMPTY[kind](), "A").batch) == 0


def test_an_index_that_became_a_column_is_found_and_polars_frames_too() -> None:
    frame = make_history().reset_index()
    assert admitted(frame, "A").batch == admitted(make_history(), "A").batch
    assert admitted(pl.from_pandas(frame), "A").batch == admitted(make_history(), "A").batch


def test_what_is_no_frame_of_yfinance_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"does not say symbol: give symbol="):
        admitted(make_history())
    with pytest.raises(ConfigError, match="no column for open"):
        admitted(make_history().drop(columns="Open"), "A")
    with pytest.raises(DecodeError, match="no index of dates, only the columns 'Open'"):
        admitted(make_history().reset_index(drop=True), "A")
    with pytest.raises(DecodeError, match="no level has the four prices"):
        admitted(make_download({"A": make_history().drop(columns="Open")}))
