from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destinations.training.encodings import ENCODINGS, completions, decode, encoding_of
from destinations.training.options import TrainingOptions
from destinations.training.windows import Windows
from router.errors import ConfigError
from tests.make_training import make_bars, make_examples

LOSSLESS = [name for name, encoding in ENCODINGS.items() if encoding.lossless]
RELATIVE = [name for name in ENCODINGS if name not in LOSSLESS]
PRICE = st.floats(1e-6, 1e9) | st.floats(-1e9, -1e-6)
VERY = [5e-324, 1e-7, 0.1 + 0.2, 1e15, 1e16, 123456789012345678.0, 1.7e308, -0.0, -37.63]


def make_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions.of(**({"context_window": 3} | changes))


def make_example(options: TrainingOptions, **changes: Any):
    """Return the one example of just enough bars."""
    return make_examples(make_bars(options.span, **changes), options)


def bars_in(name: str, examples, options: TrainingOptions) -> list[str]:
    return ENCODINGS[name].bars(Windows.of(examples), options).to_list()


def targets_in(name: str, examples, options: TrainingOptions) -> list[str | None]:
    return completions(examples, Windows.of(examples), ENCODINGS[name], options).to_list()


def read_back(name: str, examples, options: TrainingOptions) -> list[Any]:
    told = targets_in(name, examples, options)
    rows = examples.to_pylist()
    return [decode(text, row, ENCODINGS[name], options) for text, row in zip(told, rows, strict=True)]


def rows_of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_json_is_a_list_of_objects():
    options = make_options()
    (text,) = bars_in("json", make_example(options, closes=[100, 101.5, 99, 98], volume=None), options)
    assert text == (
        '[{"timestamp":"2024-01-01T00:00:00+00:00","open":99.75,"high":100.5,"low":99.25,"close":100.0,'
        '"volume":null},\n'
        '{"timestamp":"2024-01-02T00:00:00+00:00","open":101.25,"high":102.0,"low":100.75,"close":101.5,'
        '"volume":null},\n'
        '{"timestamp":"2024-01-03T00:00:00+00:00","open":98.75,"high":99.5,"low":98.25,"close":99.0,'
        '"volume":null}]'
    )


def test_csv_is_a_header_and_a_line_a_bar():
    options = make_options()
    (text,) = bars_in("csv", make_example(options, closes=[100, 101.5, 99, 98]), options)
    assert text == (
        "timestamp,open,high,low,close,volume\n"
        "2024-01-01,99.75,100.5,99.25,100,1000\n"
        "2024-01-02,101.25,102,100.75,101.5,1001\n"
        "2024-01-03,98.75,99.5,98.25,99,1002"
    )


def test_basis_points_are_told_against_the_close_before():
    options = make_options()
    examples = make_example(options, closes=[100, 101.5, 99, 98], volume=5.0)
    assert bars_in("bps", examples, options) == [
        "open_bps,high_bps,low_bps,close_bps,volume_pct\n125,200,75,150,100\n-271,-197,-320,-246,100"
    ]
    assert bars_in("bps_close", examples, options) == ["150,-246"]
    assert targets_in("bps", examples, options) == targets_in("bps_close", examples, options) == ["-101"]


@pytest.mark.parametrize("timeframe", ["1d", "1m", "1s", "tick"])
def test_times_in_csv_read_back(timeframe: str):
    options = make_options()
    bars = make_bars(3 * options.span, timeframe=timeframe, start=datetime(2024, 2, 28, 23, 59, 30, 7, UTC))
    examples = make_examples(bars, options)
    for text, row in zip(bars_in("csv", examples, options), examples.to_pylist(), strict=True):
        times = [datetime.fromisoformat(bar["timestamp"]) for bar in rows_of_csv(text)]
        times = [time if time.tzinfo else time.replace(tzinfo=UTC) for time in times]
        assert times == [bar["timestamp"] for bar in (*row["context"], row["current"])]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), min_size=4, max_size=4))
