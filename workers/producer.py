"""Producer: hands points to the fleet, and says when they are safe."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from kombu.exceptions import OperationalError
from ulid import ULID

from router.admission import Refused, admit
from router.errors import ExpiredError, FleetBusyError, FleetError, FleetUnreachableError
from router.points import NormalizedDataPoint
from workers.broker import client
from workers.failpoints import reach
from workers.letters import letter_of
from workers.records import Accepted
from workers.settings import broker_beside, require_state_url, settings
from workers.store import Store

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 10_000  #: most points gathered into one batch
BUFFERED_ROWS: Final = 100_000  #: points that may wait in memory before `send` blocks


class Receipt(NamedTuple):
    """What became of a batch.

    Attributes:
        batch_id: Under which id it was accepted.
        accepted: Points that are now safe in the fleet.
        refused: Points that were refused, with every reason; the fleet keeps them as dead letters.
        again: True if this batch had been accepted before, and nothing was added.
        number: Its acceptance number; 0 where several batches were sent as one.
    """

    batch_id: str
    accepted: int
    refused: tuple[Refused, ...]
    again: bool
    number: int = 0


class Pending:
    """A batch being gathered or on its way; every `send` of its points returns the same one."""

    __slots__ = ("_done", "_error", "_receipt", "batch_id", "points")

    def __init__(self) -> None:
        self.batch_id = str(ULID())
        self.points: list[NormalizedDataPoint | Mapping[str, Any]] = []
        self._done = threading.Event()
        self._receipt: Receipt | None = None
        self._error: FleetError | None = None

    def done(self) -> bool:
        """Return whether the outcome is known."""
        return self._done.is_set()

    def result(self, timeout: float | None = None) -> Receipt:
        """Wait until the batch is safe in the fleet.

        Raises:
            FleetError: The fleet did not take it; the producer keeps it for the next `flush`.
            TimeoutError: It is still on its way after `timeout` seconds.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"not acknowledged within {timeout:g} s")
        if self._error is not None:
            raise self._error
        assert self._receipt is not None
        return self._receipt

    def _finish(self, receipt: Receipt | None, error: FleetError | None) -> None:
        self._receipt, self._error = receipt, error
        self._done.set()

    def _retry(self) -> None:
        self._done.clear()
        self._error = None


