"""Finished training sets: where shards are cut, what is made again and what stays, what is refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from destinations.training import publish, read_parts, shards
from destinations.training.card import YOURS
from destinations.training.finalize import finalize, recipe_of
from destinations.training.manifest import MANIFEST, Manifest, sha256_of
from destinations.training.options import FORMATS, PURGED
from destinations.training.parts import TrainingParts
from destinations.training.publish import CARD
from router.errors import ConfigError, UnavailableError
from tests.finished_sets import (
    SPLITS,
    card_of,
    data_of,
    finish,
    in_split,
    make_options,
    make_set,
    seen,
    some_bars,
    with_indicators,
)
from tests.make_training import Values, make_bars, make_examples, write_dataset, write_part


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_shards_are_cut_by_the_number_of_examples(tmp_path: Path, format: str):
    rows = make_set(tmp_path, format=format)
    told: list[int] = []
    manifest = finish(tmp_path, told.append, rows=30).manifest
    for split in SPLITS:
        examples = in_split(rows, split)
        count = -(-len(examples) // 30)
        found = [shard for shard in manifest.shards if shard.split == split]
        assert [shard.name for shard in found] == [
            f"data/{split}-{number:05}-of-{count:05}.{format}" for number in range(count)
        ]
        pieces = [examples[start : start + 30] for start in range(0, len(examples), 30)]
        assert [shard.rows for shard in found] == [len(piece) for piece in pieces]
        for shard, piece in zip(found, pieces, strict=True):
            times = [row["as_of"].isoformat() for row in piece]
            assert (shard.first_as_of, shard.last_as_of) == (min(times), max(times))
    assert sum(told) == sum(manifest.counts().values()) == sum(shard.rows for shard in manifest.shards)
    assert Manifest.from_json((tmp_path / MANIFEST).read_text()) == manifest
    for shard in manifest.shards:
        assert sha256_of(tmp_path / shard.name) == shard.sha256
        assert (tmp_path / shard.name).stat().st_size == shard.bytes


@pytest.mark.parametrize("rows", [7, 1000])
def test_the_same_examples_give_the_same_bytes_whatever_the_parts_were_cut_like(
    tmp_path: Path, format: str, rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shards, "_BARS", 40)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    features = ["ohlcv", "technical_indicators"]
    examples = make_set(whole, with_indicators(some_bars(40)), format=format, include_features=features)
    options = TrainingParts.of(whole).options
    write_dataset(cut, options.schema().empty_table(), options)
    for start in range(0, len(examples), 5):
        for place, split in enumerate((*SPLITS, PURGED)):
            if piece := in_split(examples[start : start + 5], split):
                write_part(cut, split, start + place, piece, options)
    finish(whole, rows=rows)
    monkeypatch.setattr(read_parts, "_BLOCK", 3_000)
    monkeypatch.setattr(read_parts, "_BARS", 12)
    finish(cut, rows=rows)
    assert data_of(cut) == data_of(whole) != {}


def test_row_groups_are_of_moderate_size(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shards, "_BARS", 40)
    make_set(tmp_path, format="parquet")
    manifest = finish(tmp_path, rows=25).manifest
    file = pq.ParquetFile(tmp_path / manifest.shards[0].name)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 5]


def test_of_an_example_the_last_written_is_shipped_and_purged_ones_are_not(tmp_path: Path, format: str):
    rows = make_set(tmp_path, format=format)
    options = TrainingParts.of(tmp_path).options
    train = in_split(rows, "train")
    write_part(tmp_path, "train", 90, [train[3] | {"flags": ["revised"]}], options)
    manifest = finish(tmp_path, format="jsonl").manifest
    assert manifest.purged == len(in_split(rows, PURGED)) > 0
    assert manifest.counts() == {split: len(in_split(rows, split)) for split in SPLITS}
    lines = [json.loads(line) for line in (tmp_path / manifest.shards[0].name).read_text().splitlines()]
    assert [line["example_id"] for line in lines] == [
        row["example_id"] for row in (*train[:3], *train[4:], train[3])
    ]
    assert lines[-1]["flags"] == ["revised"]
    assert "| revised | 1 |" in (tmp_path / CARD).read_text()


# -- once, and again --------------------------------------------------------------------------------


def test_where_nothing_is_new_nothing_is_written(tmp_path: Path, format: str):
    make_set(tmp_path, format=format)
    assert finish(tmp_path).made
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}, seen(tmp_path)
    assert not finish(tmp_path).made
    assert before == ({file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}, seen(tmp_path))


def test_new_parts_and_other_wishes_make_a_new_set(tmp_path: Path):
    rows = make_set(tmp_path)
    options = TrainingParts.of(tmp_path).options
    first = finish(tmp_path).manifest
    later = make_examples(make_bars(9, symbol="NEW"), options).to_pylist()
    write_part(tmp_path, "train", 50, later, options)
    second = finish(tmp_path)
    assert second.made
    assert (
        second.manifest.counts()["train"]
        == first.counts()["train"] + len(later)
        == len(in_split(rows, "train")) + 5
    )
    for wish in (
        {"rows": 10},
        {"style": "messages"},
        {"style": "messages", "encoding": "csv"},
        {"format": "parquet"},
    ):
        assert finish(tmp_path, **wish).made
        assert not finish(tmp_path, **wish).made
    assert all(name.endswith(".parquet") for name in seen(tmp_path) if name.startswith("data/"))


@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "card"])
def test_a_finished_set_that_is_not_whole_is_made_again(tmp_path: Path, damage: str):
    make_set(tmp_path)
    name = finish(tmp_path).manifest.shards[1].name
    whole = seen(tmp_path)
    path = tmp_path / (CARD if damage == "card" else name)
    content = path.read_bytes()
    if damage in ("gone", "card"):
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"" if damage == "cut" else b" "))
    assert finish(tmp_path).made
    assert seen(tmp_path) == whole


def test_what_the_owner_wrote_into_the_card_stays(tmp_path: Path):
    make_set(tmp_path)
    (tmp_path / CARD).write_text("# Mine\n\nText from before.\n")
    finish(tmp_path)
    text = (tmp_path / CARD).read_text()
    assert text.endswith(f"{YOURS}\n# Mine\n\nText from before.\n")
    (tmp_path / CARD).write_text(text.replace("---\n", "---\nlicense: mit\ntags: [bars]\n", 1) + "More.\n")
    assert not finish(tmp_path).made
    finish(tmp_path, rows=10)
    assert card_of(tmp_path)["license"] == "mit"
    assert list(card_of(tmp_path)) == ["license", "tags", "dataset_info", "configs"]
    assert (tmp_path / CARD).read_text().endswith(f"{YOURS}\n# Mine\n\nText from before.\nMore.\n")
    assert [split["name"] for split in card_of(tmp_path)["dataset_info"]["splits"]] == list(SPLITS)
    (tmp_path / CARD).write_text("---\nlicense: [\n---\n")
    with pytest.raises(ConfigError, match=r"README\.md: .*is not YAML.*dataset\.card"):
        finish(tmp_path)


# -- what cannot be finished ------------------------------------------------------------------------


def test_a_set_without_examples_is_not_finished(tmp_path: Path):
    options = make_options()
    write_dataset(tmp_path, options.schema().empty_table(), options)
    with pytest.raises(ConfigError, match=r"holds no example yet.*dataset\.empty"):
        finish(tmp_path)
    write_part(tmp_path, PURGED, 1, make_examples(make_bars(6), options).to_pylist(), options)
    with pytest.raises(ConfigError, match=r"all 2 examples lie across a boundary.*dataset\.empty"):
        finish(tmp_path)
    assert seen(tmp_path) == {}


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"style": "mesages"}, "did you mean 'messages'"),
        ({"style": "messages", "encoding": "yaml"}, "'yaml' is not one of json"),
        ({"encoding": "bps"}, "style raw tells bars as numbers: leave it out"),
        ({"style": "series", "encoding": "yaml"}, "'yaml' is not one of json"),
        ({"format": "parket"}, "did you mean 'parquet'"),
        ({"rows": 0}, "rows_per_shard: 0 is not a whole number"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told_before_anything_is_done(
    tmp_path: Path, wish: Values, message: str
):
    make_set(tmp_path)
    with pytest.raises(ConfigError, match=message):
        finish(tmp_path, **wish)
    assert seen(tmp_path) == {}


def test_more_shards_than_names_can_number_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_SHARDS", 9)
    rows = make_set(tmp_path)
    least = -(-len(in_split(rows, "train")) // 9)
    with pytest.raises(ConfigError, match=rf"take {least} or more"):
        finish(tmp_path, rows=least - 1)
    assert seen(tmp_path) == {}
    finish(tmp_path, rows=least)


def test_a_file_of_somebody_else_is_not_thrown_away(tmp_path: Path):
    make_set(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"data/notes\.txt is no shard.*dataset\.foreign"):
        finish(tmp_path)
    (tmp_path / "data" / "notes.txt").unlink()
    finish(tmp_path)
    (tmp_path / "data" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"data/notes\.txt is no shard"):
        finish(tmp_path, rows=5)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(ConfigError, match=r"manifest\.json: is no manifest.*dataset\.manifest"):
        finish(tmp_path)


def test_two_do_not_finish_one_set_at_once(tmp_path: Path):
    make_set(tmp_path)
    with publish.held(tmp_path), pytest.raises(ConfigError, match=r"dataset\.busy"):
        finish(tmp_path)
    assert finish(tmp_path).made


def test_a_damaged_part_leaves_the_set_that_was_there(tmp_path: Path, format: str):
    make_set(tmp_path, format=format)
    finish(tmp_path)
    before = seen(tmp_path)
    options = TrainingParts.of(tmp_path).options
    part = write_part(
        tmp_path, "train", 50, make_examples(make_bars(9, symbol="NEW"), options).to_pylist(), options
    )
    whole = part.read_bytes()
    parts = TrainingParts.of(tmp_path)
    assert parts.counts()["train"]
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=part.name):
        finalize(parts, recipe_of(parts))
    assert seen(tmp_path) == before


def test_a_full_disk_leaves_the_set_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_set(tmp_path)
    finish(tmp_path)
    before = seen(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shards.os, "fsync", full)
        with pytest.raises(UnavailableError, match="No space left on device"):
            finish(tmp_path, rows=10)
    assert seen(tmp_path) == before


def test_names_of_splits_may_be_those_of_columns(tmp_path: Path):
    make_set(tmp_path, splits={"symbol": "2024-02-20", "examples": None})
    assert list(finish(tmp_path).manifest.counts()) == ["symbol", "examples"]
    with pytest.raises(ConfigError, match="'all' cannot name a split"):
        make_options(splits={"all": None})


def test_a_fleet_may_write_while_a_set_is_finished(tmp_path: Path):
    make_set(tmp_path)
    parts = TrainingParts.of(tmp_path)
    count = parts.counts()["train"]
    later = make_examples(make_bars(9, symbol="NEW"), parts.options).to_pylist()
    finished = finalize(
        parts, recipe_of(parts), lambda _: write_part(tmp_path, "train", 50, later, parts.options)
    )
    assert finished.manifest.counts()["train"] == count
    assert finish(tmp_path).manifest.counts()["train"] == count + len(later)


def test_the_card_tells_a_person_what_is_there(tmp_path: Path):
    bars = [bar | {"close": 50.0} if row > 60 else bar for row, bar in enumerate(some_bars())]
    rows = make_set(tmp_path, bars, embargo=86_400)
    finish(tmp_path)
    text = (tmp_path / CARD).read_text()
    train = in_split(rows, "train", embargo=86_400)
    purged = in_split(rows, PURGED, embargo=86_400)
    assert f"| train | {len(train)} | 1 | 2024-01-01 00:00:00 | 2024-02-20 00:00:00 |" in text
    assert f"{len(purged)} examples whose bars or target lie across the end of a split" in text
    assert r"| quandl_wiki | 贵州\|茅台\* | 1d | equity |" in text
    jumps = sum("context_jump" in row["flags"] for row in rows if row not in purged)
    assert f"| context_jump | {jumps} |" in text
    assert "## Licence" in text