def test_lossless_bars_read_back_to_the_very_numbers(closes: list[float]):
    options = make_options(include_features=["ohlcv"])
    examples = make_example(options, closes=closes, volume=closes[0], open=closes[1])
    (row,) = examples.to_pylist()
    (as_json,), (as_csv,) = bars_in("json", examples, options), bars_in("csv", examples, options)
    for name in ("open", "high", "low", "close", "volume"):
        numbers = [bar[name] for bar in (*row["context"], row["current"])]
        assert [bar[name] for bar in json.loads(as_json)] == numbers
        assert [float(bar[name]) for bar in rows_of_csv(as_csv)] == numbers


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "json"])
@pytest.mark.parametrize("close", VERY)
def test_no_number_has_an_exponent(name: str, close: float):
    options = make_options()
    examples = make_example(options, closes=[close, 1.5, close, close], high=close, volume=abs(close))
    (text,), (target,) = bars_in(name, examples, options), targets_in(name, examples, options)
    numbers = text.partition("\n")[2] or text
    assert not set(numbers.lower()) & set("e+nai")
    assert "e" not in (target or "")


@pytest.mark.parametrize("name", LOSSLESS)
@settings(max_examples=50, deadline=None)
@given(target=st.floats(-1e300, 1e300))
def test_a_lossless_completion_reads_back_to_the_very_target(name: str, target: float):
    options = make_options(target_column="next_close")
    examples = make_example(options, closes=[1, 2, 3, target])
    assert read_back(name, examples, options) == [target]


@pytest.mark.parametrize("name", RELATIVE)
@settings(max_examples=50, deadline=None)
@given(close=PRICE, target=PRICE)
def test_a_price_in_basis_points_reads_back_within_half_of_one(name: str, close: float, target: float):
    options = make_options()
    examples = make_example(options, closes=[1, 2, close, target])
    (found,) = read_back(name, examples, options)
    assert abs(found - target) <= abs(close) * 0.5e-4 + 1e-9 * (abs(target) + abs(close))


@pytest.mark.parametrize("name", RELATIVE)
@settings(max_examples=50, deadline=None)
@given(close=PRICE, target=PRICE)
def test_a_return_reads_back_within_half_a_basis_point(name: str, close: float, target: float):
    options = make_options(target_column="next_return_bps")
    examples = make_example(options, closes=[1, 2, close, target])
    (found,), (row,) = read_back(name, examples, options), examples.to_pylist()
    wanted = row["target"]["next_return_bps"]
    assert abs(found - wanted) <= 0.5 + 1e-9 * abs(wanted)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_rise_is_positive_where_closes_are_negative(name: str):
    options = make_options()
    assert targets_in(name, make_example(options, closes=[1, 2, -37.63, 10.01]), options) == ["12660"]


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_volume_reads_back_against_those_before(name: str):
    options = make_options(target_column="next_volume")
    examples = make_examples(make_bars(40), options)
    found = read_back(name, examples, options)
    wanted = [row["target"]["next_volume"] for row in examples.to_pylist()]
    assert found == pytest.approx(wanted, rel=0.006 if name in RELATIVE else 0)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_volume_is_told_as_it_is_where_no_bar_has_one(name: str):
    options = make_options(target_column="next_volume", include_features=["ohlc"])
    assert read_back(name, make_example(options), options) == [1003.0]


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_score_of_quality_is_told_as_it_is(name: str):
    options = make_options(target_column="next_data_quality_score")
    assert read_back(name, make_example(options, data_quality_score=0.875), options) == [0.875]


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_direction_is_one_word(name: str):
    options = make_options(target_column="direction")
    examples = make_examples(make_bars(6, closes=[1, 2, 3, 3, 4, 1]), options)
    assert targets_in(name, examples, options) == read_back(name, examples, options) == ["flat", "up", "down"]


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_target_without_a_value_is_null(name: str):
    for options, changes in (
        (make_options(target_column="next_volume"), {"volume": None}),
        (make_options(target_column="next_return_bps"), {"closes": [1.0, 2.0, 0.0, 1.0]}),
    ):
        examples = make_example(options, **changes)
        assert targets_in(name, examples, options) == ["null"]
        assert read_back(name, examples, options) == [None]


def test_against_a_close_of_zero_nothing_is_told_in_basis_points():
    options = make_options(include_features=["ohlc"])
    examples = make_examples(make_bars(5, closes=[1, 0, 2, 0, 3]), options)
    assert bars_in("bps_close", examples, options) == ["-10000,-", "-,-10000"]
    assert bars_in("bps", examples, options)[0].splitlines()[-1] == "-,-,-,-"
    assert targets_in("bps", examples, options) == ["-10000", None]
    assert targets_in("csv", examples, options) == ["0", "3"]


