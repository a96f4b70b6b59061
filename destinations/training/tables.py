"""Encode examples as an Arrow table: windows are taken from the bars all at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from destinations.parquet import encode_parquet
from destinations.training.examples import Examples
from destinations.training.lines import bar_columns
from destinations.training.options import TrainingOptions
from router.series import Places


class ExampleTable:
    """Examples as columns, ready to be taken: those of `TrainingOptions.schema`.

    Args:
        examples: The examples.
        options: What they were made with.
    """

    def __init__(self, examples: Examples, options: TrainingOptions) -> None:
        self._options = options
        self._schema = options.schema()
        self._examples = examples
        self._bars = _structs(bar_columns(examples.bars, options).to_arrow(), options.bar())
        said = examples.said.drop("split").to_arrow()
        self._said = {name: said[name].combine_chunks() for name in said.column_names}

    def take(self, some: Places) -> pa.Table:
        """Return the examples at some places, in that order."""
        width = self._options.context_window - 1
        offsets = pa.array(np.arange(len(some) + 1) * width, pa.int32())
        places = self._examples.first[some][:, None] + np.arange(width)
        windows = self._bars.take(pa.array(places.ravel()))
        columns = {
            "context": pa.ListArray.from_arrays(offsets, windows, type=self._schema.field("context").type),
            "current": self._bars.take(pa.array(self._examples.current[some])),
            **{name: column.take(pa.array(some)) for name, column in self._said.items()},
        }
        arrays = [columns[field.name].cast(field.type) for field in self._schema]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def encode(self, some: Places) -> bytes:
        """Return the examples at some places as one Parquet file."""
        return encode_parquet(self.take(some))


def _structs(table: pa.Table, kind: pa.StructType) -> pa.StructArray:
    columns = [table[field.name].combine_chunks().cast(field.type) for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind))
