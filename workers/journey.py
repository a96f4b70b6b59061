"""The journey of a batch through the fleet, without Celery: route, deliver, sweep."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from ulid import ULID

from router.batch import PointBatch
from router.errors import ConfigError, DecodeError, TerminalError, UnavailableError
from router.matching import Matches, combine, match
from router.route import Route
from router.rows import Rows
from router.table import RouteTable
from router.transforms import apply_transform
from workers import holder
from workers.keeper import Keeper
from workers.letters import letter_for, letters_for, missing, reason, said
from workers.open_destinations import OpenDestinations
from workers.outcome import Outcome, Sums
from workers.overflow import overflow
from workers.quarantine import decide_apart
from workers.records import Claim, Debt, Letter, Nudge, Replay, Rest, Settlement, Verdict, Waiting
from workers.store import BACKLOG_ROWS, Store
from workers.unknown_routes import open_door

logger = logging.getLogger(__name__)

#: Claims or loans in a row without an answer after which the data itself is suspected of killing its worker.
MOST_SILENT: Final = 3
#: Seconds for which one task goes on taking what waits, before it lets others at the queue.
TURN: Final = 1.0
#: Seconds after which a task begins no further write: others of its queue may be more urgent.
TURN_OF_WRITES: Final = 5.0
#: Seconds after which a router that found nothing looks once more before it leaves.
LINGER: Final = 0.01
_UNKNOWN: Final = "this worker's routes file has no such route any more"
#: Seconds after which a destination that did not answer is tried again at the earliest, and at the latest.
FIRST_PROBE: Final = 0.1
MOST_PROBE: Final = 10.0
#: Seconds for which a part waits when the dead letters it would leave find no room.
FULL_PAUSE: Final = 30.0


class Again(Exception):  # noqa: N818  # a request, not a fault
    """A part of `rows` rows is due in `delay` seconds."""

    def __init__(self, delay: float, why: str, part_id: str, rows: int) -> None:
        super().__init__(delay, why, part_id, rows)
        self.delay = delay
        self.why = why
        self.part_id = part_id
        self.rows = rows


class Post(Protocol):
    """Sends messages that say "look"."""

    def router(self) -> None:
        """Ask the router to look at what waits."""

    def stream(self) -> None:
        """Ask for a look at the stream that others write to."""

    def parts(self, nudges: Sequence[Nudge], *, whole_flush: bool = False) -> None:
        """Ask for a look at these parts, which may be all parts of one flush."""


class Journey:
    """What the tasks of one process do.

    Args:
        store: The fleet's state.
        table: The routes.
        post: Sends the messages.
        lease: Seconds for which a part is held; renewed while it is worked on.
        retry_cap: Most seconds between two attempts.
        folder: Where the fleet keeps files: points above a `max_owed` whose route says so.
        trial: Seconds for which the conditions may be tried on a batch whose routers died.
    """

    def __init__(
        self,
        store: Store,
        table: RouteTable,
        post: Post,
        *,
        lease: float = 15.0,
        retry_cap: float = 60.0,
        trial: float = 60.0,
        folder: Path = Path(".candlefleet"),
    ) -> None:
        self.store = store
        self.table = table
        self.post = post
        self.lease = lease
        self.retry_cap = retry_cap
        self.trial = trial
        self.folder = folder
        self.destinations = OpenDestinations(turn=TURN_OF_WRITES)
        self._keeper = Keeper(store, lease)

    # -- route --------------------------------------------------------------------------------

    def route(self) -> int:
        """Match every waiting batch and cut what that makes due; return the number of points routed.

        While batches keep coming it stays, for a message costs more than a second look.
        """
        routed, ends, leaving = 0, time.monotonic() + TURN, False
        router = holder.token("router")
        while True:
            waiting = self._take(router, stay=not leaving)
            if waiting:
                routed, leaving = routed + self._route(waiting), False
                if time.monotonic() > ends:
                    self.post.router()
                    return routed
            elif leaving:
                return routed
            else:
                leaving = True
                time.sleep(LINGER)

    def _take(self, router: str, *, stay: bool) -> list[Waiting]:
        longer = self.lease + self.trial
        return self.store.take(BACKLOG_ROWS, self.lease, stay=stay, router=router, suspect_lease=longer)

    def _route(self, waiting: Sequence[Waiting]) -> int:
        verdicts, points = self.judge(waiting)
        self.store.match(verdicts)
        self.cut({debt.route_id for verdict in verdicts for debt in verdict.debts})
        return points

    def judge(self, waiting: Sequence[Waiting]) -> tuple[list[Verdict], int]:
        """Match batches all at once; return one verdict a batch, and the number of points in them."""
        verdicts, batches = [], []
        suspected = any(one.tries > MOST_SILENT for one in waiting)
        for one in waiting:
            try:
                batch = PointBatch.from_ipc(one.data, one.names)
            except DecodeError as error:
                reasons = [reason(error.code, error.message)]
                letter = Letter("", one.data.hex(), reasons, batch_id=one.batch_id)
                verdicts.append(Verdict(one.batch_id, (), 0, 0, one.points, [letter]))
                continue
            if one.replay is None:
                batches.append(batch)
            else:
                verdicts.append(self._verdict_of_replay(one.batch_id, one.replay, batch, suspected=suspected))
        together = PointBatch.concat(batches)
        matches = self._match(self.table, together, suspected=suspected)
        start = 0
        for batch in batches:
            verdicts.append(self._verdict(matches, batch, start))
            start += len(batch)
        return verdicts, len(together)

    def _match(self, table: RouteTable, batch: PointBatch, *, suspected: bool) -> Matches:
        if not suspected or not len(batch):
            return match(table, batch)
        return combine(table, len(batch), decide_apart(table, batch, self.trial))

    def _verdict(self, matches: Matches, batch: PointBatch, start: int) -> Verdict:
        batch_id, stop = batch.parts[0].batch_id, start + len(batch)
        debts = [
            self._debt(route_id, rows)
            for route_id, selected in matches.selections.items()
            if len(rows := _within(selected, start, stop))
        ]
        letters = [
            letter_for(failure.route_id, batch, failure.row - start, failure.code, failure.message)
            for failure in matches.failures
            if start <= failure.row < stop
        ]
        unmatched = len(_within(matches.unmatched, start, stop))
        failed = len(_within(matches.failed_only, start, stop))
        return Verdict(batch_id, debts, len(batch) - unmatched - failed, unmatched, failed, letters)

    def _verdict_of_replay(
        self, batch_id: str, replay: Replay, batch: PointBatch, *, suspected: bool
    ) -> Verdict:
        """Judge dead letters that are replayed: their route takes them, if need be by its condition."""
        route_id, points = replay.route_id, len(batch)
        if not replay.asks:
            return Verdict(batch_id, [self._debt(route_id, Rows.all(points))], points, 0, 0)
        if route_id not in self.table:
            letters = [letter_for(route_id, batch, row, "condition.error", _UNKNOWN) for row in range(points)]
            return Verdict(batch_id, (), 0, 0, points, letters)
        asked = copy(self.table.route(route_id))
        asked.enabled = True  # whoever replays its letters wants an answer
        matches = self._match(RouteTable([asked]), batch, suspected=suspected)
        debts = [self._debt(route_id, rows) for rows in matches.selections.values()]
        letters = [
            letter_for(route_id, batch, failure.row, failure.code, failure.message)
            for failure in matches.failures
        ]
        return Verdict(batch_id, debts, matches.routed, len(matches.unmatched), len(letters), letters)

    def _debt(self, route_id: str, rows: Rows) -> Debt:
        if route_id not in self.table:
            return Debt(route_id, rows, None)
        route = self.table.route(route_id)
        return Debt(route_id, rows, route.max_owed, spills=route.at_max_owed == "dead_letter")

    def cut(self, route_ids: Iterable[str]) -> None:
        """Cut what is due of these routes, by priority, and send for whoever delivers the parts."""
        known = [self.table.route(route_id) for route_id in route_ids if route_id in self.table]
        for route in sorted(known, key=lambda route: route.priority.value):
            nudges = self.store.cut(
                route.route_id,
                ordered=is_ordered(route),
                destination=self.table.destination_name(route.route_id),
                batch_size=route.write_size,
                batch_timeout=route.batch_timeout,
                rate_limit=route.rate_limit,
            )
            if nudges:
                self.post.parts(nudges, whole_flush=True)

    # -- deliver ------------------------------------------------------------------------------

    def deliver(self, route_id: str, part_id: str, *, closes: bool = True) -> int:
        """Write one part to its route's destination and settle it; what was refused becomes dead letters.

        Args:
            route_id: The route the message was for.
            part_id: The part it names.
            closes: Whether to cut the next flush when this one is complete; else somebody else does.

        Returns:
            The number of points delivered; 0 when there was nothing to do.

        Raises:
            Again: Part of it is to be tried once more.
        """
        name = self.table.destination_name(route_id)
        claim = self.store.claim(part_id, holder.token(str(ULID())), self.lease, name)
        if not isinstance(claim, Claim):
            return 0
        with self._keeper.holding(claim):
            if claim.silent > MOST_SILENT:
                return self._settle_poison(claim, closes=closes)
            route, batch = self.table.route(claim.route_id), self.store.load(claim)
            transformed = apply_transform(route, batch)
            written = self.destinations.write(self.table, claim.route_id, transformed.batch, route.write_size)
            return self._conclude(route, Outcome(claim, batch, transformed, written), closes=closes)

    def _conclude(self, route: Route, outcome: Outcome, *, closes: bool) -> int:
        claim, error = outcome.claim, outcome.written.error
        start, stop = outcome.failing
        if outcome.is_cut_short:
            left = [claim.rows - start] if start else [claim.rows // 2, claim.rows - claim.rows // 2]
            return self._settle(claim, outcome.before(start), [Rest(rows) for rows in left], closes=closes)
        if error is None:
            return self._settle(claim, outcome.before(claim.rows), closes=closes)
        if isinstance(error, TerminalError) and stop - start > 1:
            halves = [outcome.middle - start, stop - outcome.middle, claim.rows - stop]
            rest = [Rest(rows) for rows in halves if rows]
            return self._settle(claim, outcome.before(start), rest, closes=closes)
        if isinstance(error, UnavailableError | ConfigError):  # somebody must act: the points wait for that
            return self._wait(route, outcome, error)
        tries = 1 if start else claim.tries
        if isinstance(error, TerminalError) or not route.retry_on_failure or tries > route.max_retries:
            code = "destination.refused" if isinstance(error, TerminalError) else "retries.exhausted"
            rest = [Rest(claim.rows - stop)] if stop < claim.rows else []
            return self._settle(claim, outcome.buried(code, said(error)), rest, closes=closes)
        delay = self._backoff(route, tries)
        return self._put_off(outcome, error, delay, attempts=1)

    def _settle_poison(self, claim: Claim, *, closes: bool) -> int:
        if claim.rows > 1:  # a half needs to kill one worker only to be halved again
            half = claim.rows // 2
            rest = [Rest(rows, silent=MOST_SILENT - 1) for rows in (half, claim.rows - half)]
            return self._settle(claim, Sums(0, 0, []), rest, answers=False, closes=closes)
        batch, why = self.store.load(claim), "workers died while they worked on it"
        letters = letters_for(claim, batch, range(len(batch)), "poison", why) + missing(claim, batch)
        return self._settle(claim, Sums(0, 0, letters), answers=False, closes=closes)

    def _wait(self, route: Route, outcome: Outcome, error: UnavailableError | ConfigError) -> int:
        name = self.table.destination_name(route.route_id)
        delay = self.store.pause(
            name,
            asked=_asked(error, self.retry_cap),
            first=max(FIRST_PROBE, route.retry_delay),
            most=min(MOST_PROBE, self.retry_cap),
            error=said(error),
        )
        fields = {"destination": name, "seconds": round(delay, 1), "error": said(error)}
        logger.warning("Destination paused.", extra=fields)
        return self._put_off(outcome, error, delay, attempts=0)

    # What was written before the failure is settled; the rest waits, as the same part if that is all of it.
    def _put_off(self, outcome: Outcome, error: Exception, delay: float, *, attempts: int) -> int:
        claim, (start, _) = outcome.claim, outcome.failing
        name = self.table.destination_name(claim.route_id)
        if not start:
            self.store.nack(claim, delay=delay, counted=attempts > 0, error=said(error), destination=name)
            raise Again(delay, said(error), claim.part_id, claim.rows) from error
        sums, rest = outcome.before(start), Rest(claim.rows - start, attempts=attempts, wait=delay)
        found = self._settled(claim, sums, [rest], error=said(error))
        for waiting in found.waiting:
            raise Again(delay, said(error), waiting.part_id, waiting.rows) from error
        return sums.delivered

    def _backoff(self, route: Route, tries: int) -> float:
        # full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        return random.uniform(0, min(self.retry_cap, route.retry_delay * 2 ** min(tries - 1, 60)))  # noqa: S311

    def _settle(
        self, claim: Claim, sums: Sums, rest: Sequence[Rest] = (), *, closes: bool, answers: bool = True
    ) -> int:
        name = self.table.destination_name(claim.route_id) if answers else ""
        found = self._settled(claim, sums, rest, destination=name)
        if found.nudges:
            self.post.parts(found.nudges)
        if found.complete and closes:
            self.cut([claim.route_id])
        return sums.delivered if found.verdict == "settled" else 0

    def _settled(
        self, claim: Claim, sums: Sums, rest: Sequence[Rest], *, destination: str = "", error: str = ""
    ) -> Settlement:
        found = self.store.settle(
            claim,
            delivered=sums.delivered,
            dropped=sums.dropped,
            letters=sums.letters,
            rest=rest,
            destination=destination,
            error=error,
        )
        if found.verdict == "full":
            logger.critical("No room for dead letters.", extra={"route": claim.route_id, "why": found.why})
            delay = min(FULL_PAUSE, self.retry_cap)
            self.store.nack(claim, delay=delay, counted=False, error=found.why, destination=destination)
        return found

    # -- sweep --------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Nudge whatever seems to have lost its nudge or its worker; return the number of nudges."""
        for router in filter(holder.is_dead, self.store.routers()):
            self.store.take_back(router)
        for part_id, token in self.store.holders().items():
            if holder.is_dead(token):
                self.store.release(part_id, token)
        self.store.watch_memory()
        open_door(self.store, self.table)
        found = self.store.sweep(ahead=max(self.lease, self.retry_cap))
        if found.router:
            self.post.router()
        if self.store.knocked():
            self.post.stream()
        if known := [nudge for nudge in found.parts if nudge.route_id in self.table]:
            self.post.parts(known)
        self.cut(found.routes)
        for route in self.table:
            if route.at_max_owed == "dead_letter":
                overflow(self.store, route, self.folder)
        return found.router + len(found.parts)

    def close(self) -> None:
        """Close every destination this process has open."""
        self.destinations.close()


# A destination of the user's may say anything; what is not a number of seconds was not said.
def _asked(error: Exception, most: float) -> float | None:
    try:
        seconds = float(getattr(error, "retry_after", None) or "nan")
    except (TypeError, ValueError):
        return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), most)


def is_ordered(route: Route) -> bool:
    """Return whether a route's points must arrive in order of acceptance, as most destinations ask."""
    return bool(getattr(route.destination, "ordered", True))


def _within(rows: Rows, start: int, stop: int) -> Rows:
    low, high = np.searchsorted(rows.positions, [start, stop])
    return Rows(rows.positions[low:high] - np.uint32(start))
