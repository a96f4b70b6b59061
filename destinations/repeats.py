"""Tell the rows of a batch that were written before from those that were not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from router.batch import PointBatch
from router.errors import TerminalError
from router.rows import Mask, Rows


class Entry(NamedTuple):
    """What was written of one batch for one route, and the fingerprint of that batch's identities."""

    digest: str
    rows: Rows


def compare(batch: PointBatch, known: Mapping[str, Entry]) -> tuple[Mask, dict[str, Entry]]:
    """Return which rows of a batch are new, and what is to be recorded once they are written.

    Args:
        batch: Rows that may have been written before, whole or in part, in any cutting.
        known: By batch id, what was written for the batch's route.

    Raises:
        TerminalError: A batch of this id with other points was written before.
    """
    digests = {batch_id: entry.digest for batch_id, entry in known.items()}
    for part in batch.parts:
        digest = digests.setdefault(part.batch_id, part.digest) or part.digest
        if part.digest and part.digest != digest:
            raise TerminalError(
                f"batch {part.batch_id} was written for route {batch.route_id!r} with other points"
                f" (fingerprint {digest}, now {part.digest}): one id stands for two batches"
            )
        digests[part.batch_id] = digest
    mask, rows = new_rows(batch, {batch_id: entry.rows for batch_id, entry in known.items()})
    return mask, {batch_id: Entry(digests[batch_id], rows[batch_id]) for batch_id in rows}


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
