"""`candlefleet dataset finalize` and `splits`: the bundled bars, through the destination, to `datasets`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from destinations import LLMTrainingDatasetDestination
from destinations.training.parts import TrainingParts
from router.schema import FRAME_SCHEMA
from tests.acceptance.fleet_fixture import Said
from tests.finished_sets import finish, in_split, make_options, make_set
from tests.hugging_face import HuggingFace
from tests.make import as_batch
from tests.make_training import write_dataset, write_part

BARS = Path(__file__).parents[2] / "examples" / "data" / "equity_1d.csv"
SPLITS = {"train": "2008-01-01", "validation": "2011-01-01", "test": None}


@pytest.fixture
def dataset(candlefleet: Callable[..., Said]) -> Callable[..., Said]:
    return partial(candlefleet, "dataset", environment={})


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_bundled_bars_become_a_set_that_is_loaded(dataset, tmp_path: Path, format: str):
    bars = pl.read_csv(BARS, schema_overrides={"volume": pl.Float64}, try_parse_dates=True).with_columns(
        pl.col("timestamp").dt.cast_time_unit("us"),
        data_quality_score=1.0,
        is_realtime=False,
        technical_indicators=pl.lit(None, FRAME_SCHEMA["technical_indicators"]),
    )
    written = LLMTrainingDatasetDestination(
        tmp_path / "set", format, 20, max_gap=6, splits=SPLITS, embargo=86_400, stride=3
    )
    written.open()
    written.write_batch(as_batch(bars.sort("timestamp").select(FRAME_SCHEMA.names())))
    written.close()
    counts = TrainingParts.of(tmp_path / "set").counts()

    said = dataset("finalize", str(tmp_path / "set"), "--rows-per-shard", "500", "--json")
    assert said.code == 0
    assert said.json["made"] is True
    assert said.json["purged"] == counts["purged"] > 0
    assert {split: told["examples"] for split, told in said.json["splits"].items()} == {
        split: counts[split] for split in SPLITS
    }
    assert dataset("splits", str(tmp_path / "set"), "--check").code == 0
    loaded = HuggingFace(tmp_path / "cache").load(tmp_path / "set")
    assert {split: len(rows) for split, rows in loaded.items()} == {split: counts[split] for split in SPLITS}
    assert set(loaded["train"]["symbol"]) == {"AAPL", "IBM"}


def test_finalize_says_what_it_made_and_that_nothing_is_new(dataset, tmp_path: Path):
    rows = make_set(tmp_path)
    said = dataset("finalize", str(tmp_path), "--style", "messages", "--encoding", "csv")
    assert said.code == 0
    assert re.search(rf"train +{len(in_split(rows, 'train'))} +1 ", said.out)
    assert f"{len(in_split(rows, 'purged'))} examples across a boundary are in no split" in said.out
    assert "✓ finished" in said.out
    again = dataset("finalize", str(tmp_path), "--style", "messages", "--encoding", "csv")
    assert (again.code, "✓ nothing new" in again.out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finalize", "nowhere"], "nowhere: is no training set"),
        (["finalize", "set", "--style", "chat"], "style: 'chat' is not one of raw"),
        (["finalize", "set", "--rows-per-shard", "0"], "rows_per_shard: 0 is not a whole number"),
        (["splits", "nowhere"], "nowhere: is no training set"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(dataset, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    make_set(tmp_path / "set")
    said = dataset(*arguments)
    assert said.code == 2
    assert said.err.startswith(f"candlefleet: {message}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("finished", [False, True])
def test_splits_check_names_the_examples_that_leak(dataset, tmp_path: Path, finished: bool):
    options = make_options()
    rows = make_set(tmp_path / "good")
    write_dataset(tmp_path / "leaky", options.schema().empty_table(), options)
    stray, *validation = in_split(rows, "validation")
    for number, (split, some) in enumerate(
        {"train": [*in_split(rows, "train"), stray], "validation": validation}.items()
    ):
        write_part(tmp_path / "leaky", split, number, some, options)
    for folder in ("good", "leaky"):
        if finished:
            finish(tmp_path / folder)
    good, leaky = (dataset("splits", str(tmp_path / name), "--check") for name in ("good", "leaky"))
    assert (good.code, leaky.code) == (0, 1)
    assert "✓ apart" in good.out
    assert f"from the {'finished shards' if finished else 'parts'}" in leaky.out
    assert "✗ train reaches into validation" in leaky.out
    assert stray["example_id"] in leaky.out
    assert dataset("splits", str(tmp_path / "leaky")).code == 0
    told = dataset("splits", str(tmp_path / "leaky"), "--check", "--json")
    assert told.code == 1
    (leak,) = told.json["leaks"]
    assert (leak["earlier"], leak["later"]) == ("train", "validation")
    assert stray["example_id"] in leak["examples"]


def test_a_folder_that_cannot_be_written_is_named(dataset, tmp_path: Path):
    make_set(tmp_path / "set")
    (tmp_path / "set" / "README.md").mkdir()
    said = dataset("finalize", str(tmp_path / "set"))
    assert said.code == 2
    assert "README.md: Is a directory" in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "set" / ".finalize.making").exists()
