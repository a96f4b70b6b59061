"""Read the rows of one part file of a training set, some at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from destinations.training.indicator_maps import maps_of
from destinations.training.options import TrainingOptions
from router.errors import ConfigError

#: Bytes of JSON lines read at once.
_BLOCK: Final = 8 << 20
#: Bars of Parquet rows read at once: as much as a block of JSON lines, about.
_BARS: Final = 100_000


def read_part(
    path: Path, options: TrainingOptions, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Return the rows of a part file in their order, with columns of the schema exactly as it has them.

    Args:
        path: The file; what its name ends with says its format.
        options: What its rows are.
        columns: Which columns, in the order of the schema; None: all.

    Raises:
        ConfigError: `dataset.part`, if it cannot be read, or a row is not of this training set.
    """
    whole = options.schema()
    schema = pa.schema([field for field in whole if columns is None or field.name in columns])
    read = _parquet if path.suffix == ".parquet" else _lines
    try:
        with path.open("rb") as file:
            for table in read(file, options, schema):
                yield as_examples(table, schema)
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Arrow's
            raise
        message = f"is not a part file of this training set, or was damaged: {error}"
        raise ConfigError("dataset.part", str(path), message) from error


def _parquet(source: IO[bytes], options: TrainingOptions, schema: pa.Schema) -> Iterator[pa.Table]:
    file = pq.ParquetFile(source)
    if len(schema) == len(options.schema()) and not file.schema_arrow.equals(schema):
        raise ValueError("its columns are others than dataset.json says")
    rows = max(1, _BARS // options.context_window)
    for batch in file.iter_batches(rows, columns=schema.names, use_threads=False):
        yield pa.Table.from_batches([batch])


def _lines(source: IO[bytes], options: TrainingOptions, schema: pa.Schema) -> Iterator[pa.Table]:
    whole = len(schema) == len(options.schema())
    parsing = _parsing(schema, "error" if whole else "ignore")
    while block := source.read(_BLOCK) + source.readline():
        if not block.isspace():
            reading = pj.ReadOptions(use_threads=False, block_size=len(block))
            table = pj.read_json(pa.BufferReader(block), reading, parsing)
            _check_names("a row", table.column_names if whole else schema.names, schema)
            yield table


# Indicators are objects in JSON: their names are found where they are, hence inferred.
def _parsing(schema: pa.Schema, unexpected: str) -> pj.ParseOptions:
    objects = [name for name in ("context", "current") if name in schema.names and _has_map(schema, name)]
    given = pa.schema([_without_map(field) if field.name in objects else field for field in schema])
    return pj.ParseOptions(given, unexpected_field_behavior="infer" if objects else unexpected)


def _bar(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_list(type_) else type_


def _has_map(schema: pa.Schema, name: str) -> bool:
    return any(pa.types.is_map(field.type) for field in _bar(schema.field(name).type))


def _without_map(field: pa.Field) -> pa.Field:
    bar = pa.struct([inner for inner in _bar(field.type) if not pa.types.is_map(inner.type)])
    return field.with_type(pa.list_(bar) if pa.types.is_list(field.type) else bar)


def as_examples(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with columns exactly as a schema has them; objects become maps, one that is not there null.

    Raises:
        ValueError, KeyError: A column is missing, or something is there that the schema does not know.
    """
    columns = [_as(table[field.name].combine_chunks(), field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


# Every column as the schema has it: objects become maps.
def _as(array: pa.Array, field: pa.Field) -> pa.Array:
    if pa.types.is_map(field.type):
        return array if pa.types.is_map(array.type) else maps_of(array)
    if pa.types.is_list(field.type):
        return pa.ListArray.from_arrays(array.offsets, _as(array.values, field.type.value_field), field.type)
    if pa.types.is_struct(field.type):
        maps = [inner.name for inner in field.type if pa.types.is_map(inner.type)]
        names = [inner.name for inner in array.type]
        _check_names(field.name, [*names, *maps], field.type)
        columns = [
            _as(array.field(inner.name), inner) if inner.name in names else pa.nulls(len(array), inner.type)
            for inner in field.type
        ]
        return pa.StructArray.from_arrays(columns, fields=list(field.type))
    return array.cast(field.type)


def _check_names(where: str, found: Collection[str], fields: pa.Schema | pa.StructType) -> None:
    if odd := set(found) ^ {field.name for field in fields}:
        raise ValueError(f"{where} has {min(odd)!r}, or lacks it, unlike dataset.json says")
