"""What a lint looks at: the parts of a training set, or its shards where nothing else was brought along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from destinations.training.manifest import RAW, Manifest, Recipe, read_manifest
from destinations.training.options import PARTS, TrainingOptions
from destinations.training.parts import TrainingParts
from destinations.training.raw_shards import RawShards
from destinations.training.styles import schema_of
from router.errors import ConfigError

#: Gives tables anew whenever it is called, few enough rows at a time to be held in memory.
Tables = Callable[[], Iterator[pa.Table]]

#: What the texts of an example need of its columns.
_COLUMNS: Final = ("symbol", "timeframe", "context", "current", "target", "example_id", "as_of")
#: Bytes of JSON lines, and rows of Parquet, read at once.
_BLOCK: Final = 8 << 20
_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """What there is to look at.

    Attributes:
        options: What the examples are.
        tables: Gives the examples; the rows of the finished set, if `rendered`.
        recipe: How the set was finished; None: it was not.
        rendered: Whether there are only rows in the style of the finished set: texts, or series.
    """

    options: TrainingOptions
    tables: Tables
    recipe: Recipe | None = None
    rendered: bool = False


def source_of(folder: Path) -> Source:
    """Find what there is of a training set; purged examples are left out.

    Raises:
        ConfigError: `dataset.missing`, `dataset.settings`, `dataset.manifest`, `dataset.part`.
    """
    manifest = read_manifest(folder)
    if manifest is None or (folder / PARTS).is_dir():
        parts = TrainingParts.of(folder)
        return Source(parts.options, lambda: _examples(parts), manifest.recipe if manifest else None)
    options = TrainingOptions.of(**manifest.recipe.options)
    if manifest.recipe.style != RAW:
        return Source(options, lambda: _rows(folder, manifest, options), manifest.recipe, rendered=True)
    shards = RawShards(folder, manifest)
    return Source(options, lambda: (table for _, table in shards.batches(_COLUMNS)), manifest.recipe)


def _examples(parts: TrainingParts) -> Iterator[pa.Table]:
    splits = [split.name for split in parts.options.splits]
    return (batch.table for batch in parts.batches(_COLUMNS, splits))


def _rows(folder: Path, manifest: Manifest, options: TrainingOptions) -> Iterator[pa.Table]:
    schema = schema_of(manifest.recipe.style, options)
    for path in (folder / shard.name for shard in manifest.shards):
        try:
            yield from (_parquet(path, schema) if path.suffix == ".parquet" else _lines(path, schema))
        except (pa.ArrowException, ValueError, OSError) as error:
            message = f"is gone, was changed or damaged: {error}; run `candlefleet dataset finalize` again"
            raise ConfigError("dataset.shard", str(path), message) from error


def _parquet(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS, use_threads=False):
            yield pa.Table.from_batches([batch]).cast(schema)


def _lines(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    parsing = pj.ParseOptions(schema, unexpected_field_behavior="error")
    with path.open("rb") as file:
        while block := file.read(_BLOCK) + file.readline():
            reading = pj.ReadOptions(use_threads=False, block_size=len(block))
            yield pj.read_json(pa.BufferReader(block), reading, parsing)
