"""Deliveries: parts written to their destinations, and what becomes of them when that fails."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import polars as pl
from ulid import ULID

from router.errors import ConfigError, TerminalError, UnavailableError
from router.preparing import Stage, prepare
from router.route import Route
from router.series import History
from router.table import RouteTable
from workers import holder
from workers.keeper import Keeper
from workers.letters import letters_for, missing, said
from workers.open_destinations import OpenDestinations
from workers.outcome import Outcome, Sums
from workers.records import Claim, Nudge, Rest, Settlement
from workers.series import decode_windows, series_in, window_name
from workers.store import Store

logger = logging.getLogger(__name__)

#: Claims or loans in a row without an answer after which the data itself is suspected of killing its worker.
MOST_SILENT: Final = 3
#: Seconds after which a task begins no further write: others of its queue may be more urgent.
TURN_OF_WRITES: Final = 5.0
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


class Deliveries:
    """What one process delivers.

    Args:
        store: The fleet's state.
        table: The routes.
        nudge: Sends for whoever delivers some parts.
        cut: Cuts what is due of some routes.
        lease: Seconds for which a part is held; renewed while it is worked on.
        retry_cap: Most seconds between two attempts.
    """

    def __init__(
        self,
        store: Store,
        table: RouteTable,
        *,
        nudge: Callable[[Sequence[Nudge]], None],
        cut: Callable[[Iterable[str]], None],
        lease: float,
        retry_cap: float,
    ) -> None:
        self.destinations = OpenDestinations(turn=TURN_OF_WRITES)
        self._store = store
        self._table = table
        self._nudge = nudge
        self._cut = cut
        self._lease = lease
        self._retry_cap = retry_cap
        self._keeper = Keeper(store, lease)

    def write(self, route_id: str, part_id: str, *, closes: bool = True) -> int:
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
        name = self._table.destination_name(route_id)
        claim = self._store.claim(part_id, holder.token(str(ULID())), self._lease, name)
        if not isinstance(claim, Claim):
            return 0
        with self._keeper.holding(claim):
            if claim.silent > MOST_SILENT:
                return self._settle_poison(claim, closes=closes)
            route, batch = self._table.route(claim.route_id), self._store.load(claim)
            prepared = prepare(route, batch, partial(self._recall, claim.route_id))
            points = prepared.transformed.batch
            written = self.destinations.write(self._table, claim.route_id, points, route.write_size)
            return self._conclude(route, Outcome(claim, batch, prepared, written), closes=closes)

    def _recall(self, route_id: str, stage: Stage, frame: pl.DataFrame) -> History:
        series = series_in(frame)
        names = [window_name(stage, one) for one in series]
        return decode_windows(series, self._store.windows(route_id, names))

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
            held = self.destinations.hold(self._table, claim.route_id, outcome.transformed.batch)
            return self._settle(claim, outcome.buried(code, said(error), held), rest, closes=closes)
        delay = self._backoff(route, tries)
        return self._put_off(outcome, error, delay, attempts=1)

    def _settle_poison(self, claim: Claim, *, closes: bool) -> int:
        if claim.rows > 1:  # a half needs to kill one worker only to be halved again
            half = claim.rows // 2
            rest = [Rest(rows, silent=MOST_SILENT - 1) for rows in (half, claim.rows - half)]
            return self._settle(claim, Sums(0, 0, []), rest, answers=False, closes=closes)
        batch, why = self._store.load(claim), "workers died while they worked on it"
        if self.destinations.hold(self._table, claim.route_id, batch).any():  # they died after its write
            return self._settle(claim, Sums(1, 0, []), answers=False, closes=closes)
        letters = letters_for(claim, batch, range(len(batch)), "poison", why) + missing(claim, batch)
        return self._settle(claim, Sums(0, 0, letters), answers=False, closes=closes)

    def _wait(self, route: Route, outcome: Outcome, error: UnavailableError | ConfigError) -> int:
        name = self._table.destination_name(route.route_id)
        delay = self._store.pause(
            name,
            asked=_asked(error, self._retry_cap),
            first=max(FIRST_PROBE, route.retry_delay),
            most=min(MOST_PROBE, self._retry_cap),
            error=said(error),
        )
        fields = {"destination": name, "seconds": round(delay, 1), "error": said(error)}
        logger.warning("Destination paused.", extra=fields)
        return self._put_off(outcome, error, delay, attempts=0)

    # What was written before the failure is settled; the rest waits, as the same part if that is all of it.
    def _put_off(self, outcome: Outcome, error: Exception, delay: float, *, attempts: int) -> int:
        claim, (start, _) = outcome.claim, outcome.failing
        name = self._table.destination_name(claim.route_id)
        if not start:
            self._store.nack(claim, delay=delay, counted=attempts > 0, error=said(error), destination=name)
            raise Again(delay, said(error), claim.part_id, claim.rows) from error
        sums, rest = outcome.before(start), Rest(claim.rows - start, attempts=attempts, wait=delay)
        found = self._settled(claim, sums, [rest], error=said(error))
        for waiting in found.waiting:
            raise Again(delay, said(error), waiting.part_id, waiting.rows) from error
        return sums.delivered

    def _backoff(self, route: Route, tries: int) -> float:
        # full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        return random.uniform(0, min(self._retry_cap, route.retry_delay * 2 ** min(tries - 1, 60)))  # noqa: S311

    def _settle(
        self, claim: Claim, sums: Sums, rest: Sequence[Rest] = (), *, closes: bool, answers: bool = True
    ) -> int:
        name = self._table.destination_name(claim.route_id) if answers else ""
        found = self._settled(claim, sums, rest, destination=name)
        if found.nudges:
            self._nudge(found.nudges)
        if found.complete and closes:
            self._cut([claim.route_id])
        return sums.delivered if found.verdict == "settled" else 0

    def _settled(
        self, claim: Claim, sums: Sums, rest: Sequence[Rest], *, destination: str = "", error: str = ""
    ) -> Settlement:
        found = self._store.settle(
            claim,
            delivered=sums.delivered,
            dropped=sums.dropped,
            letters=sums.letters,
            rest=rest,
            windows=sums.windows,
            destination=destination,
            error=error,
        )
        if found.verdict == "full":
            logger.critical("No room for dead letters.", extra={"route": claim.route_id, "why": found.why})
            delay = min(FULL_PAUSE, self._retry_cap)
            self._store.nack(claim, delay=delay, counted=False, error=found.why, destination=destination)
        return found


# A destination of the user's may say anything; what is not a number of seconds was not said.
def _asked(error: Exception, most: float) -> float | None:
    try:
        seconds = float(getattr(error, "retry_after", None) or "nan")
    except (TypeError, ValueError):
        return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), most)
