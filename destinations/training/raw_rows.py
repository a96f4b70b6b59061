"""The raw style of finished rows: the columns of an example, with a column for each indicator's name."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from destinations.training.indicator_maps import names_in, structs_of
from destinations.training.parts import TrainingParts


def raw_rows(examples: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return examples as trainers' libraries take them, which know no maps and no columns without null.

    Args:
        examples: Columns as `TrainingOptions.schema` has them.
        names: Those of all indicators in the whole set; none: bars have no `indicators`.
    """
    columns = [_finished(column.combine_chunks(), names) for column in examples.columns]
    return pa.table(columns, names=examples.column_names)


def indicator_names(parts: TrainingParts, splits: Sequence[str]) -> list[str]:
    """Return the names of the indicators that bars of some splits have, in alphabetical order."""
    if not parts.options.has_indicators:
        return []
    found: set[str] = set()
    for _, table in parts.batches(["context", "current"], splits):
        context, current = (column.combine_chunks() for column in table.columns)
        found.update(names_in(bars.field("indicators") for bars in (context.values, current)))
    return sorted(found)


def _finished(array: pa.Array, names: Sequence[str]) -> pa.Array:
    if pa.types.is_map(array.type):
        return structs_of(array, names)
    if pa.types.is_list(array.type):
        starts = pc.subtract(array.offsets, array.offsets[0])
        return pa.ListArray.from_arrays(starts, _finished(array.flatten(), names))
    if not pa.types.is_struct(array.type):
        return array
    fields = [field for field in array.type if names or not pa.types.is_map(field.type)]
    columns = [_finished(array.field(field.name), names) for field in fields]
    return pa.StructArray.from_arrays(columns, names=[field.name for field in fields])
