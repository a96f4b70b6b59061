"""Finished training sets: shards that `datasets` loads, the same bytes for the same examples, old or new."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from destinations.training import parts as parts_module
from destinations.training import publish, read_parts, shards
from destinations.training.card import YOURS
from destinations.training.features import features_of
from destinations.training.finalize import Finished, finalize, recipe_of
from destinations.training.manifest import MANIFEST, Manifest, sha256_of
from destinations.training.options import FORMATS, PURGED, TrainingOptions
from destinations.training.parts import TrainingParts
from destinations.training.publish import CARD
from destinations.training.styles import STYLES
from router.errors import ConfigError
from tests.hugging_face import HuggingFace
from tests.make_training import Values, make_bars, make_examples, split_of, write_dataset, write_part

SPLITS = {"train": "2024-02-20", "validation": "2024-03-05", "test": None}
INDICATORS = [None, {}, {"rsi_14": 50.0, "Ü|": -3.5}, {"ema": 1e-7}]


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> HuggingFace:
    return HuggingFace(tmp_path_factory.mktemp("hugging_face"))


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions.of(**{"context_window": 4, "splits": SPLITS} | changes)


def some_bars(count: int = 90, **changes: Any) -> list[Values]:
    return [*make_bars(count, **changes), *make_bars(count - 10, symbol="贵州|茅台*", **changes)]


def with_indicators(bars: Sequence[Values]) -> list[Values]:
    return [bar | {"technical_indicators": INDICATORS[row % len(INDICATORS)]} for row, bar in enumerate(bars)]


def make_set(folder: Path, bars: Sequence[Values] | None = None, **changes: Any) -> list[Values]:
    """Write a training set as deliveries leave it; return its examples."""
    options = make_options(**changes)
    examples = make_examples(some_bars() if bars is None else bars, options)
    write_dataset(folder, examples, options)
    rows: list[Values] = examples.to_pylist(maps_as_pydicts="strict")
    return rows


def finish(folder: Path, advance: Callable[[int], object] = lambda _: None, **wanted: Any) -> Finished:
    parts = TrainingParts.of(folder)
    return finalize(parts, recipe_of(parts, **wanted), advance)


def seen(folder: Path) -> dict[str, bytes]:
    """Return what a reader finds of the finished set, and what should not be there."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "parts" not in file.parts and file.name != "dataset.json"
    }


def card_of(folder: Path) -> dict[str, Any]:
    front = (folder / CARD).read_text().split("---\n")[1]
    return dict(yaml.safe_load(front))


def in_split(rows: Sequence[Values], split: str, **changes: Any) -> list[Values]:
    return [row for row in rows if split_of(row, make_options(**changes)) == split]


# -- loaded as users load it ------------------------------------------------------------------------


@pytest.mark.parametrize("shard_format", FORMATS)
def test_examples_are_loaded_as_they_were_written(
    tmp_path: Path, hugging_face: HuggingFace, format: str, shard_format: str
):
    rows = make_set(tmp_path, format=format)
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


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("target", ["next_close", "direction"])
def test_every_style_is_loaded_with_the_columns_its_card_says(
    tmp_path: Path, hugging_face: HuggingFace, format: str, style: str, target: str
):
    rows = make_set(tmp_path, format=format, target_column=target)
    finish(tmp_path, style=style, encoding="csv", rows=25)
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


def test_shards_are_read_by_other_libraries(tmp_path: Path):
    rows = make_set(tmp_path, format="parquet")
    finish(tmp_path, rows=20)
    assert pl.read_parquet(tmp_path / "data").height == sum(len(in_split(rows, split)) for split in SPLITS)
    finish(tmp_path, format="jsonl")
    lines = (tmp_path / "data" / "train-00000-of-00001.jsonl").read_text().splitlines()
    assert list(json.loads(lines[0])) == make_options().schema().names


# -- where shards are cut ---------------------------------------------------------------------------


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


@pytest.mark.parametrize("rows", [1, 7, 30, 1000])
def test_the_same_examples_give_the_same_bytes_whatever_the_parts_were_cut_like(
    tmp_path: Path, format: str, rows: int, monkeypatch
):
    monkeypatch.setattr(shards, "_BARS", 40)
    examples = make_set(
        tmp_path / "a",
        with_indicators(some_bars(40)),
        format=format,
        include_features=["ohlcv", "technical_indicators"],
    )
    options = TrainingParts.of(tmp_path / "a").options
    write_dataset(tmp_path / "b", options.schema().empty_table(), options)
    for number in range(0, len(examples), 5):
        for split in [*SPLITS, PURGED]:
            if piece := in_split(examples[number : number + 5], split):
                write_part(
                    tmp_path / "b",
                    split,
                    number + list(SPLITS).index(split) if split in SPLITS else number + 3,
                    piece,
                    options,
                )
    finish(tmp_path / "a", rows=rows)
    monkeypatch.setattr(read_parts, "_BLOCK", 3_000)
    monkeypatch.setattr(read_parts, "_BARS", 12)
    finish(tmp_path / "b", rows=rows)
    one, other = seen(tmp_path / "a"), seen(tmp_path / "b")
    assert {name: one[name] for name in one if name.startswith("data/")} == {
        name: other[name] for name in other if name.startswith("data/")
    }
    assert len(one) > 3


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


