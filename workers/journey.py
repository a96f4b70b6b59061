"""The journey of a batch through the fleet, without Celery: route, deliver, sweep."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from ulid import ULID

from router.batch import PointBatch
from router.errors import CandlefleetError, DecodeError, TerminalError, UnavailableError
from router.matching import Matches, match
from router.route import Route
from router.rows import Rows
from router.table import RouteTable
from router.transforms import apply_transform
from workers.open_destinations import OpenDestinations
from workers.store import BACKLOG_ROWS, Claim, Debt, Letter, Nudge, Store, Verdict, Waiting

#: Claims in a row without an answer after which the data itself is suspected of killing its worker.
MOST_SILENT: Final = 3
#: Seconds for which one task goes on taking what waits, before it lets others at the queue.
TURN: Final = 1.0


class Again(Exception):  # noqa: N818  # a request, not a fault
    """The part was given back and is due in `delay` seconds."""

    def __init__(self, delay: float, why: str) -> None:
        super().__init__(delay, why)
        self.delay = delay
        self.why = why


class Journey:
    """What the tasks of one process do.

    Args:
        store: The fleet's state.
        table: The routes.
        nudge: Sends a message that says "look at this part"; None asks the router to look.
        lease: Seconds for which a part is held; renewed while it is worked on.
        retry_cap: Most seconds between two attempts.
    """

    def __init__(
        self,
        store: Store,
        table: RouteTable,
        nudge: Callable[[Nudge | None], None],
        *,
        lease: float = 15.0,
        retry_cap: float = 60.0,
    ) -> None:
        self.store = store
        self.table = table
        self.nudge = nudge
        self.lease = lease
        self.retry_cap = retry_cap
        self.destinations = OpenDestinations()
        self._keeper = Keeper(store, lease)

    # -- route --------------------------------------------------------------------------------

    def route(self) -> int:
        """Match every waiting batch and cut what that makes due; return the number of points routed."""
        routed, ends = 0, time.monotonic() + TURN
        while waiting := self.store.take(BACKLOG_ROWS, self.lease):
            verdicts, points = self.judge(waiting)
            self.store.match(verdicts)
            self.cut({debt.route_id for verdict in verdicts for debt in verdict.debts})
            routed += points
            if time.monotonic() > ends:
                self.nudge(None)
                break
        return routed

    def judge(self, waiting: Sequence[Waiting]) -> tuple[list[Verdict], int]:
        """Match batches all at once; return one verdict a batch, and the number of points in them."""
        verdicts, batches = [], []
        for batch_id, data, _ in waiting:
            try:
                batches.append(PointBatch.from_ipc(data).accepted_as(batch_id))
            except DecodeError as error:
                letter = Letter("", data.hex(), [_reason(error.code, error.message)], batch_id=batch_id)
                verdicts.append(Verdict(batch_id, (), 0, 0, 0, [letter]))
        together = PointBatch.concat(batches)
        matches = match(self.table, together)
        start = 0
        for batch in batches:
            verdicts.append(self._verdict(matches, batch, start))
            start += len(batch)
        return verdicts, len(together)

    def _verdict(self, matches: Matches, batch: PointBatch, start: int) -> Verdict:
        batch_id, stop = batch.parts[0].batch_id, start + len(batch)
        debts = [
            Debt(route_id, rows, self.table.route(route_id).max_owed)
            for route_id, selected in matches.selections.items()
            if len(rows := _within(selected, start, stop))
        ]
        failures = [failure for failure in matches.failures if start <= failure.row < stop]
        letters = [
            Letter(f.route_id, batch[f.row - start].to_json_dict(), [_reason("condition.error", f.message)],
                   batch_id=batch_id, row=f.row - start)
            for f in failures
        ]  # fmt: skip
        unmatched = len(_within(matches.unmatched, start, stop))
        failed = len(_within(matches.failed_only, start, stop))
        return Verdict(batch_id, debts, len(batch) - unmatched - failed, unmatched, failed, letters)

    def cut(self, route_ids: Iterable[str]) -> None:
        """Cut what is due of these routes, by priority, and nudge the parts."""
        known = [self.table.route(route_id) for route_id in route_ids if route_id in self.table]
        for route in sorted(known, key=lambda route: route.priority.value):
            for nudge in self.store.cut(route.route_id, ordered=getattr(route.destination, "ordered", True)):
                self.nudge(nudge)

    # -- deliver ------------------------------------------------------------------------------

    def deliver(self, part_id: str) -> int:
        """Write one part to its route's destination and settle it; what was refused becomes dead letters.

        Returns:
            The number of points delivered; 0 when there was nothing to do.

        Raises:
            Again: The part was given back, to be tried once more.
        """
        claim = self.store.claim(part_id, str(ULID()), self.lease)
        if not isinstance(claim, Claim):
            return 0
        with self._keeper.holding(claim):
            if claim.silent > MOST_SILENT:
                self._halve(
                    claim, TerminalError(f"{claim.silent - 1} workers died while they worked on it"), "poison"
                )
                return 0
            return self._write(claim, self.store.load(claim))

    def _write(self, claim: Claim, batch: PointBatch) -> int:
        route = self.table.route(claim.route_id)
        transformed = apply_transform(route, batch)
        letters = [
            _letter(claim, batch, row, "transform", message) for row, message in transformed.failed
        ] + _missing(claim, batch)
        written = transformed.batch
        try:
            self.destinations.write(self.table, claim.route_id, written)
        except TerminalError as error:
            if error.rows is None:
                self._halve(claim, error, "destination.refused")
                return 0
            positions = transformed.rows.positions
            letters += [
                _letter(claim, batch, int(positions[row]), "destination.refused", _said(error))
                for row in error.rows
            ]
        except UnavailableError as error:
            delay = min(
                error.retry_after if error.retry_after is not None else route.retry_delay, self.retry_cap
            )
            self._give_back(claim, error, delay, counted=False)
        except Exception as error:  # anything a destination may raise counts as transient
            self._try_again_or_bury(claim, route, batch, error)
            return 0
        delivered = claim.rows - transformed.dropped - len(letters)
        self._settle(claim, delivered=delivered, dropped=transformed.dropped, letters=letters)
        return delivered

    def _try_again_or_bury(self, claim: Claim, route: Route, batch: PointBatch, error: Exception) -> None:
        if route.retry_on_failure and claim.attempts <= route.max_retries:
            self._give_back(claim, error, self._backoff(route, claim.attempts), counted=True)
        letters = [_letter(claim, batch, row, "retries.exhausted", _said(error)) for row in range(len(batch))]
        self._settle(claim, delivered=0, letters=letters + _missing(claim, batch))

    def _give_back(self, claim: Claim, error: Exception, delay: float, *, counted: bool) -> None:
        self.store.nack(claim, delay=delay, counted=counted, error=_said(error))
        raise Again(delay, _said(error)) from error

    def _backoff(self, route: Route, attempts: int) -> float:
        # full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        return random.uniform(0, min(self.retry_cap, route.retry_delay * 2 ** (attempts - 1)))  # noqa: S311

    def _halve(self, claim: Claim, error: TerminalError, code: str) -> None:
        if claim.rows > 1:
            for nudge in self.store.split(claim, claim.rows // 2):
                self.nudge(nudge)
            return
        batch = self.store.load(claim)
        letters = [_letter(claim, batch, row, code, _said(error)) for row in range(len(batch))]
        self._settle(claim, delivered=0, letters=letters + _missing(claim, batch))

    def _settle(self, claim: Claim, *, delivered: int, letters: Sequence[Letter], dropped: int = 0) -> None:
        if self.store.settle(claim, delivered=delivered, dropped=dropped, letters=letters):
            self.cut([claim.route_id])

    # -- sweep --------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Nudge whatever seems to have lost its nudge; return the number of nudges."""
        found = self.store.sweep()
        if found.router:
            self.nudge(None)
        for nudge in found.parts:
            if nudge.route_id in self.table:
                self.nudge(nudge)
        self.cut(found.routes)
        return found.router + len(found.parts)

    def close(self) -> None:
        """Close every destination this process has open."""
        self.destinations.close()


