"""Encode examples as an Arrow table: windows are taken from the bars all at once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from destinations.training.examples import Examples
from destinations.training.lines import bar_columns
from destinations.training.options import TrainingOptions


def example_table(examples: Examples, options: TrainingOptions) -> pa.Table:
    """Return one row for each example, in order, with the columns of `TrainingOptions.schema`."""
    schema, width = options.schema(), options.context_window - 1
    bars = _structs(bar_columns(examples.bars, options).to_arrow(), options.bar())
    places = (examples.first[:, None] + np.arange(width)).ravel()
    offsets = pa.array(np.arange(len(examples) + 1) * width, pa.int32())
    windows = bars.take(pa.array(places))
    said = examples.said.drop("split").to_arrow()
    columns = []
    for field in schema:
        if field.name == "context":
            columns.append(pa.ListArray.from_arrays(offsets, windows, type=field.type))
        elif field.name == "current":
            columns.append(bars.take(pa.array(examples.current)))
        else:
            columns.append(said[field.name].combine_chunks().cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _structs(table: pa.Table, kind: pa.StructType) -> pa.StructArray:
    columns = [table[field.name].combine_chunks().cast(field.type) for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind))
