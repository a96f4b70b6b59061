"""The journey of a batch through the fleet, without Celery: route, deliver, sweep."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Final, Protocol

from router.batch import PointBatch
from router.errors import DecodeError
from router.matching import Matches, combine, match
from router.preparing import needs_history
from router.route import Route
from router.rows import Rows
from router.table import RouteTable
from workers import holder
from workers.deliveries import MOST_SILENT, Deliveries
from workers.letters import letter_for, reason
from workers.overflow import overflow
from workers.pruning import Pruning
from workers.quarantine import decide_apart
from workers.records import Debt, Letter, Nudge, Replay, Verdict, Waiting
from workers.store import BACKLOG_ROWS, Store
from workers.unknown_routes import open_door

logger = logging.getLogger(__name__)

#: Seconds for which one task goes on taking what waits, before it lets others at the queue.
TURN: Final = 1.0
#: Seconds after which a router that found nothing looks once more before it leaves.
LINGER: Final = 0.01
_UNKNOWN: Final = "this worker's routes file has no such route any more"


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
        self.deliveries = Deliveries(
            store, table, nudge=post.parts, cut=self.cut, lease=lease, retry_cap=retry_cap
        )
        self.pruning = Pruning(store, table, self.deliveries.destinations)

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
        """Write one part to its route's destination and settle it; see `Deliveries.write`.

        Where that went well, the destination may forget what nobody owes any more.
        """
        delivered = self.deliveries.write(route_id, part_id, closes=closes)
        self.pruning.look(route_id)
        return delivered

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
        self.deliveries.destinations.close()


def is_ordered(route: Route) -> bool:
    """Return whether a route's points must arrive in order of acceptance, as most destinations ask."""
    return bool(getattr(route.destination, "ordered", True)) or needs_history(route)


def _within(rows: Rows, start: int, stop: int) -> Rows:
    return Rows.of_bits(rows.bits >> start & ((1 << (stop - start)) - 1))
