"""Finished training sets, loaded with the real `datasets` library and with others."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from destinations.training.manifest import RAW
from destinations.training.options import FORMATS
from destinations.training.styles import STYLES
from tests.finished_sets import (
    SPLITS,
    card_of,
    finish,
    in_split,
    make_options,
    make_set,
    some_bars,
    with_indicators,
)
from tests.hugging_face import HuggingFace


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> HuggingFace:
    return HuggingFace(tmp_path_factory.mktemp("hugging_face"))


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("shard_format", FORMATS)
@pytest.mark.parametrize("target", ["next_close", "direction"])
def test_examples_are_loaded_as_they_were_written(
    tmp_path: Path, hugging_face: HuggingFace, format: str, shard_format: str, target: str
):
    rows = make_set(tmp_path, format=format, target_column=target)
    finish(tmp_path, format=shard_format, rows=20)
    loaded, streamed = hugging_face.load(tmp_path), hugging_face.stream(tmp_path)
    assert list(loaded) == list(streamed) == list(SPLITS)
    for split in SPLITS:
        expected = in_split(rows, split)
        assert len(expected) >= 10
        assert loaded[split].to_list() == expected
        assert list(streamed[split]) == expected
        assert loaded[split].features == streamed[split].features == hugging_face.features(card_of(tmp_path))


def test_indicators_are_columns_by_name_in_every_bar(tmp_path: Path, hugging_face: HuggingFace, format: str):
    rows = make_set(
        tmp_path,
        with_indicators(some_bars()),
        format=format,
        include_features=["ohlc", "technical_indicators"],
    )
    finish(tmp_path)
    names = ["ema", "rsi_14", "Ü|"]
    loaded = hugging_face.load(tmp_path)["train"]
    assert loaded.features == hugging_face.features(card_of(tmp_path))
    for row, found in zip(in_split(rows, "train"), loaded, strict=True):
        for bar, given in zip(
            [*found["context"], found["current"]], [*row["context"], row["current"]], strict=True
        ):
            given_indicators = given["indicators"]
            expected = None if given_indicators is None else dict.fromkeys(names) | given_indicators
            assert bar["indicators"] == expected


def test_bars_without_any_indicator_have_no_column_for_them(
    tmp_path: Path, hugging_face: HuggingFace, format: str
):
    make_set(tmp_path, format=format, include_features=["ohlc", "technical_indicators"])
    finish(tmp_path)
    assert list(hugging_face.load(tmp_path)["test"][0]["current"]) == [
        "timestamp",
        "open",
        "high",
        "low",
        "close",
    ]


@pytest.mark.parametrize("style", [style for style in STYLES if style != RAW])
def test_every_style_is_loaded_with_the_columns_its_card_says(
    tmp_path: Path, hugging_face: HuggingFace, format: str, style: str
):
    rows = make_set(tmp_path, format=format)
    finish(tmp_path, style=style, rows=25)
    loaded, streamed = hugging_face.load(tmp_path), hugging_face.stream(tmp_path)
    said = hugging_face.features(card_of(tmp_path))
    for split in SPLITS:
        assert loaded[split].features == streamed[split].features == said
        assert len(loaded[split]) == len(in_split(rows, split))
        assert str(list(streamed[split])) == str(loaded[split].to_list())  # NaN is what it says


def test_the_card_says_what_is_in_the_files(tmp_path: Path, hugging_face: HuggingFace):
    rows = make_set(tmp_path, format="parquet")
    finished = finish(tmp_path, rows=20)
    info = card_of(tmp_path)["dataset_info"]
    assert [(split["name"], split["num_examples"]) for split in info["splits"]] == [
        (split, len(in_split(rows, split))) for split in SPLITS
    ]
    assert info["download_size"] == sum(shard.bytes for shard in finished.manifest.shards)
    assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])
    found = hugging_face.load(tmp_path)["train"].info
    assert found.download_size == info["download_size"]
    assert found.splits["train"].num_bytes == pytest.approx(info["splits"][0]["num_bytes"], rel=0.05)
    assert (
        info["features"]
        == hugging_face.library.Features.from_arrow_schema(
            pq.read_schema(tmp_path / finished.manifest.shards[0].name)
        )._to_yaml_list()
    )


def test_shards_are_read_by_other_libraries(tmp_path: Path):
    rows = make_set(tmp_path, format="parquet")
    finish(tmp_path, rows=20)
    assert pl.read_parquet(tmp_path / "data").height == sum(len(in_split(rows, split)) for split in SPLITS)
    finish(tmp_path, format="jsonl")
    lines = (tmp_path / "data" / "train-00000-of-00001.jsonl").read_text().splitlines()
    assert list(json.loads(lines[0])) == make_options().schema().names


def test_a_split_without_examples_has_no_shard(tmp_path: Path, hugging_face: HuggingFace, format: str):
    make_set(tmp_path, some_bars(30), format=format)
    assert set(finish(tmp_path).manifest.counts()) == {"train"}
    assert list(hugging_face.load(tmp_path)) == ["train"]
