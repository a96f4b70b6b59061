from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destinations.training.encodings import ENCODINGS
from destinations.training.options import TrainingOptions
from destinations.training.styles import STYLES, encode_lines, render, schema_of
from router.errors import ConfigError
from tests.make_training import MONTHS, make_bars, make_examples

#: Every style, those that tell bars as text in every encoding.
FORMS = [(name, e) for name, style in STYLES.items() for e in (ENCODINGS if style.encoded else (None,))]
TOLD = [(style, encoding) for style, encoding in FORMS if encoding is not None]
TARGETS = ("next_close", "next_volume", "next_return_bps", "direction")


def make_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions.of(**({"context_window": 4} | changes))


def rows_in(style: str, examples: pa.Table, options: TrainingOptions, encoding: str = "csv") -> list[Any]:
    return render(examples, style, encoding, options).to_pylist()


def asked(row: dict[str, Any]) -> Any:
    """Return what a model sees of an example before it answers."""
    return row["prompt"] if "prompt" in row else row["messages"][:-1]


def changed(examples: pa.Table, **columns: list[Any]) -> pa.Table:
    for name, values in columns.items():
        field = examples.schema.field(name)
        place = examples.schema.get_field_index(name)
        examples = examples.set_column(place, field, pa.array(values, field.type))
    return examples


def test_a_pair_is_what_is_asked_and_the_answer():
    options = make_options(context_window=2, include_features=["ohlc"])
    examples = make_examples(make_bars(3, closes=[100, 101.5, 99]), options)
    assert rows_in("prompt_completion", examples, options) == [
        {
            "prompt": "Bars of AAPL (1d) up to 2024-01-03T00:00:00+00:00. Tell the close one bar later.\n"
            "timestamp,open,high,low,close\n"
            "2024-01-01,99.75,100.5,99.25,100\n"
            "2024-01-02,101.25,102,100.75,101.5\n",
            "completion": "99",
        }
    ]


def test_messages_are_those_of_system_user_and_assistant():
    options = make_options(context_window=2, include_features=["ohlc"], horizon=2)
    examples = make_examples(make_bars(4, closes=[100, 101.5, 50, 99]), options)
    (row,) = rows_in("messages", examples, options, "bps_close")
    assert row == {
        "messages": [
            {
                "role": "system",
                "content": "You read bars of a market and answer with nothing but one number.",
            },
            {
                "role": "user",
                "content": "Bars of AAPL (1d) up to 2024-01-03T00:00:00+00:00, closes in basis points "
                "against the close before. Tell the close 2 bars later, in basis points against the "
                "last close.\n150",
            },
            {"role": "assistant", "content": "-246"},
        ]
    }


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("next_high", "Tell the high one bar later.\n"),
        ("next_volume", "Tell the volume one bar later.\n"),
        ("next_data_quality_score", "Tell the data quality score one bar later.\n"),
        ("next_return_bps", "Tell the return from the last close to that one bar later, in basis points.\n"),
        ("direction", "Tell whether the close one bar later is up, down or flat against the last close.\n"),
    ],
)
def test_a_prompt_says_what_to_tell(target: str, what: str):
    options = make_options(target_column=target)
    (row,) = rows_in("messages", make_examples(make_bars(5), options), options)
    assert what in row["messages"][1]["content"]
    assert ("up, down or flat" in row["messages"][0]["content"]) == (target == "direction")