@pytest.mark.parametrize(("volume", "told"), [(None, ""), (0.0, ""), (5e-324, ""), (1.7e308, "100")])
def test_a_volume_is_told_where_there_is_a_mean(volume: float | None, told: str):
    options = make_options()
    (text,) = bars_in("bps", make_example(options, volume=volume), options)
    assert {row["volume_pct"] for row in rows_of_csv(text)} == {told}


def test_a_bar_without_volume_is_left_out_of_the_mean():
    options = make_options()
    bars = make_bars(options.span)
    bars[0]["volume"], bars[1]["volume"], bars[2]["volume"] = None, 10.0, 30.0
    (text,) = bars_in("bps", make_examples(bars, options), options)
    assert [row["volume_pct"] for row in rows_of_csv(text)] == ["50", "150"]


@pytest.mark.parametrize("name", ENCODINGS)
def test_volume_is_told_only_where_it_is_a_feature(name: str):
    options = make_options(include_features=["ohlc"])
    assert "volume" not in bars_in(name, make_example(options), options)[0]


def test_indicators_are_columns_of_the_csv_of_their_own_example():
    options = make_options(include_features=["ohlc", "technical_indicators"])
    bars = make_bars(5)
    for bar, indicators in zip(
        bars, (None, {"rsi": 50.5}, {}, {"sma,20": 1e-7, "a": 2.0}, None), strict=True
    ):
        bar["technical_indicators"] = indicators
    first, second = bars_in("csv", make_examples(bars, options), options)
    assert first.startswith("timestamp,open,high,low,close,indicators.rsi\n")
    assert [row["indicators.rsi"] for row in rows_of_csv(first)] == ["", "50.5", ""]
    assert second.startswith(
        'timestamp,open,high,low,close,indicators.a,indicators.rsi,"indicators.sma,20"\n'
    )
    assert [row["indicators.sma,20"] for row in rows_of_csv(second)] == ["", "", "0.0000001"]


def test_indicators_are_in_one_order_however_they_were_kept():
    options = make_options(include_features=["technical_indicators"])
    found = [
        bars_in(name, make_example(options, technical_indicators=indicators), options)
        for name in LOSSLESS
        for indicators in ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0})
    ]
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert '"indicators":{"a":1.0,"b":2.0}' in found[0][0]


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_is_said_of_an_example_does_not_depend_on_its_neighbours(name: str):
    options = make_options(include_features=["ohlcv", "technical_indicators"])
    bars = make_bars(30, technical_indicators={"rsi": 50.0})
    bars[7] |= {"close": 1e-9, "volume": 1e300, "technical_indicators": {"x": 1e300}}
    examples = make_examples(bars, options)
    alone = [bars_in(name, examples.slice(row, 1), options)[0] for row in range(len(examples))]
    assert bars_in(name, examples, options) == alone


def test_no_example_is_no_text():
    options = make_options(include_features=["ohlcv", "technical_indicators"])
    for name in ENCODINGS:
        nothing = options.schema().empty_table()
        assert bars_in(name, nothing, options) == targets_in(name, nothing, options) == []


def test_a_completion_of_something_else_is_told_so():
    options = make_options()
    (row,) = make_example(options).to_pylist()
    for text in ("soon", "nan", "1e999", " "):
        with pytest.raises(ValueError, match=r"number|could not convert"):
            decode(text, row, ENCODINGS["csv"], options)
    with pytest.raises(ValueError, match="'100' is not up, down or flat"):
        decode("100", row, ENCODINGS["csv"], make_options(target_column="direction"))


def test_a_volume_cannot_be_read_against_none():
    options = make_options(target_column="next_volume")
    (row,) = make_example(options, volume=None).to_pylist()
    with pytest.raises(ValueError, match="no bar of the example has a volume"):
        decode("100", row, ENCODINGS["bps"], options)


def test_white_space_about_a_completion_does_not_matter():
    options = make_options()
    (row,) = make_example(options).to_pylist()
    assert decode(" 100.5\n", row, ENCODINGS["csv"], options) == 100.5


def test_an_unknown_encoding_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"encoding: 'bp' is not one of json, csv, bps, bps_close"):
        encoding_of("bp")
    with pytest.raises(ConfigError, match=r"did you mean 'bps_close'"):
        encoding_of("bpsclose")


def test_encodings_go_from_the_most_telling_to_the_most_frugal():
    options = make_options(context_window=50)
    examples = make_example(options)
    lengths = [pl.Series(bars_in(name, examples, options)).str.len_bytes().item() for name in ENCODINGS]
    assert lengths == sorted(lengths, reverse=True)
