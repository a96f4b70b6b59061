"""Look at the splits of a training set, and prove that none knows what a later one asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

from destinations.training.manifest import RAW, read_manifest
from destinations.training.options import PURGED, TrainingOptions
from destinations.training.parts import Batch, TrainingParts
from destinations.training.raw_shards import RawShards
from destinations.training.spans import SERIES, TIMES, Spans

_ID: Final = "example_id"

Batches = Callable[[Sequence[str]], Iterator[Batch]]


@dataclass(frozen=True, slots=True)
class Span:
    """What the examples of one split reach over; without examples there are no times, which are UTC."""

    split: str
    examples: int
    first_context_start: datetime | None = None
    last_context_start: datetime | None = None
    first_label_end: datetime | None = None
    last_label_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """Two splits that are not apart by the embargo.

    Attributes:
        earlier: The split whose last label ends too late.
        later: The split whose first bar starts too early.
        last_label_end: Of the earlier one.
        first_context_start: Of the later one.
        examples: The `example_id` of all that reach into the other split, or into the embargo.
    """

    earlier: str
    later: str
    last_label_end: datetime
    first_context_start: datetime
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits of a training set.

    Attributes:
        spans: The splits in the order of time.
        purged: How many examples lie across a boundary, and are in none.
        embargo: How far the splits have to be apart.
        leaks: Pairs of splits that are not.
        finished: Whether its shards were looked at, not its parts.
        behind: Whether parts were written since those shards were made.
    """

    spans: tuple[Span, ...]
    purged: int
    embargo: timedelta
    leaks: tuple[Leak, ...]
    finished: bool = False
    behind: bool = False


def look_at(folder: str | Path) -> Splits:
    """Return the splits of a training set, of its shards if it is finished in raw style, else of its parts.

    Raises:
        ConfigError: `dataset.missing`, `dataset.settings`, `dataset.manifest`, `dataset.part`,
            `dataset.shard`.
    """
    parts = TrainingParts.of(folder)
    manifest = read_manifest(parts.path)
    if manifest is not None and manifest.recipe.style == RAW:
        shards = RawShards(parts.path, manifest)
        found = _looked(shards.options, shards.batches, manifest.purged)
        return replace(found, finished=True, behind=manifest.recipe.parts != parts.digest())
    known = [split.name for split in parts.options.splits]
    purged = parts.counts()[PURGED]
    return _looked(parts.options, lambda columns: parts.batches(columns, known), purged)


def _looked(options: TrainingOptions, batches: Batches, purged: int) -> Splits:
    tally = Spans()
    for split, table in batches((*SERIES, *TIMES, "flags")):
        tally.add(split, table)
    found = {row["split"]: Span(**row) for row in tally.by(["split"]).to_dicts()}
    spans = tuple(found.get(split.name, Span(split.name, 0)) for split in options.splits)
    embargo = timedelta(seconds=options.embargo)
    leaks = [_leak(one, other, embargo, batches) for one, other in _too_close(spans, embargo)]
    return Splits(spans, purged, embargo, tuple(leaks))


# Every split against every later one: one without examples keeps none apart.
def _too_close(spans: Sequence[Span], embargo: timedelta) -> list[tuple[Span, Span]]:
    return [
        (earlier, later)
        for earlier, later in combinations(spans, 2)
        if earlier.last_label_end is not None
        and later.first_context_start is not None
        and not earlier.last_label_end + embargo < later.first_context_start
    ]


def _leak(earlier: Span, later: Span, embargo: timedelta, batches: Batches) -> Leak:
    assert earlier.last_label_end is not None
    assert later.first_context_start is not None
    late = pl.col("label_end") >= later.first_context_start - embargo
    early = pl.col("context_start") <= earlier.last_label_end + embargo
    conditions = {earlier.split: late, later.split: early}
    ids = [
        example
        for split, table in batches((_ID, *TIMES))
        if split in conditions
        for example in _rows(table).filter(conditions[split])[_ID]
    ]
    return Leak(earlier.split, later.split, earlier.last_label_end, later.first_context_start, tuple(ids))


def _rows(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))
