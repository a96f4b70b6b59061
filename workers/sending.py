"""Hand frames, or anything else that holds points, to the fleet in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Unpack

import polars as pl
from ulid import ULID

from router.adapters.frame import Said, from_frame
from router.batch import PointBatch
from router.decode import LIMITS
from router.from_frames import is_frame
from workers.producer import Producer, Receipt

#: Points of one batch; more are sent in several.
MOST_POINTS: Final = LIMITS.points


def send(
    points: Any,
    *,
    batch_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    url: str | None = None,
    **said: Unpack[Said],
) -> Receipt:
    """Send a frame, or anything else that `Producer.send_batch` takes, and wait until it is safe.

    Args:
        points: A frame of Polars, pandas or Arrow; what an adapter returns; a batch, a list of points.
        batch_id: The id; sent again under it, the same points add nothing. None: a new one.
        context: Travels with the points.
        url: The fleet's Redis; None: that of the settings.
        **said: What the columns of a frame do not say: see `router.adapters.from_frame`.

    Returns:
        One receipt for all: more than 100,000 points travel as several batches, which are named
        `<batch_id>-0`, `<batch_id>-1` and so on. `again` is True if nothing was added.

    Raises:
        ConfigError, DecodeError: What `from_frame` raises; nothing was sent.
        TypeError: `points` holds none, or something is said of what is no frame.
        FleetError: What `Producer.send_batch` raises; under a `batch_id` of your own, send again: what had
            been taken is not taken twice.
    """
    rows = _rows(points, said)
    name = batch_id or str(ULID())
    pieces = dict(_pieces(rows, name))
    with Producer(url) as producer:
        receipts = [
            producer.send_batch(piece, batch_id=piece_id, context=context)
            for piece_id, piece in pieces.items()
        ]
    refused = [
        replace(one, index=one.index + number * MOST_POINTS)
        for number, receipt in enumerate(receipts)
        for one in receipt.refused
    ]
    accepted = sum(receipt.accepted for receipt in receipts)
    return Receipt(name, accepted, tuple(refused), all(receipt.again for receipt in receipts))


def _rows(points: Any, said: Said) -> Any:
    if is_frame(points):
        return from_frame(points, **said)
    if said:
        message = f"{', '.join(said)} can be said of a frame, not of {type(points).__name__}"
        raise TypeError(f"{message}: its points say it themselves")
    return points


def _pieces(rows: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(rows, pl.DataFrame | PointBatch | list) or len(rows) <= MOST_POINTS:
        yield name, rows
        return
    for number, start in enumerate(range(0, len(rows), MOST_POINTS)):
        yield f"{name}-{number}", rows[start : start + MOST_POINTS]
