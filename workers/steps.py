"""What a worker's main process does beside consuming: a heartbeat that sweeps, and a watchdog."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from celery import bootsteps
from celery.worker import state

from workers.broker import messages

logger = logging.getLogger(__name__)

BEAT: Final = 10.0  #: seconds between two looks
STUCK_AFTER: Final = 60.0  #: seconds without a message from a queue that is not empty


class _Repeating(bootsteps.StartStopStep):  # type: ignore[misc]
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """Look once now, and then every `BEAT` seconds."""
        look = self.looker(consumer)
        look()
        self._entry = consumer.timer.call_repeatedly(BEAT, look)

    def stop(self, consumer: Any) -> None:
        """Look no more."""
        if self._entry is not None:
            self._entry.cancel()

    def looker(self, consumer: Any) -> Callable[[], None]:
        """Return what to call."""
        raise NotImplementedError


class Heartbeat(_Repeating):
    """Says which routes this worker delivers, and sweeps: Beat is not the only one that remembers."""

    def looker(self, consumer: Any) -> Callable[[], None]:
        """Return a function that advertises the routes of the consumed queues and sweeps once."""
        from workers.tasks import journey, served_by

        served = served_by(consumer.app.amqp.queues.consume_from)

        def look() -> None:
            journey().store.advertise(served)
            journey().sweep()

        return look


class Watchdog(_Repeating):
    """Ends a worker that takes nothing though its queues are not empty; its supervisor starts it again."""

    def looker(self, consumer: Any) -> Callable[[], None]:
        """Return a function that looks at the queues and at what was taken since."""
        queues = list(consumer.app.amqp.queues.consume_from)
        stall = Stall(STUCK_AFTER)

        def look() -> None:
            taken = sum(state.total_count.values())
            if stall.lasts(
                waiting=sum(messages(consumer.app, queues).values()),
                busy=bool(state.reserved_requests),
                taken=taken,
            ):
                logger.critical(
                    "Nothing was taken from a queue that is not empty: stopping.", extra={"queues": queues}
                )
                state.should_stop = 70  # EX_SOFTWARE

        return look


class Stall:
    """Tells a worker that is stuck from one that is idle or busy."""

    def __init__(self, after: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Call it a stall when messages wait, none is in work and none was taken for `after` seconds."""
        self._after = after
        self._clock = clock
        self._taken = -1
        self._since = clock()

    def lasts(self, *, waiting: int, busy: bool, taken: int) -> bool:
        """Return whether the stall has lasted long enough; call it regularly with the totals of now."""
        if not waiting or busy or taken != self._taken:
            self._taken, self._since = taken, self._clock()
        return self._clock() - self._since > self._after
