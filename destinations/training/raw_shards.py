"""Read the examples of a finished training set whose rows are in raw style."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from destinations.training.manifest import RAW, Manifest, read_manifest
from destinations.training.options import TrainingOptions
from destinations.training.parts import Batch
from destinations.training.read_parts import as_examples, read_part
from router.errors import ConfigError

#: Bars of the examples that are read at once.
_BARS: Final = 100_000


class RawShards:
    """The shards of a training set.

    Args:
        folder: The set's folder.
        manifest: What it is made of, in raw style.

    Attributes:
        options: What its examples are.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Read nothing yet."""
        self.options = TrainingOptions.of(**manifest.recipe.options)
        self._shards = [(shard.split, folder / shard.name) for shard in manifest.shards]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Find the shards of a training set.

        Raises:
            ConfigError: `dataset.manifest`, if it is not finished, or in another style.
        """
        manifest = read_manifest(folder)
        if manifest is None or manifest.recipe.style != RAW:
            style = "" if manifest is None else f" but in style {manifest.recipe.style}"
            message = f"is not finished in style raw{style}: `candlefleet dataset finalize` makes it so"
            raise ConfigError("dataset.manifest", str(folder), message)
        return cls(folder, manifest)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Return the rows in the order of the shards, with some columns of the schema; None: all.

        Raises:
            ConfigError: `dataset.shard`, if one is gone or was changed.
        """
        schema = self.options.schema()
        kept = pa.schema([field for field in schema if columns is None or field.name in columns])
        for split, path in self._shards:
            try:
                for table in self._tables(path, kept):
                    yield Batch(split, table)
            except FileNotFoundError as error:
                raise _bad(path, "is gone") from error
            except (pa.ArrowException, ValueError, KeyError, OSError) as error:
                raise _bad(path, f"was changed or damaged: {error}") from error

    def _tables(self, path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
        if path.suffix != ".parquet":
            yield from read_part(path, self.options, schema.names)
            return
        rows = max(1, _BARS // self.options.context_window)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows, columns=schema.names, use_threads=False):
                yield as_examples(pa.Table.from_batches([batch]), schema)


def _bad(path: Path, message: str) -> ConfigError:
    return ConfigError("dataset.shard", str(path), f"{message}: run `candlefleet dataset finalize` again")
