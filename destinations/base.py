"""DataDestination: somewhere points go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import ClassVar

import numpy as np

from destinations.maintenance import Maintenance
from destinations.pruning import StillOwed
from router.batch import PointBatch
from router.errors import Reason
from router.points import NormalizedDataPoint
from router.route import Route
from router.rows import Mask
from router.table import Place


class DataDestination(ABC):
    """Somewhere points go: one open instance per worker process.

    When `write_batch` returns, the points are there. Writing the same rows twice leaves what writing them
    once leaves: `batch.parts` names every row, the same on every retry. Nothing is buffered here; batching
    belongs to the fleet.
    """

    #: True where points of one series must arrive in order of acceptance: one part in flight at a time.
    ordered: ClassVar[bool] = True
    #: Points that every write should hold at least, for it to be cheap here; None: any number is well.
    advised_batch_size: ClassVar[int | None] = None

    def __init__(self, *, name: str | None = None) -> None:
        """Remember the name; the queue is `destinations.<name>`. None: named after its first route."""
        self.name = name

    def learn_route(self, route: Route) -> None:  # noqa: B027  # most need not know
        """Take note of a route whose points come here; called when the route is made."""

    def open(self) -> None:  # noqa: B027  # a destination without a connection has nothing to open
        """Connect. Called before the first write and again after a TransientError; never in `__init__`."""

    def check(self) -> None:  # noqa: B027  # most need more than this host to tell
        """Refuse at start what could never be written, as far as this host alone can tell.

        Raises:
            ConfigError: No point could be written with these arguments.
        """

    def write(self, point: NormalizedDataPoint) -> None:
        """Write one point: a batch of one."""
        self.write_batch(PointBatch.of([point]))

    @abstractmethod
    def write_batch(self, batch: PointBatch) -> None:
        """Write every row of the batch; on return they are there.

        Raises:
            TransientError: Try again later.
            UnavailableError: Nobody answers; wait, without counting an attempt.
            TerminalError: Some or all rows will never be taken.
        """

    def together(self) -> AbstractContextManager[None]:
        """Return a context for the writes of one task: at its end, what was written in it is there.

        A destination that pays for every commit may make one of them. Where a write fails, those before it
        are there all the same.
        """
        return nullcontext()

    def close(self) -> None:  # noqa: B027  # a destination without a connection has nothing to close
        """Release what `open` took, at worker shutdown. Safe to call twice."""

    def place(self) -> str:
        """Return where a person finds what was written, such as a folder; empty when there is no place."""
        return ""

    def target(self, point: NormalizedDataPoint) -> str:
        """Return where one point would be written: a file, a key, a topic. Nothing is opened for it."""
        return self.place()

    def owns(self) -> Sequence[Place]:
        """Return the places that no other destination may write to; routes that break it are refused."""
        return ()

    def obstacles(self) -> Sequence[Reason]:
        """Return what would keep it from writing, as far as that can be seen without opening it."""
        return ()

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row of a route's batch whether a record says that it is there; without one, of none.

        Asked before rows are given up that may have been written by a worker that died, or whose answer was
        lost: what is there is delivered, and no dead letter.
        """
        return np.zeros(len(batch), dtype=np.bool_)

    def on_record(self, route_id: str) -> int | None:
        """Return how many rows of a route a record says are there that any process of this host can read.

        None: there is no such record.
        """
        return None

    def maintenance(self) -> Maintenance | None:
        """Return what `candlefleet maintain` does here; None: there is nothing to keep up."""
        return None

    def prune(self, older_than: timedelta, still_owed: StillOwed) -> int:
        """Forget which rows of old, settled batches were written; return of how many.

        What is forgotten and delivered again is written again. A call does a bounded piece of work, so that
        no write waits long: whoever wants all of it asks until the answer is 0. No lock is held while
        `still_owed` is asked, and a batch that was written meanwhile is not forgotten. What is on record
        of a route stays its number. Without a record there is nothing to forget.

        Args:
            older_than: How long ago a batch was last written; a day is the least that makes sense.
            still_owed: Says which of some batches must not be forgotten.
        """
        return 0

    def __str__(self) -> str:
        return type(self).__name__
