"""Tell the revisions of a point apart: the highest acceptance is the newest; pure functions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from router.batch import PointBatch

Numbers = npt.NDArray[np.int64]

#: The columns that name a revision: what is higher, by the first and then by the second, is newer.
ACCEPTANCE: Final = ("acceptance_number", "acceptance_row")
ACCEPTANCE_FIELDS: Final = tuple(pa.field(name, pa.int64()) for name in ACCEPTANCE)


def acceptance(batch: PointBatch) -> tuple[Numbers, Numbers]:
    """Return of each row the acceptance number of its batch, and its row in that batch.

    Rows of a batch that no fleet accepted are as new as the moment: its number is microseconds since 1970,
    as those of a fleet are.
    """
    now = time.time_ns() // 1000
    number = _per_row((part.number or now + at, len(part.rows)) for at, part in enumerate(batch.parts))
    return number, np.concatenate([part.rows.positions for part in batch.parts]).astype(np.int64)


def with_acceptance(batch: PointBatch) -> pl.DataFrame:
    """Return the rows of a batch, each with its `ACCEPTANCE`."""
    return batch.frame.with_columns(map(pl.Series, ACCEPTANCE, acceptance(batch)))


# Words are compared once each, and then their ranks: sorting the text itself takes ten times as long.
def newest(batch: PointBatch, number: Numbers, row: Numbers) -> Numbers:
    """Return the positions of the rows to keep, one a point identity, sorted by identity.

    Args:
        batch: Rows of which some may be the same point.
        number: Of each row its acceptance number; the highest is the newest.
        row: Of each row its row in the batch of that number; of those, the highest is the newest.
    """
    timestamp = batch.frame["timestamp"].to_physical().to_numpy()
    keys = [timestamp, *(_ranks(batch, name) for name in ("timeframe", "symbol", "source"))]
    order: Numbers = np.lexsort([row, number, *keys])
    differs = np.zeros(len(order), dtype=np.bool_)
    differs[-1:] = True
    for key in keys:
        ordered = key[order]
        differs[:-1] |= ordered[1:] != ordered[:-1]
    return order[differs]


def _ranks(batch: PointBatch, name: str) -> Numbers:
    column = batch.dictionary(name)
    words = np.array(column.dictionary.to_pylist(), dtype=np.str_)
    _, rank = np.unique(words, return_inverse=True)
    ranks: Numbers = rank.astype(np.int64)[column.indices.to_numpy()]
    return ranks


def _per_row(numbers: Iterable[tuple[int, int]]) -> Numbers:
    numbers, counts = zip(*numbers, strict=True)
    return np.repeat(np.array(numbers, dtype=np.int64), counts)
