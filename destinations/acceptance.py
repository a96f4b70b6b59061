"""Tell the revisions of a point apart where all of them are kept: the highest acceptance is the newest."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from router.batch import PointBatch

#: The acceptance number of a row's batch, and its row in that: what is higher, by the first and then by the
#: second, is newer.
ACCEPTANCE: Final = (pa.field("acceptance_number", pa.int64()), pa.field("acceptance_row", pa.int64()))


def with_acceptance(batch: PointBatch) -> pl.DataFrame:
    """Return the rows of a batch, each with its `ACCEPTANCE`.

    Rows of a batch that no fleet accepted are as new as the moment: its number is microseconds since 1970,
    as those of a fleet are.
    """
    now = time.time_ns() // 1000
    number = np.repeat(
        [part.number or now + at for at, part in enumerate(batch.parts)],
        [len(part.rows) for part in batch.parts],
    )
    row = np.concatenate([part.rows.positions for part in batch.parts])
    columns = zip(ACCEPTANCE, (number, row), strict=True)
    return batch.frame.with_columns(pl.Series(field.name, of, pl.Int64) for field, of in columns)
