"""Splits looked at: what they reach over, and the examples that reach from one into another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from destinations.training.apart import Leak, look_at
from destinations.training.options import FORMATS, PURGED
from router.errors import ConfigError
from tests.finished_sets import SPLITS, finish, in_split, make_options, make_set, some_bars
from tests.make_training import Values, make_bars, make_examples, write_dataset, write_part

DAY = timedelta(days=1)


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_leaky(folder: Path, by_split: Mapping[str, Sequence[Values]], **changes: Any) -> None:
    """Write examples into splits, whether they belong there or not."""
    options = make_options(**changes)
    write_dataset(folder, options.schema().empty_table(), options)
    for number, (split, rows) in enumerate(by_split.items()):
        write_part(folder, split, number, list(rows), options)


def make_rows(count: int = 90, first: int = 0, **changes: Any) -> list[Values]:
    """Return examples of daily bars that begin so many days later."""
    start = datetime(2024, 1, 1, tzinfo=UTC) + first * DAY
    rows: list[Values] = make_examples(make_bars(count, start=start, **changes), make_options()).to_pylist()
    return rows


@pytest.mark.parametrize("style", [None, "raw", "messages"])
def test_splits_say_what_they_reach_over(tmp_path: Path, format: str, style: str | None):
    rows = make_set(tmp_path, format=format)
    if style is not None:
        finish(tmp_path, style=style, rows=10)
    found = look_at(tmp_path)
    assert (found.finished, found.leaks) == (style == "raw", ())
    assert found.purged == len(in_split(rows, PURGED)) > 0
    for span, split in zip(found.spans, SPLITS, strict=True):
        of_split = in_split(rows, split)
        starts, ends = ([row[name] for row in of_split] for name in ("context_start", "label_end"))
        assert (span.split, span.examples) == (split, len(of_split))
        assert (span.first_context_start, span.last_context_start) == (min(starts), max(starts))
        assert (span.first_label_end, span.last_label_end) == (min(ends), max(ends))


def test_a_split_without_examples_has_no_times(tmp_path: Path):
    make_set(tmp_path, some_bars(30))
    for found in (look_at(tmp_path), finish(tmp_path) and look_at(tmp_path)):
        assert [span.examples for span in found.spans][1:] == [0, 0]
        assert found.spans[1].first_context_start is None


def test_shards_of_bars_with_indicators_are_read_in_either_format(tmp_path: Path, format: str):
    bars = [bar | {"technical_indicators": {"rsi": 50.0}} for bar in some_bars()]
    make_set(tmp_path, bars, include_features=["ohlcv", "technical_indicators"])
    before = look_at(tmp_path)
    finish(tmp_path, format=format)
    assert look_at(tmp_path).spans == before.spans


@pytest.mark.parametrize("finished", [False, True])
def test_an_example_in_an_earlier_split_than_it_belongs_to_is_named(
    tmp_path: Path, format: str, finished: bool
):
    rows = make_rows()
    train, validation, test = (in_split(rows, split) for split in SPLITS)
    stray, *others = validation
    make_leaky(tmp_path, {"train": [*train, stray], "validation": others, "test": test}, format=format)
    if finished:
        finish(tmp_path)
    found = look_at(tmp_path)
    assert found.finished is finished
    reached = [row["example_id"] for row in others if row["context_start"] <= stray["label_end"]]
    assert found.leaks == (
        Leak(
            "train",
            "validation",
            stray["label_end"],
            others[0]["context_start"],
            (stray["example_id"], *reached),
        ),
    )


def test_splits_are_apart_over_all_symbols_at_once(tmp_path: Path):
    mine, other = make_rows(30), make_rows(30, first=20, symbol="OTHER")
    make_leaky(tmp_path, {"train": [*mine[:4], *other[:5]], "validation": [*mine[9:], *other[20:]]})
    (leak,) = look_at(tmp_path).leaks
    assert leak.last_label_end == other[4]["label_end"]
    assert leak.first_context_start == mine[9]["context_start"]
    assert set(leak.examples) == {
        *(row["example_id"] for row in other[:5]),
        *(row["example_id"] for row in mine[9:] if row["context_start"] <= other[4]["label_end"]),
    }


@pytest.mark.parametrize(("days", "apart"), [(0, True), (1, True), (2, False), (3, False)])
def test_an_embargo_lies_between_splits(tmp_path: Path, days: int, apart: bool):
    train, validation = make_rows(10), make_rows(10, first=12)
    assert validation[0]["context_start"] - train[-1]["label_end"] == 2 * DAY
    make_leaky(tmp_path, {"train": train, "validation": validation}, embargo=days * DAY)
    found = look_at(tmp_path)
    assert found.embargo == days * DAY
    assert (found.leaks == ()) is apart
    if not apart:
        late = [
            row["example_id"]
            for row in train
            if row["label_end"] >= train[-1]["label_end"] - (days - 2) * DAY
        ]
        early = [row["example_id"] for row in validation[: days - 1]]
        assert found.leaks[0].examples == (*late, *early)


def test_splits_that_meet_at_one_moment_are_not_apart(tmp_path: Path):
    train, validation = make_rows(10), make_rows(10, first=10)
    assert validation[0]["context_start"] == train[-1]["label_end"]
    make_leaky(tmp_path, {"train": train, "validation": validation})
    (leak,) = look_at(tmp_path).leaks
    assert leak.examples == (train[-1]["example_id"], validation[0]["example_id"])


def test_a_split_without_examples_keeps_no_others_apart(tmp_path: Path):
    make_leaky(tmp_path, {"train": make_rows(20), "test": make_rows(20, first=10, symbol="OTHER")})
    (leak,) = look_at(tmp_path).leaks
    assert (leak.earlier, leak.later) == ("train", "test")


def test_of_a_revised_example_only_the_last_written_is_looked_at(tmp_path: Path):
    train, validation = make_rows(10), make_rows(10, first=12)
    make_leaky(tmp_path, {"train": [*train, validation[0]], "validation": validation})
    assert look_at(tmp_path).leaks == ()


def test_shards_that_are_behind_the_parts_say_so(tmp_path: Path):
    make_set(tmp_path)
    assert not look_at(tmp_path).behind
    finish(tmp_path)
    before = look_at(tmp_path)
    write_part(tmp_path, "train", 50, make_rows(9, symbol="NEW"), make_options())
    assert not before.behind
    assert look_at(tmp_path) == replace(before, behind=True)
    finish(tmp_path)
    assert look_at(tmp_path).spans[0].examples == before.spans[0].examples + 5


def test_a_shard_that_is_gone_is_named(tmp_path: Path, format: str):
    make_set(tmp_path, format=format)
    name = finish(tmp_path).manifest.shards[0].name
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=rf"{name}: is gone: run `candlefleet dataset finalize` again"):
        look_at(tmp_path)