@pytest.mark.parametrize(("style", "encoding"), FORMS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_style_has_its_schema(style: str, encoding: str | None, target: str):
    options = make_options(target_column=target, include_features=["ohlcv", "technical_indicators"])
    examples = make_examples(make_bars(9, technical_indicators={"rsi": 50.0}), options)
    rendered = render(examples, style, encoding, options)
    rendered.validate(full=True)
    assert rendered.schema == schema_of(style, options)
    assert len(rendered) == len(examples)


@pytest.mark.parametrize(("style", "encoding"), TOLD)
def test_texts_are_in_the_form_that_trl_reads(style: str, encoding: str):
    options = make_options()
    for row in rows_in(style, make_examples(make_bars(9), options), options, encoding):
        if style == "prompt_completion":
            assert list(row) == ["prompt", "completion"]
            assert row["prompt"].endswith("\n")
            texts = [*row.values()]
        else:
            assert list(row) == ["messages"]
            assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
            assert all(list(message) == ["role", "content"] for message in row["messages"])
            texts = [message["content"] for message in row["messages"]]
            assert texts == [text.strip() for text in texts]  # as chat templates do
        assert all(isinstance(text, str) and text for text in texts)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_nothing_of_a_later_bar_is_in_a_prompt(target: str, data: st.DataObject):
    options = make_options(target_column=target, include_features=["ohlcv", "technical_indicators"])
    examples = make_examples(make_bars(5, technical_indicators={"rsi": 50.0}), options)
    style, encoding = data.draw(st.sampled_from(TOLD))
    value = st.sampled_from(["up", "down"]) if target == "direction" else st.floats(1, 1e6)
    moments = st.datetimes(datetime(2025, 1, 1), datetime(2026, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))
    later = changed(
        examples,
        target=[{target: data.draw(value)}],
        label_end=[data.draw(moments)],
        quality_min=[data.draw(st.floats(0, 1))],
        flags=[data.draw(st.lists(st.sampled_from(["label_gap", "label_jump", "revised"]), unique=True))],
    )
    before, after = (rows_in(style, table, options, encoding) for table in (examples, later))
    assert [asked(row) for row in before] == [asked(row) for row in after]


@pytest.mark.parametrize(("style", "encoding"), FORMS)
def test_equal_rows_give_equal_bytes_in_whatever_company(style: str, encoding: str | None):
    options = make_options(include_features=["ohlcv", "technical_indicators"], max_gap=3)
    bars = make_bars(40, skip=(9, 10), technical_indicators={"rsi": 50.0})
    bars += make_bars(20, symbol="ΔBTC/€", timeframe="1m", closes=[x / 7 + 1e-7 for x in range(20)])
    examples = make_examples(bars, options)
    whole = encode_lines(render(examples, style, encoding, options))
    alone = [render(examples.slice(row, 1), style, encoding, options) for row in range(len(examples))]
    assert b"".join(map(encode_lines, alone)) == whole
    chunked = pa.concat_tables([examples.slice(0, 7), examples.slice(7)])
    assert encode_lines(render(chunked, style, encoding, options)) == whole


@pytest.mark.parametrize(("style", "encoding"), FORMS)
def test_no_example_is_no_line(style: str, encoding: str | None):
    options = make_options(include_features=["ohlcv", "technical_indicators"])
    nothing = render(options.schema().empty_table(), style, encoding, options)
    assert nothing.schema == schema_of(style, options)
    assert encode_lines(nothing) == b""


# -- series ---------------------------------------------------------------------------------------


def series(examples: pa.Table, options: TrainingOptions) -> list[list[float | None]]:
    rows = map(json.loads, encode_lines(render(examples, "series", None, options)).splitlines())
    return [row["target"] for row in rows]


def test_a_series_is_the_closes_and_the_target():
    options = make_options(context_window=3)
    examples = make_examples(make_bars(5, closes=[1, 2, 3, 4, 5]), options)
    first, second = render(examples, "series", None, options).to_pylist()
    assert first["start"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert (first["target"], second["target"]) == ([1, 2, 3, 4], [2, 3, 4, 5])
    assert first["item_id"] == f"quandl_wiki/AAPL/1d#{examples['example_id'][0]}"
    assert first["item_id"] != second["item_id"]


def test_a_bar_that_is_missing_is_nan_and_null_in_json():
    options = make_options(context_window=3, max_gap=3)
    examples = make_examples(make_bars(8, skip=(1, 4, 5), closes=[1, 2, 3, 4, 5, 6, 7, 8]), options)
    assert series(examples, options) == [[1, None, 3, 4, None, None, 7], [3, 4, None, None, 7, 8]]
    (first, _) = render(examples, "series", None, options)["target"].to_pylist()
    assert math.isnan(first[1])
    assert np.isnan(np.asarray([1, None], dtype=np.float32)).tolist() == [False, True]  # as GluonTS reads it


def test_bars_between_the_current_one_and_the_target_are_nan():
    options = make_options(context_window=3, horizon=3)
    assert series(make_examples(make_bars(6, closes=[1, 2, 3, 4, 5, 6]), options), options) == [
        [1, 2, 3, None, None, 6]
    ]


@pytest.mark.parametrize("target", ["next_open", "next_volume", "next_return_bps", "direction"])
def test_a_series_ends_with_the_current_close_where_the_target_is_something_else(target: str):
    options = make_options(context_window=3, target_column=target)
    assert series(make_examples(make_bars(4, closes=[1, 2, 3, 4]), options), options) == [[1, 2, 3]]


def test_ticks_follow_each_other_without_a_gap():
    options = make_options(context_window=3, horizon=2)
    bars = make_bars(9, timeframe="tick", skip=(1, 2, 5), closes=range(9))
    assert series(make_examples(bars, options), options)[0] == [0, 3, 4, None, 7]


@pytest.mark.parametrize("timeframe", [*MONTHS, "1w", "3d"])
def test_a_month_or_a_week_that_is_missing_is_nan(timeframe: str):
    options = make_options(context_window=3, max_gap=1)
    bars = make_bars(30, timeframe=timeframe, skip=(1, 27), closes=range(30))
    found = series(make_examples(bars, options), options)
    assert found[0] == [0, None, 2, 3, 4]
    assert found[-1] == [25, 26, None, 28, 29]
    assert [len(one) for one in found[1:-3]] == [4] * (len(found) - 4)


def test_a_day_of_23_hours_has_no_gap():
    options = make_options(context_window=3, max_gap=1)
    bars = make_bars(5, closes=[1, 2, 3, 4, 5])
    for bar in bars[2:]:
        bar["timestamp"] -= timedelta(hours=1)
    assert series(make_examples(bars, options), options) == [[1, 2, 3, 4], [2, 3, 4, 5]]


# -- files ----------------------------------------------------------------------------------------


def test_lines_of_the_raw_style_are_the_canonical_rows():
    options = make_options(include_features=["ohlcv", "technical_indicators"])
    bars = make_bars(
        6, start=datetime(2024, 1, 1, 0, 0, 0, 5, UTC), symbol='é"\\/', technical_indicators=None
    )
    bars[1] |= {"volume": None, "technical_indicators": {"rsi": 0.1 + 0.2}}
    examples = make_examples(bars, options)
    lines = encode_lines(render(examples, "raw", None, options)).decode().splitlines()
    rows = examples.to_pylist(maps_as_pydicts="strict")
    wanted = [
        json.dumps(row, default=datetime.isoformat, ensure_ascii=False, separators=(",", ":")) for row in rows
    ]
    assert lines == wanted


@pytest.mark.parametrize(("style", "encoding"), FORMS)
def test_the_datasets_library_loads_the_lines(tmp_path: Path, style: str, encoding: str | None):
    options = make_options()
    rendered = render(make_examples(make_bars(12), options), style, encoding, options)
    path = tmp_path / "train.jsonl"
    path.write_bytes(encode_lines(rendered))
    loaded = datasets.Dataset.from_json(str(path), cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == rendered.column_names
    if encoding is not None:
        assert loaded.to_list() == rendered.to_pylist()


def test_pandas_reads_the_start_of_a_series_as_gluonts_does():
    options = make_options()
    examples = make_examples(make_bars(5, timeframe="1h"), options)
    (line,) = encode_lines(render(examples, "series", None, options)).splitlines()
    assert pd.Period(json.loads(line)["start"], freq="h") == pd.Period("2024-01-01 00:00", freq="h")


# -- what cannot be -------------------------------------------------------------------------------


def test_an_unknown_style_is_refused_with_the_nearest():
    options = make_options()
    with pytest.raises(ConfigError, match=r"style: 'message' is not one of .*did you mean 'messages'"):
        render(options.schema().empty_table(), "message", "csv", options)


def test_a_style_that_tells_bars_needs_an_encoding():
    options = make_options()
    with pytest.raises(ConfigError, match=r"encoding: style messages tells bars as text: choose one of json"):
        render(options.schema().empty_table(), "messages", None, options)


def test_a_target_that_cannot_be_told_is_refused_with_its_example():
    options = make_options(context_window=2)
    examples = make_examples(make_bars(5, closes=[1, 2, 0, 3, 4]), options)
    unlucky = examples["example_id"][1]
    with pytest.raises(ConfigError, match=rf"bps: example {unlucky} cannot be told .*csv \[dataset.untold\]"):
        render(examples, "prompt_completion", "bps", options)
