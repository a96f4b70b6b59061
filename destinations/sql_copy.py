"""Encode rows as the bytes that PostgreSQL's binary COPY reads; pure functions.

Source: PostgreSQL documentation, COPY, binary format.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"
#: PostgreSQL counts microseconds from 2000 on.
_EPOCH: Final = 946_684_800_000_000
_JSONB: Final = b"\x01"
_EMPTY: Final = pa.scalar(b"")


def encode_copy(rows: pl.DataFrame) -> bytes:
    """Return rows, as `destinations.sql_rows.newest_rows` makes them, in the order of their columns."""
    width = pa.scalar(len(rows.columns).to_bytes(2, "big"))
    cells = [part for column in rows for part in _cells(column)]
    encoded = pc.binary_join_element_wise(width, *cells, _EMPTY)
    return b"".join((_HEADER, encoded.buffers()[2] or b"", _TRAILER))


# Of one column, the lengths and the values, of which each cell has both.
def _cells(column: pl.Series) -> list[pa.Array]:
    absent = column.is_null().to_numpy()
    if column.dtype == pl.String:
        texts = column.to_arrow().cast(pa.large_binary()).cast(pa.binary())
        if column.name == "technical_indicators":
            texts = pc.binary_join_element_wise(pa.scalar(_JSONB), texts, _EMPTY)
        lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
        return [_binary(np.where(absent, -1, lengths).astype(">i4")), texts.fill_null(b"")]
    numbers = _numbers(column)
    cell = np.empty(len(column), [("length", ">i4"), ("value", numbers.dtype.newbyteorder(">"))])
    cell["length"], cell["value"] = numbers.itemsize, numbers
    cells = _binary(cell)
    return [pc.if_else(absent, pa.scalar(b"\xff" * 4), cells) if absent.any() else cells]


def _numbers(column: pl.Series) -> npt.NDArray[Any]:
    if column.dtype == pl.Datetime:
        return column.to_physical().to_numpy() - _EPOCH
    return column.to_numpy()


def _binary(cells: npt.NDArray[Any]) -> pa.Array:
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(cells.itemsize), len(cells), [None, pa.py_buffer(cells)]
    )
    return fixed.cast(pa.binary())
