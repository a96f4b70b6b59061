"""Make the messages of a batch: one value and one name a point; pure functions."""

from __future__ import annotations

import polars as pl

from destinations.jsonl_file import encode_jsonl
from router.batch import PointBatch


def encode_values(frame: pl.DataFrame) -> list[bytes]:
    """Return one JSON object a point, in order, each a line of `encode_jsonl` without its newline.

    Args:
        frame: Points as columns of `FRAME_SCHEMA`.
    """
    return encode_jsonl(frame).split(b"\n")[:-1]


def row_names(batch: PointBatch) -> list[str]:
    """Return the name of each row, ``<batch id>:<row>``: the same on every retry, in whatever part."""
    return [f"{part.batch_id}:{row}" for part in batch.parts for row in part.rows.positions.tolist()]
