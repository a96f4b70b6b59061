"""Bars of Alpaca: answers of its REST interface, objects and frames of alpaca-py."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pandas
import pytest

from router import Admission, admit, from_alpaca
from router.errors import ConfigError

START = datetime(2022, 1, 3, 9, tzinfo=UTC)


def make_bar(**changes: Any) -> dict[str, Any]:
    bar = {"t": "2022-01-03T09:00:00Z", "o": 178.26, "h": 178.34, "l": 178.21, "c": 178.3, "v": 1118}
    return {**bar, "n": 65, "vw": 178.235733, **changes}


def make_object(symbol: str = "AAPL", **changes: Any) -> SimpleNamespace:
    """Return a bar with the attributes of alpaca-py's `Bar`."""
    prices = {"open": 178.26, "high": 178.34, "low": 178.21, "close": 178.3}
    values = {
        "symbol": symbol,
        "timestamp": START,
        **prices,
        "volume": 1118.0,
        "trade_count": 65.0,
        "vwap": 178.2,
    }
    return SimpleNamespace(**{**values, **changes})


def make_frame(*symbols: str) -> Any:
    """Return what `BarSet.df` gives: an index of symbol and timestamp."""
    return pandas.DataFrame([vars(make_object(symbol)) for symbol in symbols]).set_index(
        ["symbol", "timestamp"]
    )


def admitted(bars: Any, **changes: Any) -> Admission:
    return admit(from_alpaca(bars, **{"timeframe": "1Min", "asset_class": "equity", **changes}))


def codes(admission: Admission) -> dict[int, list[str]]:
    return {one.index: [reason.code for reason in one.reasons] for one in admission.refused}


SHAPES: dict[str, Any] = {
    "several symbols": {"bars": {"AAPL": [make_bar()], "T": [make_bar()]}, "next_page_token": "QUFQTHxN"},
    "latest bars": {"bars": {"AAPL": make_bar(), "T": make_bar()}},
    "raw data of alpaca-py": {"AAPL": [make_bar()], "T": [make_bar()]},
    "bar set": SimpleNamespace(data={"AAPL": [make_object()], "T": [make_object("T")]}),
    "objects": [make_object(), make_object("T")],
    "stream": [{"T": "b", "S": symbol, **make_bar()} for symbol in ("AAPL", "T")],
    "frame": make_frame("AAPL", "T"),
    "frame without an index": make_frame("AAPL", "T").reset_index(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_bars_of_several_symbols_are_points_whatever_their_shape(shape: str) -> None:
    admission = admitted(SHAPES[shape])
    assert codes(admission) == {}
    assert [point.symbol for point in admission.batch] == ["AAPL", "T"]
    point = admission.batch[0]
    assert (point.open, point.high, point.low, point.close, point.volume) == (
        178.26,
        178.34,
        178.21,
        178.3,
        1118.0,
    )
    assert (point.timestamp, point.timeframe, point.source) == (START, "1m", "alpaca")


ALONE: dict[str, Any] = {
    "one symbol": {"symbol": "AAPL", "bars": [make_bar()], "next_page_token": None},
    "latest bar": {"symbol": "AAPL", "bar": make_bar()},
    "list": [make_bar()],
    "bar": make_bar(),
    "object": make_object(),
    "frame": make_frame("x").reset_index("symbol", drop=True),
}


@pytest.mark.parametrize("shape", ALONE)
def test_bars_of_one_symbol_take_it_from_the_answer_or_from_the_caller(shape: str) -> None:
    batch = admitted(ALONE[shape], symbol="AAPL").batch
    assert [point.identity for point in batch] == [("alpaca", "AAPL", "1m", START)]


@pytest.mark.parametrize(
    "answer",
    [
        {"bars": None, "symbol": "AAPL", "next_page_token": None},
        {"bars": {}, "next_page_token": None},
        {"bars": []},
        {"bars": {"AAPL": None, "MSFT": []}},
        {},
        [],
        SimpleNamespace(data={}),
        make_frame("A").iloc[:0],
    ],
)
def test_an_answer_without_bars_is_no_points(answer: Any) -> None:
    assert len(from_alpaca(answer, timeframe="1Min", asset_class="equity")) == 0


@pytest.mark.parametrize("bar", [None, {}, 5, "x", [], {"message": "forbidden"}])
def test_what_is_no_bar_is_refused_alone(bar: Any) -> None:
    admission = admitted({"bars": {"AAPL": [make_bar(), bar]}})
    assert codes(admission) == {1: ["envelope.shape"]}
    assert len(admission.batch) == 1


def test_an_answer_that_is_an_error_is_refused_with_what_it_said() -> None:
    refused = admitted({"message": "forbidden."}).refused
    assert [one.original for one in refused] == ['"forbidden."']


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"t": None}, "required"),
        ({"t": "2022-01-03"}, "timestamp.format"),
        ({"t": 1641200400}, "timestamp.ambiguous_unit"),
        ({"o": "x"}, "number.format"),
        ({"h": 1}, "ohlc.high_below_low"),
    ],
)
def test_a_malformed_value_is_refused_alone(change: dict[str, Any], code: str) -> None:
    assert codes(admitted({"bars": {"A": [make_bar(**change), make_bar()]}})) == {0: [code]}


def test_a_bar_of_no_symbol_is_refused() -> None:
    assert codes(admitted([make_bar()])) == {0: ["required"]}
    with pytest.raises(ConfigError, match="does not say symbol: give symbol="):
        admitted(ALONE["frame"])


class TimeFrame:
    """As alpaca-py's, which says itself as text."""

    def __str__(self) -> str:
        return "15Min"


@pytest.mark.parametrize(
    ("word", "timeframe"),
    [
        ("1Min", "1m"),
        ("15T", "15m"),
        (TimeFrame(), "15m"),
        ("1Hour", "1h"),
        ("4H", "4h"),
        ("1Day", "1d"),
        ("1D", "1d"),
        ("1Week", "1w"),
        ("1Month", "1M"),
        ("1M", "1M"),
        ("3Month", "3M"),
        ("12Month", "1y"),
        ("1m", "1m"),
    ],
)
def test_timeframes_of_alpaca_are_timeframes(word: object, timeframe: str) -> None:
    assert admitted(SHAPES["several symbols"], timeframe=word).batch[0].timeframe == timeframe


@pytest.mark.parametrize("bars", [[make_bar()], make_frame("A")], ids=["list", "frame"])
def test_what_no_point_can_have_is_an_error_of_the_caller(bars: Any) -> None:
    with pytest.raises(ConfigError, match="'7m' is not one of tick"):
        admitted(bars, timeframe="7Min")
    with pytest.raises(ConfigError, match="'stock' is not one of crypto"):
        admitted(bars, asset_class="stock")