class Producer:
    """Hands points to the fleet. Thread-safe; close it, or use it in a `with` block.

    `send` gathers single points for a few milliseconds; `send_batch` sends now. Either way a point is
    safe once its receipt is there, and not before.

    Args:
        url: The fleet's Redis; None: the one of the settings.
        linger: Seconds for which single points are gathered; None: that of the settings.
        patience: Seconds to go on trying while the fleet is away or busy, before an error says so.
    """

    def __init__(
        self, url: str | None = None, *, linger: float | None = None, patience: float = 30.0
    ) -> None:
        s = settings()
        self._url = url or require_state_url()
        self._linger = s.linger if linger is None else linger
        self._patience = patience
        self._store = Store.connect(self._url, memory=s.memory, remember=s.remember)
        self._app = client(broker_beside(self._url))
        self.acknowledged = 0  #: points known to be safe
        self._change = threading.Condition()
        self._gathering = Pending()
        self._queue: list[Pending] = []  # full or lingered out, oldest first; the head is on its way
        self._waiting = 0
        self._failure: FleetError | None = None
        self._closing = False
        self._thread: threading.Thread | None = None

    # -- sending now --------------------------------------------------------------------------

    def send_batch(
        self,
        points: Any,
        *,
        batch_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        remember: int | None = None,
        where: Callable[[int], str] | None = None,
    ) -> Receipt:
        """Send a list of points or dicts, a PointBatch, an Arrow table or a frame; wait until it is safe.

        Args:
            points: One batch; sent again under the same id, it adds nothing.
            batch_id: The id; None: a new one.
            context: Travels with the batch.
            remember: Seconds for which the id is told from a repeat; None: that of the settings.
            where: Names the place a point came from, by its position, for the reasons of a refusal.

        Raises:
            FleetUnreachableError, FleetBusyError: It was not accepted, after `patience` seconds of trying.
            ExpiredError: The id is too old.
        """
        admission = admit(points, where=where)
        batch_id = batch_id or str(ULID())
        letters = [letter_of(refused, batch_id) for refused in admission.refused]
        answer = self._persist(
            lambda: self._store.accept(
                batch_id,
                admission.batch,
                letters=letters,
                context=context,
                remember=remember,
                notes=admission.notes,
            )
        )
        if answer.nudge:
            self._send("router.route")
        again = answer.verdict == "again"
        accepted = 0 if again else len(admission.batch)
        with self._change:
            self.acknowledged += accepted
        return Receipt(batch_id, accepted, admission.refused, again, int(answer.detail))

    def served(self) -> dict[str, float]:
        """Return when (seconds since 1970) a worker last said of a route that it serves it, by route id."""
        return self._store.served()

    def flush_batches(self, route_ids: Iterable[str] = ()) -> dict[str, int]:
        """Let nothing accepted by now wait for its batch to fill; return the points that did, by route.

        Args:
            route_ids: The routes; none: every route.

        Raises:
            FleetUnreachableError: The broker does not answer.
        """
        waiting = self._store.flush(route_ids)
        self._send("maint.sweep")
        return waiting

    def _persist(self, accept: Callable[[], Accepted]) -> Accepted:
        """Call until it is accepted or patience ends; a repeat is harmless, the id being the same."""
        ends, pause = time.monotonic() + self._patience, 0.05
        while True:
            error: FleetError
            try:
                answer = accept()
            except FleetUnreachableError as unreachable:
                error = unreachable
            else:
                if answer.verdict in ("accepted", "again"):
                    return answer
                error = _refusal(answer)
            if isinstance(error, ExpiredError) or time.monotonic() + pause > ends:
                raise error
            time.sleep(pause)
            pause = min(1.0, 2 * pause)

    def _send(self, task: str) -> None:
        reach("nudge.before")
        try:
            self._app.send_task(task, ignore_result=True)
        except OperationalError as error:  # the next sweep does what this message would have
            logger.warning("Fleet not nudged.", extra={"task": task, "error": str(error)})

    # -- sending soon -------------------------------------------------------------------------

    def send(self, point: NormalizedDataPoint | Mapping[str, Any]) -> Pending:
        """Gather one point into the batch that leaves within `linger` seconds; `.result()` waits for it.

        Raises:
            FleetError: An earlier batch was not accepted. It is kept, in order, and tried again.
        """
        with self._change:
            self._raise_failure()
            while self._waiting >= BUFFERED_ROWS and self._failure is None:
                self._change.wait()
            self._raise_failure()
            pending = self._gathering
            pending.points.append(point)
            self._waiting += 1
            if len(pending.points) == 1:
                self._start()
                self._change.notify_all()
            elif len(pending.points) >= BATCH_ROWS:
                self._close_batch()
            return pending

    def flush(self, timeout: float | None = None) -> int:
        """Wait until everything sent is safe; return the number of points acknowledged so far.

        Raises:
            FleetError: The fleet did not take it; what was not taken is kept for the next `flush`.
            TimeoutError: It is still on its way after `timeout` seconds.
        """
        with self._change:
            self._failure = None
            self._close_batch()
            self._start()
            if not self._change.wait_for(lambda: not self._queue or self._failure is not None, timeout):
                raise TimeoutError(f"{self._waiting} points are not acknowledged within {timeout:g} s")
            self._raise_failure()
            return self.acknowledged

    def close(self) -> None:
        """Flush, and end; safe to call twice.

        Raises:
            FleetError: Not everything was taken; the message of the error before it says why.
        """
        try:
            self.flush()
        finally:
            with self._change:
                self._closing = True
                self._change.notify_all()
            if self._thread is not None:
                self._thread.join()
            self._store.redis.close()
            self._app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _close_batch(self) -> None:
        if self._gathering.points:
            self._queue.append(self._gathering)
            self._gathering = Pending()
            self._change.notify_all()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="candlefleet-producer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (pending := self._next()) is not None:
            try:
                receipt, error = self.send_batch(pending.points, batch_id=pending.batch_id), None
            except FleetError as failure:
                receipt, error = None, failure
            with self._change:
                pending._finish(receipt, error)
                self._failure = error
                if error is None:
                    self._queue.pop(0)
                    self._waiting -= len(pending.points)
                self._change.notify_all()

    def _next(self) -> Pending | None:
        """Wait for a batch that is full or has lingered long enough; None at the end."""
        with self._change:
            self._change.wait_for(
                lambda: (
                    self._closing or (self._failure is None and bool(self._queue or self._gathering.points))
                )
            )
            if self._closing:
                return None
            if not self._queue:
                self._change.wait_for(lambda: self._closing or bool(self._queue), self._linger)
                self._close_batch()
            if not self._queue:
                return None
            self._queue[0]._retry()
            return self._queue[0]


def _refusal(answer: Accepted) -> FleetError:
    if answer.verdict == "busy":
        return FleetBusyError(f"the fleet is busy ({answer.detail}): send again when it has drained")
    return ExpiredError("the batch id is older than the fleet remembers ids: send the points under a new one")