def test_a_split_without_examples_has_no_shard(tmp_path: Path, hugging_face: HuggingFace, format: str):
    make_set(tmp_path, some_bars(30), format=format)
    assert set(finish(tmp_path).manifest.counts()) == {"train"}
    assert list(hugging_face.load(tmp_path)) == ["train"]


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


def test_what_the_owner_wrote_into_the_card_stays(tmp_path: Path, hugging_face: HuggingFace):
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
    assert set(hugging_face.load(tmp_path)) == set(SPLITS)
    (tmp_path / CARD).write_text("---\nlicense: [\n---\n")
    with pytest.raises(ConfigError, match=r"README\.md: .*not YAML.*dataset\.card"):
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


# -- killed -----------------------------------------------------------------------------------------


class KilledError(BaseException):
    """Stands for the end of the process, which runs nothing after it."""


STEPS = [
    (publish.os, "fsync"),
    (publish.Root, "exchange"),
    (Path, "rename"),
    (Path, "replace"),
    (publish.shutil, "rmtree"),
]


def die_at(step: int, patch: pytest.MonkeyPatch) -> None:
    left = iter(range(step))

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(left, None) is None:
                raise KilledError
            return real(*args, **kwargs)

        return call

    for owner, name in STEPS:
        patch.setattr(owner, name, dying(getattr(owner, name)))


def made_but_not_in_place(folder: Path, patch: pytest.MonkeyPatch, **wanted: Any) -> None:
    with patch.context() as inside, pytest.raises(KilledError):
        inside.setattr(
            publish, "settle", lambda _: next(iter(())) if (folder / ".finalize.complete").exists() else None
        )
        inside.setattr(publish, "settle", _stops_at_complete)
        finish(folder, **wanted)


def _stops_at_complete(folder: Path) -> None:
    if (folder / ".finalize.complete").exists():
        raise KilledError


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_killed_at_any_step_of_putting_it_in_place_the_next_finishes_it(
    tmp_path: Path, monkeypatch, exchange: bool, first: bool
):
    def old(folder: Path) -> None:
        make_set(folder)
        if not first:
            finish(folder)

    old(tmp_path / "before")
    old(tmp_path / "after")
    finish(tmp_path / "after", rows=10)
    before, after = seen(tmp_path / "before"), seen(tmp_path / "after")
    if not exchange:
        monkeypatch.setattr(publish.Root, "exchange", no_exchange)
    for step in range(100):
        folder = tmp_path / f"step-{step}" / "after"
        old(folder)
        made_but_not_in_place(folder, monkeypatch, rows=10)
        with monkeypatch.context() as patch:
            die_at(step, patch)
            try:
                publish.settle(folder)
            except KilledError:
                killed = True
            else:
                killed = False
        data = {name: content for name, content in seen(folder).items() if name.startswith("data/")}
        assert (
            data in [{n: c for n, c in whole.items() if n.startswith("data/")} for whole in (before, after)]
            or not exchange
        )
        if step % 2:
            finish(folder, rows=10)
        else:
            publish.settle(folder)
        assert seen(folder) == after
        if not killed:
            break
    assert 5 < step < 30


def no_exchange(*_: object) -> None:
    raise OSError(22, "no such step here")


WRITING = """
import os, signal, sys
from destinations.training import finalize as module, publish
from destinations.training.finalize import finalize, recipe_of
from destinations.training.parts import TrainingParts

folder, moment = sys.argv[1:]
parts = TrainingParts.of(folder)

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "writing":
    finalize(parts, recipe_of(parts, rows=10), kill)
elif moment == "card":
    module.card = kill
elif moment == "complete":
    real = publish.settle
    publish.settle = lambda path: kill() if (path / ".finalize.complete").exists() else real(path)
elif moment == "exchanged":
    publish.Path.replace = kill
finalize(parts, recipe_of(parts, rows=10))
"""


@pytest.mark.parametrize("moment", ["writing", "card", "complete", "exchanged"])
def test_killed_while_it_is_made_a_set_is_the_old_one_or_the_new(
    tmp_path: Path, hugging_face: HuggingFace, moment: str
):
    folder = tmp_path / "set"
    rows = make_set(folder)
    finish(folder)
    old = seen(folder)
    command = [sys.executable, "-c", WRITING, str(folder), moment]
    ended = subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    left = {name: content for name, content in seen(folder).items() if not name.startswith(".finalize")}
    if moment != "exchanged":
        assert left == old
        assert len(hugging_face.load(folder)["train"]) == len(in_split(rows, "train"))
    assert finish(folder, rows=10).manifest.counts()["train"] == len(in_split(rows, "train"))
    assert not [name for name in os.listdir(folder) if name.startswith(".finalize")]
    assert len(list((folder / "data").glob("train-*"))) == -(-len(in_split(rows, "train")) // 10)
