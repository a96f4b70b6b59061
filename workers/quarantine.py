"""Quarantine: decide a batch whose routers died, in processes that may die of it too, and find the rows."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

from router.batch import PointBatch
from router.conditions import PointCondition
from router.errors import CandlefleetError
from router.matching import Decision, Failure
from router.route import Route
from router.rows import Rows
from router.table import RouteTable
from workers.embedded import end_with_parent
from workers.trial import READY, Range, read_answer

logger = logging.getLogger(__name__)

POISON: Final = "condition.poison"  #: the code of a row whose condition does not come to an end
PIECES: Final = 100  #: into how many a range is cut: two deaths find one row of 10,000
SHARE: Final = 20  #: there may be silence for this part of the whole time
LEAST_PATIENCE: Final = 3.0  #: seconds there may always be silence


class TrialError(CandlefleetError):
    """A trial did not come as far as a condition: it says nothing about the batch."""


def decide_apart(table: RouteTable, batch: PointBatch, within: float) -> dict[str, Decision]:
    """Return what every enabled route takes of a batch; a row that kills or stops its process has failed.

    Args:
        table: The routes, as the routes file names them.
        batch: A batch of at least one row.
        within: Seconds; rows that are still undecided then have failed as well.

    Raises:
        TrialError: A trial could not read routes and batch.
    """
    ends = time.monotonic() + within
    waiting = [part for route in table if route.enabled for part in _asked_first(route, len(batch))]
    found: dict[str, list[Decision]] = defaultdict(list)
    while waiting and time.monotonic() < ends:
        with _Trial(waiting, batch, within, ends) as trial:
            for line in trial.answers():
                done = waiting.pop(0)
                found[done.route_id].append(read_answer(line, done))
            why = f"the process that evaluated the condition {trial.end()}" if waiting else ""
        if waiting:
            guilty = waiting.pop(0)
            if guilty.rows == 1:
                found[guilty.route_id].append(_poison(guilty, why))
            else:
                waiting += _pieces(guilty)
            waiting.sort(key=lambda left: left.route_id == guilty.route_id)  # who kills waits longest
    for left in waiting:
        found[left.route_id].append(_poison(left, f"not decided within {within:g} s: other rows took them"))
    decisions = {route_id: _joined(some) for route_id, some in found.items()}
    _report(batch, decisions)
    return decisions


# Functions are slow and dangerous; what is decided by the column is neither.
def _asked_first(route: Route, rows: int) -> list[Range]:
    everything = Range(route.route_id, 0, rows)
    return _pieces(everything) if isinstance(route.compiled, PointCondition) else [everything]


def _pieces(whole: Range) -> list[Range]:
    stops = np.linspace(whole.start, whole.stop, min(PIECES, whole.rows) + 1).astype(int).tolist()
    return [Range(whole.route_id, start, stop) for start, stop in pairwise(stops)]


def _poison(rows: Range, why: str) -> Decision:
    failures = [Failure(rows.route_id, row, why, POISON) for row in range(rows.start, rows.stop)]
    return Decision(Rows([]), failures)


def _joined(some: Sequence[Decision]) -> Decision:
    positions = np.sort(np.concatenate([one.rows.positions for one in some]))
    return Decision(Rows(positions), sorted(failure for one in some for failure in one.failures))


def _report(batch: PointBatch, decisions: dict[str, Decision]) -> None:
    poisoned = {
        route_id: count
        for route_id, found in decisions.items()
        if (count := sum(failure.code == POISON for failure in found.failures))
    }
    fields = {"batch": batch.parts[0].batch_id, "poisoned": poisoned}
    logger.warning("A batch whose routers died was decided apart; poisoned rows: %s", poisoned, extra=fields)


class _Trial:
    """One process that is asked about ranges, for as long as it lives and does not fall silent."""

    def __init__(self, ranges: Iterable[Range], batch: PointBatch, within: float, ends: float) -> None:
        self._ends = ends
        self._start_within = min(within / 2, max(within / 4, ends - time.monotonic()))
        self._patience = max(LEAST_PATIENCE, within / SHARE)
        self._silent = 0.0  # seconds after which it was given up
        self._given: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self._given.write(json.dumps(list(ranges)).encode() + b"\n" + batch.to_ipc())
        self._given.seek(0)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workers.trial"],
            stdin=self._given,
            stdout=subprocess.PIPE,
            preexec_fn=end_with_parent,
        )
        return self

    def answers(self) -> Iterator[str]:
        """Yield what it says of each range, in their order, until it dies, falls silent, or time is up.

        Raises:
            TrialError: There was time, and yet it did not come as far as the first range.
        """
        lines = self._lines()
        if next(lines, "") == READY:
            yield from lines
        elif not self._silent or time.monotonic() < self._ends:
            raise TrialError(
                f"conditions could not be tried: the process {self.end()} before it had read "
                "the routes and the batch; the router's log says more"
            )

    def _lines(self) -> Iterator[str]:
        source, kept, patience = self._output.fileno(), b"", self._start_within
        while select.select([source], [], [], patience)[0]:
            if not (read := os.read(source, 1 << 16)):
                return
            *lines, kept = (kept + read).split(b"\n")
            yield from (line.decode() for line in lines)
            patience = min(self._patience, max(0.0, self._ends - time.monotonic()))
        self._silent = patience

    def end(self) -> str:
        """Return how it ended, as the end of a sentence about it."""
        if self._silent:
            return f"said nothing for {self._silent:.3g} s"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._patience)
        code = self._process.returncode
        if code is None:
            return "closed its output"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._given.close()
