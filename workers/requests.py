"""Requests that carry points: what is thrown away with their message is kept as a dead letter first."""

from __future__ import annotations

from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.exceptions import Ignore, Reject, Retry
from celery.worker import state
from celery.worker.request import Request

from router.errors import FleetError
from workers.envelope import QUEUE
from workers.letters import reason, said
from workers.records import Letter

_LIVES_ON = (Ignore, Reject, Retry)
_DIED = (WorkerLostError, SystemExit, KeyboardInterrupt)


class PointsRequest(Request):  # type: ignore[misc]
    """A request of `router.route_points`.

    Celery acknowledges a message whose task failed: its points would be gone.
    Here they are buried under the id of their batch first, which adds nothing if they were accepted.
    """

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Bury the points of a task that was killed for the time it took."""
        if not soft and not state.should_terminate:
            self._bury("task.timeout", f"it took longer than {timeout:g} s")
        super().on_timeout(soft, timeout)  # gives back what is not acknowledged

    def on_failure(
        self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False
    ) -> Any:
        """Bury the points of a task that failed for good; one whose process died has a few more tries."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        again = isinstance(error, _DIED) and self._context.retries < self.task.max_retries
        if not again and not isinstance(error, _LIVES_ON) and not self._bury("task.failed", said(error)):
            return self._give_back()
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def _announce_revoked(self, reason: str, terminated: bool, signum: int | None, expired: bool) -> None:
        if self._bury("task.revoked", f"it was {reason} before its points were accepted"):
            super()._announce_revoked(reason, terminated, signum, expired)
        else:
            self._already_revoked = True
            self._give_back()

    # Acknowledge the message once its points are buried; False if there is no room for them, or no broker.
    def _bury(self, code: str, message: str) -> bool:
        from workers.tasks import store

        letter = Letter("", self.args[0], [reason(code, message)], f"queue {QUEUE}", self.id)
        try:
            buried = store().bury(self.id, letter).verdict != "busy"
        except FleetError:
            return False
        if buried:
            self.acknowledge()
        return buried

    def _give_back(self) -> None:
        state.task_ready(self)
        self.reject(requeue=True)
