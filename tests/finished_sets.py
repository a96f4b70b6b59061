"""Finished training sets: made of parts with little code, and looked at as readers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from destinations.training.finalize import Finished, finalize, recipe_of
from destinations.training.manifest import DATA
from destinations.training.options import PARTS, SETTINGS, TrainingOptions
from destinations.training.parts import TrainingParts
from destinations.training.publish import CARD
from tests.make_training import Values, make_bars, make_examples, split_of, write_dataset

SPLITS: Final = {"train": "2024-02-20", "validation": "2024-03-05", "test": None}
INDICATORS: Final = (None, {}, {"rsi_14": 50.0, "Ü|": -3.5}, {"ema": 1e-7})


def make_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions.of(**{"context_window": 4, "splits": SPLITS} | changes)


def some_bars(count: int = 90) -> list[Values]:
    """Return the bars of two series."""
    return [*make_bars(count), *make_bars(count - 10, symbol="贵州|茅台*")]


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


def in_split(rows: Sequence[Values], split: str, **changes: Any) -> list[Values]:
    """Return those examples that belong to a split."""
    return [row for row in rows if split_of(row, make_options(**changes)) == split]


def seen(folder: Path) -> dict[str, bytes]:
    """Return all files of a training set but those that deliveries left."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and PARTS not in file.parts and file.name != SETTINGS
    }


def data_of(folder: Path) -> dict[str, bytes]:
    """Return the shards."""
    return {name: content for name, content in seen(folder).items() if name.startswith(f"{DATA}/")}


def card_of(folder: Path) -> dict[str, Any]:
    """Return what a program reads of a dataset card."""
    return dict(yaml.safe_load((folder / CARD).read_text().split("---\n")[1]))
