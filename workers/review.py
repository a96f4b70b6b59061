"""Send on what was decided in a review queue: it is accepted again, once, whenever it has to be repeated."""

from __future__ import annotations

from typing import Final, NamedTuple

from destinations.review_queue import QualityReviewQueue
from router.errors import ConfigError, FleetError
from workers.failpoints import reach
from workers.producer import Producer

#: Seconds for which the fleet tells a batch that was sent on from a repeat: a year.
REMEMBERED: Final = 365 * 86_400
#: Seconds to go on trying while the fleet is away: what was decided is kept, and sent the next time.
PATIENCE: Final = 2.0


class Sent(NamedTuple):
    """Points that travel again now, those that were refused at the door, and why others have to wait."""

    points: int = 0
    refused: int = 0
    away: str = ""


def send_on(queue: QualityReviewQueue) -> Sent:
    """Hand the fleet every point that was decided on and not sent yet; a repeat adds nothing."""
    sent, unsent = Sent(), list(queue.reviews.unsent())
    if not unsent:
        return sent
    try:
        with Producer(patience=PATIENCE) as producer:
            for batch_id, reviews in unsent:
                reach("review.decided")
                rows = [one.revised for one in reviews]
                receipt = producer.send_batch(rows, batch_id=batch_id, remember=REMEMBERED)
                reach("review.accepted")
                queue.reviews.mark_sent(batch_id)
                sent = Sent(sent.points + len(rows), sent.refused + len(receipt.refused))
    except (FleetError, ConfigError) as error:  # such as no broker that is named or runs
        return sent._replace(away=str(error))
    return sent
