"""The task of the door for Celery messages: router.route_points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from celery import Task, shared_task
from celery.exceptions import Reject

from router.errors import FleetBusyError, FleetUnreachableError
from workers.envelope import TASK, Call, called
from workers.producer import Producer, Receipt
from workers.settings import settings

#: How often a message is sent again whose process died; after that its points are suspected.
MOST_DEATHS: Final = 5
#: Seconds to try before a message goes back into its queue; a time limit must not end it.
_PATIENCE: Final = 30.0


@shared_task(
    name=TASK,
    bind=True,
    ignore_result=False,
    Request="workers.requests:PointsRequest",
    max_retries=MOST_DEATHS,
    default_retry_delay=1,
    acks_on_timeout=False,
)
def route_points(
    self: Task, points: str | Sequence[Mapping[str, Any]], context: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Have points accepted under the id of this task, so that a message that comes twice adds nothing.

    Args:
        points: A list of points; from the queue, the body of the message as the door let it in.
        context: Travels with the batch.

    Returns:
        How many were `accepted`; of those `refused` the index and every reason; whether they came `again`.
    """
    call = called(points) if isinstance(points, str) else Call(list(map(dict, points)), dict(context or {}))
    try:
        receipt = producer().send_batch(
            call.points,
            batch_id=self.request.id,
            context=call.context,
            where=lambda index: f"queue points:{index}",
        )
    except (FleetBusyError, FleetUnreachableError) as error:
        raise Reject(str(error), requeue=True) from error
    return _answer(receipt)


@cache
def producer() -> Producer:
    """Return this process' producer; its patience ends before the time limit of its task."""
    return Producer(patience=min(_PATIENCE, settings().task_time_limit / 2))


def _answer(receipt: Receipt) -> dict[str, Any]:
    refused = [
        {"index": one.index, "reasons": [reason._asdict() for reason in one.reasons]}
        for one in receipt.refused
    ]
    return {"accepted": receipt.accepted, "refused": refused, "again": receipt.again}
