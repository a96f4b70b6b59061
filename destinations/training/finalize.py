"""Make a finished training set of the parts that deliveries left: shards, a card, a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from destinations.dataset import whole_number
from destinations.root import disk_errors
from destinations.training.card import Facts, card
from destinations.training.encodings import ENCODINGS, encoding_of
from destinations.training.manifest import MANIFEST, RAW, Manifest, Recipe, read_manifest
from destinations.training.options import FORMATS, PURGED
from destinations.training.parts import TrainingParts
from destinations.training.publish import CARD, held, making, write_synced
from destinations.training.raw_rows import indicator_names, raw_rows
from destinations.training.shards import Plan, SplitWriter, rows_per_group, rows_per_shard
from destinations.training.spans import Spans
from destinations.training.styles import render, style_of
from router.check_numbers import shown
from router.errors import ConfigError
from router.names import nearest


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished training set, and whether it was made now: False, if nothing was new."""

    manifest: Manifest
    made: bool


def recipe_of(
    parts: TrainingParts,
    *,
    style: str = RAW,
    encoding: str | None = None,
    format: str | None = None,
    rows: int | None = None,
) -> Recipe:
    """Return what shards are to be made of parts, checked.

    Args:
        parts: The parts.
        style: How a row says an example.
        encoding: How texts tell bars, in styles that have some; None: as JSON.
        format: Of the shards; None: that of the parts.
        rows: Examples of every shard but the last of a split; None: of some hundred megabytes.

    Raises:
        ConfigError: `enum`, `range`, `dataset.encoding` for a style without texts, or `dataset.untold` for a
            target that the encoding cannot tell.
    """
    if format is not None and format not in FORMATS:
        wanted = ", ".join(FORMATS)
        raise ConfigError(
            "enum", "format", f"{shown(format)} is not one of {wanted}{nearest(format, FORMATS)}"
        )
    return Recipe(
        style,
        _encoding(style, encoding),
        format or parts.options.format,
        rows_per_shard(parts.options.context_window)
        if rows is None
        else whole_number("rows_per_shard", rows),
        json.loads(parts.options.to_json()),
        parts.digest(),
    )


def _encoding(style: str, encoding: str | None) -> str | None:
    chosen = None if encoding is None else encoding_of(encoding).name
    if style_of(style).encoded:
        return chosen or next(iter(ENCODINGS))
    if chosen:
        message = (
            f"style {style} tells bars as numbers: leave it out, or choose prompt_completion or messages"
        )
        raise ConfigError("dataset.encoding", "encoding", message)
    return None


def finalize(
    parts: TrainingParts, recipe: Recipe, advance: Callable[[int], object] = lambda _: None
) -> Finished:
    """Make the finished set, put it in place of the one before, and return it.

    The same examples in the same order give the same bytes, however parts were cut. If nothing is new,
    nothing is written. Killed at any moment it leaves the old set or the new.

    Args:
        parts: What it is made of.
        recipe: How, as `recipe_of` said.
        advance: Told how many examples more were written.

    Raises:
        ConfigError: `dataset.empty`, if there is no example to ship; `dataset.busy`, `dataset.foreign`,
            `dataset.part`, `dataset.card`, `dataset.untold`.
        UnavailableError, TransientError: The disk is full, or the folder cannot be written.
    """
    counts = parts.counts()
    purged = counts.pop(PURGED)
    shipped = {split: count for split, count in counts.items() if count}
    if not shipped:
        raise ConfigError("dataset.empty", str(parts.path), _nothing(purged))
    folder = parts.path
    with disk_errors(folder), held(folder):
        there = read_manifest(folder)
        if (
            there is not None
            and there.recipe == recipe
            and (folder / CARD).is_file()
            and there.is_whole(folder)
        ):
            return Finished(there, made=False)
        with making(folder) as new:
            facts, manifest = _write(parts, recipe, shipped, purged, new, advance)
            write_synced(new / CARD, card(facts, folder / CARD))
            write_synced(new / MANIFEST, manifest.to_json())
    return Finished(manifest, made=True)


def _nothing(purged: int) -> str:
    if purged:
        return (
            f"all {purged} examples lie across a boundary of two splits: choose other `splits` or `embargo`"
        )
    return "holds no example yet: deliver bars to it first, more of a series than context_window and horizon"


def _write(
    parts: TrainingParts,
    recipe: Recipe,
    shipped: Mapping[str, int],
    purged: int,
    new: Path,
    advance: Callable[[int], object],
) -> tuple[Facts, Manifest]:
    plan = _plan(parts, recipe, shipped)
    spans = Spans()
    with ExitStack() as open_files:
        writers = {split: SplitWriter(new, split, count, plan) for split, count in shipped.items()}
        for writer in writers.values():
            open_files.enter_context(closing(writer))
        for split, table in parts.batches(splits=shipped):
            spans.add(split, table)
            writers[split].add(table)
            advance(len(table))
    shards = tuple(shard for writer in writers.values() for shard in writer.shards)
    manifest = Manifest(recipe, purged, shards)
    sizes = {split: writer.bytes for split, writer in writers.items()}
    return Facts(parts.options, manifest, spans, sizes, next(iter(writers.values())).schema), manifest


def _plan(parts: TrainingParts, recipe: Recipe, shipped: Mapping[str, int]) -> Plan:
    if recipe.style == RAW:
        finish = partial(raw_rows, names=indicator_names(parts, list(shipped)))
    else:
        finish = partial(render, style=recipe.style, encoding=recipe.encoding, options=parts.options)
    return Plan(recipe.format, recipe.rows_per_shard, rows_per_group(parts.options.context_window), finish)
