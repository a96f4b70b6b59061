"""Turn the technical indicators of bars from JSON's objects into Arrow's maps, and into columns by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MAP = pa.map_(pa.string(), pa.float64())


def maps_of(objects: pa.Array) -> pa.MapArray:
    """Return a map for each struct, without the fields that are null in it; null stays null.

    Args:
        objects: Structs of numbers, or nothing but nulls.
    """
    if pa.types.is_null(objects.type):
        return pa.nulls(len(objects), _MAP)
    names = [field.name for field in objects.type]
    numbers = np.empty((len(objects), len(names)))
    given = np.empty(numbers.shape, dtype=np.bool_)
    for place, column in enumerate(objects.flatten()):
        numbers[:, place] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        given[:, place] = column.is_valid().to_numpy(zero_copy_only=False)
    keys = np.broadcast_to(np.arange(len(names)), given.shape)[given]
    ends = np.concatenate([[0], np.cumsum(given.sum(axis=1))]).astype(np.int32)
    texts = pa.array(names, pa.string()).take(pa.array(keys))
    return pa.MapArray.from_arrays(ends, texts, pa.array(numbers[given]), mask=objects.is_null())


def structs_of(maps: pa.MapArray, names: Sequence[str]) -> pa.StructArray:
    """Return a struct of these names for each map, null where it lacks one; null stays null."""
    columns = [pc.map_lookup(maps, name, "last").cast(pa.float64()) for name in names]
    fields = [pa.field(name, pa.float64()) for name in names]
    return pa.StructArray.from_arrays(columns, fields=fields, mask=maps.is_null())


def names_in(maps: Iterable[pa.MapArray]) -> list[str]:
    """Return the names that occur in some maps, each once, in alphabetical order."""
    return sorted({name for found in maps for name in found.keys.unique().to_pylist()})
