"""The journey of a batch through the fleet, without Celery: route, deliver, sweep."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn

import numpy as np
from ulid import ULID

from router.batch import BatchRows, PointBatch
from router.errors import ConfigError, DecodeError, TerminalError, UnavailableError
from router.matching import Matches, match
from router.route import Route
from router.rows import Rows
from router.table import RouteTable
from router.transforms import apply_transform
from workers import holder
from workers.keeper import Keeper
from workers.letters import letters_for, missing, reason, said
from workers.open_destinations import OpenDestinations
from workers.records import STREAM, Claim, Debt, Letter, Nudge, Verdict, Waiting
from workers.store import BACKLOG_ROWS, Store

#: Claims in a row without an answer after which the data itself is suspected of killing its worker.
MOST_SILENT: Final = 3
#: Seconds for which one task goes on taking what waits, before it lets others at the queue.
TURN: Final = 1.0
#: Seconds after which a router that found nothing looks once more before it leaves.
LINGER: Final = 0.01


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
        """Match every waiting batch and cut what that makes due; return the number of points routed.

        While batches keep coming it stays, for a message costs more than a second look.
        """
        routed, ends, leaving = 0, time.monotonic() + TURN, False
        while True:
            waiting = self.store.take(BACKLOG_ROWS, self.lease, stay=not leaving)
            if waiting:
                routed, leaving = routed + self._route(waiting), False
                if time.monotonic() > ends:
                    self.nudge(None)
                    return routed
            elif leaving:
                return routed
            else:
                leaving = True
                time.sleep(LINGER)

    def _route(self, waiting: Sequence[Waiting]) -> int:
        verdicts, points = self.judge(waiting)
        self.store.match(verdicts)
        self.cut({debt.route_id for verdict in verdicts for debt in verdict.debts})
        return points

    def judge(self, waiting: Sequence[Waiting]) -> tuple[list[Verdict], int]:
        """Match batches all at once; return one verdict a batch, and the number of points in them."""
        verdicts, batches = [], []
        for batch_id, data, points, _ in waiting:
            try:
                batches.append(PointBatch.from_ipc(data, [BatchRows(batch_id, Rows.all(points))]))
            except DecodeError as error:
                letter = Letter("", data.hex(), [reason(error.code, error.message)], batch_id=batch_id)
                verdicts.append(Verdict(batch_id, (), 0, 0, points, [letter]))
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
        letters = [
            Letter(
                failure.route_id,
                batch[failure.row - start].to_json_dict(),
                [reason("condition.error", failure.message)],
                batch_id=batch_id,
                row=failure.row - start,
            )
            for failure in matches.failures
            if start <= failure.row < stop
        ]
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
        claim = self.store.claim(part_id, holder.token(str(ULID())), self.lease)
        if not isinstance(claim, Claim):
            return 0
        with self._keeper.holding(claim):
            if claim.silent > MOST_SILENT:
                # A half needs to kill one worker only to be halved again.
                died = TerminalError("workers died while they worked on it")
                return self._halve(claim, died, "poison", silent=MOST_SILENT - 1)
            return self._write(claim, self.store.load(claim))

    def _write(self, claim: Claim, batch: PointBatch) -> int:
        route = self.table.route(claim.route_id)
        transformed = apply_transform(route, batch)
        positions = transformed.rows.positions
        letters = missing(claim, batch)
        for row, message in transformed.failed:
            letters += letters_for(claim, batch, [row], "transform", message)
        try:
            self.destinations.write(self.table, claim.route_id, transformed.batch)
        except TerminalError as error:
            if error.rows is None:
                return self._halve(claim, error, "destination.refused")
            refused = positions[list(error.rows)]
            letters += letters_for(claim, batch, refused, "destination.refused", said(error))
        except (UnavailableError, ConfigError) as error:  # a person must act: the points wait for that
            asked = getattr(error, "retry_after", None)
            wait = route.retry_delay if asked is None else asked
            self._give_back(claim, error, min(wait, self.retry_cap), counted=False)
        except Exception as error:  # anything else a destination raises is worth another attempt
            if route.retry_on_failure and claim.tries <= route.max_retries:
                self._give_back(claim, error, self._backoff(route, claim.tries), counted=True)
            letters += letters_for(claim, batch, positions, "retries.exhausted", said(error))
        delivered = claim.rows - transformed.dropped - len(letters)
        self._settle(claim, delivered=delivered, dropped=transformed.dropped, letters=letters)
        return delivered

    def _give_back(self, claim: Claim, error: Exception, delay: float, *, counted: bool) -> NoReturn:
        self.store.nack(claim, delay=delay, counted=counted, error=said(error))
        raise Again(delay, said(error)) from error

    def _backoff(self, route: Route, tries: int) -> float:
        # full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        return random.uniform(0, min(self.retry_cap, route.retry_delay * 2 ** (tries - 1)))  # noqa: S311

    def _halve(self, claim: Claim, error: TerminalError, code: str, silent: int = 0) -> int:
        if claim.rows > 1:
            for nudge in self.store.split(claim, claim.rows // 2, silent=silent):
                self.nudge(nudge)
            return 0
        batch = self.store.load(claim)
        letters = letters_for(claim, batch, range(len(batch)), code, said(error)) + missing(claim, batch)
        self._settle(claim, delivered=0, letters=letters)
        return 0

    def _settle(self, claim: Claim, *, delivered: int, letters: Sequence[Letter], dropped: int = 0) -> None:
        if self.store.settle(claim, delivered=delivered, dropped=dropped, letters=letters):
            self.cut([claim.route_id])

    # -- sweep --------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Nudge whatever seems to have lost its nudge or its worker; return the number of nudges."""
        for part_id, token in self.store.holders().items():
            if holder.is_dead(token):
                self.store.release(part_id, token)
        found = self.store.sweep()
        if found.router:
            self.nudge(None)
        if self.store.knocked():
            self.nudge(STREAM)
        for nudge in found.parts:
            if nudge.route_id in self.table:
                self.nudge(nudge)
        self.cut(found.routes)
        return found.router + len(found.parts)

    def close(self) -> None:
        """Close every destination this process has open."""
        self.destinations.close()


def _within(rows: Rows, start: int, stop: int) -> Rows:
    low, high = np.searchsorted(rows.positions, [start, stop])
    return Rows(rows.positions[low:high] - np.uint32(start))
