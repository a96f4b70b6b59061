"""Reading what deliveries left: both formats, in the order of writing, the last of each example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from destinations.training import read_parts
from destinations.training.options import FORMATS, PURGED, TrainingOptions
from destinations.training.parts import TrainingParts
from router.errors import ConfigError
from tests.make_training import Values, make_bars, make_examples, write_dataset, write_part

SPLITS = {"train": "2024-01-16", "validation": "2024-01-31", "test": None}
INDICATORS = [None, {}, {"rsi_14": 50.0}, {"ema": 1e-7, "Ü\x00": -3.5}]


def make_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions.of(**{"context_window": 4, "splits": SPLITS} | changes)


def bars_with_indicators(count: int) -> list[Values]:
    return [
        bar | {"technical_indicators": INDICATORS[row % len(INDICATORS)]}
        for row, bar in enumerate(make_bars(count))
    ]


def rows_of(parts: TrainingParts, splits: Sequence[str] | None = None) -> list[Values]:
    return [
        row
        for batch in parts.batches(splits=splits)
        for row in batch.table.to_pylist(maps_as_pydicts="strict")
    ]


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("features", [["ohlc"], ["ohlcv"], ["ohlcv", "technical_indicators"]])
@pytest.mark.parametrize("target", ["next_close", "direction"])
def test_rows_are_read_as_they_were_written(tmp_path: Path, format: str, features: list[str], target: str):
    options = make_options(format=format, include_features=features, target_column=target)
    examples = make_examples(bars_with_indicators(60), options)
    parts = TrainingParts.of(write_dataset(tmp_path, examples, options))
    batches = list(parts.batches())
    assert all(batch.table.schema.equals(options.schema()) for batch in batches)
    assert {batch.split: len(batch.table) for batch in batches} == parts.counts()
    expected = sorted(examples.to_pylist(maps_as_pydicts="strict"), key=lambda row: row["as_of"])
    assert sorted(rows_of(parts), key=lambda row: row["as_of"]) == expected


def test_microseconds_zones_and_whole_numbers_are_read_for_what_they_are(tmp_path: Path):
    options = make_options()
    start = make_bars(1)[0]["timestamp"] + timedelta(microseconds=123456)
    row = make_examples(make_bars(5, start=start), options).to_pylist()[0]
    path = write_part(
        write_dataset(tmp_path, options.schema().empty_table(), options), "train", 7, [row], options
    )
    text = path.read_text()
    assert "00:00:00.123456+00:00" in text
    path.write_text(text.replace("00:00:00.123456+00:00", "05:30:00.123456+05:30").replace("1000.0", "1000"))
    assert rows_of(TrainingParts.of(tmp_path)) == [row]


def test_parts_are_read_in_the_order_of_their_numbers_over_all_splits(tmp_path: Path, format: str):
    options = make_options(format=format)
    rows = make_examples(make_bars(20), options).to_pylist()
    write_dataset(tmp_path, options.schema().empty_table(), options)
    for number, split in ((12, "train"), (3, "validation"), (100, "train"), (7, PURGED)):
        write_part(tmp_path, split, number, [rows[number % 16]], options)
    parts = TrainingParts.of(tmp_path)
    assert [batch.split for batch in parts.batches()] == ["validation", PURGED, "train", "train"]
    assert rows_of(parts) == [rows[number % 16] for number in (3, 7, 12, 100)]
    assert rows_of(parts, splits=["train"]) == [rows[12], rows[100 % 16]]


def test_of_an_example_the_row_written_last_counts(tmp_path: Path, format: str):
    options = make_options(format=format)
    rows = make_examples(make_bars(9), options).to_pylist()
    revised = [row | {"flags": ["revised"]} for row in rows[1:3]]
    write_dataset(tmp_path, options.schema().empty_table(), options)
    write_part(tmp_path, "train", 1, rows, options)
    write_part(tmp_path, "train", 2, [rows[1], *revised], options)
    write_part(tmp_path, PURGED, 3, [rows[0]], options)
    parts = TrainingParts.of(tmp_path)
    assert rows_of(parts) == [*rows[3:], *revised, rows[0]]
    assert parts.counts() == {"train": 4, "validation": 0, "test": 0, PURGED: 1}


def test_some_columns_are_read_without_the_others(tmp_path: Path, format: str):
    options = make_options(format=format, include_features=["ohlc", "technical_indicators"])
    examples = make_examples(bars_with_indicators(30), options)
    parts = TrainingParts.of(write_dataset(tmp_path, examples, options))
    (first, *_) = parts.batches(columns=["label_end", "example_id", "symbol"])
    assert first.table.column_names == ["symbol", "example_id", "label_end"]
    (first, *_) = parts.batches(columns=["current"])
    assert first.table.schema.field("current") == options.schema().field("current")


def test_a_long_file_is_read_some_rows_at_a_time(tmp_path: Path, format: str, monkeypatch):
    monkeypatch.setattr(read_parts, "_BLOCK", 10_000)
    monkeypatch.setattr(read_parts, "_BARS", 40)
    options = make_options(format=format, splits=None, include_features=["ohlc", "technical_indicators"])
    examples = make_examples(bars_with_indicators(200), options)
    parts = TrainingParts.of(write_dataset(tmp_path, examples, options))
    tables = [batch.table for batch in parts.batches()]
    assert len(tables) > 10
    assert pa.concat_tables(tables).to_pylist() == examples.to_pylist()


def test_files_written_after_the_list_was_taken_are_not_in_it(tmp_path: Path, format: str):
    options = make_options(format=format)
    rows = make_examples(make_bars(9), options).to_pylist()
    write_dataset(tmp_path, options.schema().empty_table(), options)
    write_part(tmp_path, "train", 1, rows[:2], options)
    parts = TrainingParts.of(tmp_path)
    write_part(tmp_path, "train", 2, rows[2:], options)
    assert rows_of(parts) == rows[:2]
    assert parts.digest() != TrainingParts.of(tmp_path).digest()


def test_a_training_set_without_examples_has_none(tmp_path: Path):
    options = make_options()
    parts = TrainingParts.of(write_dataset(tmp_path, options.schema().empty_table(), options))
    assert (parts.parts, list(parts.batches()), sum(parts.counts().values())) == ((), [], 0)


def test_a_folder_that_is_no_training_set_is_told_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(ConfigError, match=r"is no training set.*dataset\.missing"):
            TrainingParts.of(path)
    (tmp_path / "dataset.json").write_bytes(b"\xff{}")
    with pytest.raises(ConfigError, match=r"dataset\.json: .*dataset\.settings"):
        TrainingParts.of(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "split=nobody",
        "part-0000000000000001-ab.jsonl",
        "split=train/part-1-ab.jsonl",
        "split=train/part-0000000000000001-ab.parquet",
        "split=train/part-0000000000000001-ab.jsonl.tmp",
    ],
)
def test_a_file_that_is_no_part_is_named(tmp_path: Path, name: str):
    options = make_options()
    write_dataset(tmp_path, make_examples(make_bars(9), options), options)
    path = tmp_path / "parts" / name
    path.write_text("") if "." in name else path.mkdir()
    (tmp_path / "parts" / ".hidden").write_text("")
    with pytest.raises(ConfigError, match=rf"{path.name}: .*move it out of this folder"):
        TrainingParts.of(tmp_path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"close": 1.0}, "unexpected field"),
        ({"symbol": None}, "required field was null"),
        ({"quality_min": "high"}, "quality_min"),
        ({"target": {"next_open": 1.0}}, "unexpected field"),
        ({"current": {"close": 1.0}}, "required field was absent"),
        ({"as_of": "yesterday"}, "yesterday"),
    ],
)
def test_a_line_of_something_else_is_refused_with_its_file(tmp_path: Path, change: Values, why: str):
    options = make_options()
    write_dataset(tmp_path, options.schema().empty_table(), options)
    row = make_examples(make_bars(9), options).to_pylist()[0]
    path = write_part(tmp_path, "train", 1, [row, row | change], options)
    with pytest.raises(ConfigError, match=rf"{path.name}: .*{why}"):
        rows_of(TrainingParts.of(tmp_path))


@pytest.mark.parametrize("features", [["ohlc"], ["ohlc", "technical_indicators"]])
def test_a_part_with_other_features_than_the_settings_say_is_refused(
    tmp_path: Path, format: str, features: list[str]
):
    other = make_options(format=format, include_features=["ohlcv"])
    write_dataset(tmp_path, make_examples(make_bars(9), other), other)
    (tmp_path / "dataset.json").write_text(make_options(format=format, include_features=features).to_json())
    with pytest.raises(ConfigError, match=r"part-.*dataset\.part"):
        rows_of(TrainingParts.of(tmp_path))


def test_a_damaged_part_is_named(tmp_path: Path, format: str):
    options = make_options(format=format)
    write_dataset(tmp_path, make_examples(make_bars(60), options), options)
    path = TrainingParts.of(tmp_path).parts[1].path
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ConfigError, match=rf"{path.name}: .*damaged"):
        rows_of(TrainingParts.of(tmp_path))


def test_a_parquet_part_with_damage_inside_is_named(tmp_path: Path):
    options = make_options(format="parquet")
    write_dataset(tmp_path, make_examples(make_bars(60), options), options)
    path = TrainingParts.of(tmp_path).parts[1].path
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * 3000 + content[3100:])
    with pytest.raises(ConfigError, match=rf"{path.name}: .*damaged"):
        rows_of(TrainingParts.of(tmp_path))


def test_unreadable_json_and_bytes_are_refused_with_their_file(tmp_path: Path):
    options = make_options()
    write_dataset(tmp_path, make_examples(make_bars(9), options), options)
    (part,) = TrainingParts.of(tmp_path).parts
    good = part.path.read_bytes()
    for bad in (b"\xff\xfe", b"[1]\n", b"null\n", b"\x00", json.dumps({"a": 1}).encode()):
        part.path.write_bytes(good + bad)
        with pytest.raises(ConfigError, match=part.path.name):
            rows_of(TrainingParts.of(tmp_path))
    part.path.write_bytes(b"\n \n" + good + b"\n")
    assert len(rows_of(TrainingParts.of(tmp_path))) == 5
    part.path.write_bytes(b"")
    assert rows_of(TrainingParts.of(tmp_path)) == []


def test_a_parquet_part_with_a_column_more_is_refused(tmp_path: Path):
    options = make_options(format="parquet")
    table = make_examples(make_bars(9), options)
    write_dataset(tmp_path, table, options)
    (part,) = TrainingParts.of(tmp_path).parts
    pq.write_table(table.append_column("more", table["symbol"]), part.path)
    with pytest.raises(ConfigError, match=r"its columns are others than dataset\.json says"):
        rows_of(TrainingParts.of(tmp_path))