class Keeper:
    """Renews the claim in work, from a thread of its own, so that a short lease suits long writes."""

    def __init__(self, store: Store, lease: float) -> None:
        self._store = store
        self._lease = lease
        self._held: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def holding(self, claim: Claim) -> _Hold:
        """Return a context in which the claim is renewed every third of its lease."""
        return _Hold(self, claim)

    def add(self, claim: Claim) -> None:
        """Begin to renew a claim."""
        with self._lock:
            self._held[claim.token] = claim
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._renew, name="candlefleet-keeper", daemon=True)
                self._thread.start()

    def remove(self, claim: Claim) -> None:
        """Stop renewing a claim."""
        with self._lock:
            self._held.pop(claim.token, None)

    def _renew(self) -> None:
        while True:
            time.sleep(self._lease / 3)
            with self._lock:
                held = list(self._held.values())
            for claim in held:
                try:
                    self._store.renew(claim, self._lease)
                except CandlefleetError:
                    continue  # the broker is away: the lease runs out and another worker takes over


class _Hold:
    def __init__(self, keeper: Keeper, claim: Claim) -> None:
        self._keeper = keeper
        self._claim = claim

    def __enter__(self) -> Claim:
        self._keeper.add(self._claim)
        return self._claim

    def __exit__(self, *_: object) -> None:
        self._keeper.remove(self._claim)


def _within(rows: Rows, start: int, stop: int) -> Rows:
    low, high = np.searchsorted(rows.positions, [start, stop])
    return Rows(rows.positions[low:high] - np.uint32(start))


def _reason(code: str, message: str, field: str = "") -> Mapping[str, str]:
    return {"code": code, "field": field, "message": message}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _letter(claim: Claim, batch: PointBatch, row: int, code: str, message: str) -> Letter:
    batch_id, number = _name(batch, row)
    original: Any = batch[row].to_json_dict()
    reasons = [_reason(code, message)]
    return Letter(claim.route_id, original, reasons, "", batch_id, number, claim.attempts, claim.since)


def _missing(claim: Claim, batch: PointBatch) -> list[Letter]:
    """Return letters for rows whose batch Redis no longer has; it lost memory, and an operator must know."""
    reasons = [_reason("batch.missing", "Redis no longer holds the batch of this row")]
    gone = claim.rows - len(batch)
    return [Letter(claim.route_id, None, reasons, attempts=claim.attempts, first=claim.since)] * gone


def _name(batch: PointBatch, row: int) -> tuple[str, int]:
    for part in batch.parts:
        if row < len(part.rows):
            return part.batch_id, int(part.rows.positions[row])
        row -= len(part.rows)
    raise IndexError(row)
