"""Tell the rows of a batch that were written before from those that were not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from router.batch import PointBatch
from router.rows import Mask, Rows


def new_rows(batch: PointBatch, written: Mapping[str, Rows]) -> tuple[Mask, dict[str, Rows]]:
    """Return which rows of a batch are new, and what is written once they are.

    Args:
        batch: Rows that may have been written before, whole or in part, in any cutting.
        written: By batch id, the rows that were written.

    Returns:
        One boolean per row in the batch's order, and by batch id the rows written afterwards. A row
        that the batch itself names twice is new the first time only.
    """
    after: dict[str, Rows] = {}
    masks: list[Mask] = [np.zeros(0, dtype=np.bool_)]
    for part in batch.parts:
        before = after.get(part.batch_id, written.get(part.batch_id))
        if before is None:
            masks.append(np.ones(len(part.rows), dtype=np.bool_))
            after[part.batch_id] = part.rows
        else:
            masks.append(~part.rows.within(before))
            after[part.batch_id] = before | part.rows
    return np.concatenate(masks), after
