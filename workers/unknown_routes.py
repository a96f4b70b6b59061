"""Debts of routes that the routes file does not name: kept, and delivered by nobody until somebody acts."""

from __future__ import annotations

import logging
from typing import Final

from ulid import ULID

from router.errors import FleetBusyError
from router.table import RouteTable
from workers import holder
from workers.letters import letters_for, missing
from workers.records import Claim
from workers.store import Store

logger = logging.getLogger(__name__)

_LEASE: Final = 60.0  #: seconds for which a part is held while it is buried
_FOR_EVER: Final = 1e15  #: seconds


def unknown_debts(store: Store, table: RouteTable) -> dict[str, int]:
    """Return the points owed to each route that the table does not name."""
    return {route_id: points for route_id, points in store.owed().items() if points and route_id not in table}


def advice(route_id: str, points: int) -> str:
    """Return what is wrong with such debts, and what to do about them, in one line."""
    return (
        f"{points:,} points are owed to the route {route_id!r}, which the routes file does not name: put it "
        "back (with enabled=False if it is to take no more), or move them to the dead letters with "
        f"`candlefleet routes bury {route_id}`"
    )


def warn(store: Store, table: RouteTable) -> None:
    """Log a warning for every route that is owed points and that the table does not name."""
    for route_id, points in unknown_debts(store, table).items():
        logger.warning(advice(route_id, points), extra={"route": route_id, "points": points})


def open_door(store: Store, table: RouteTable) -> None:
    """Let no route keep senders waiting that neither this table nor a worker's routes file names."""
    for route_id in store.full():
        if route_id not in table and store.forgive(route_id):
            fields = {"route": route_id}
            logger.warning(
                "The route %r owes more than its max_owed, but no routes file names it any more: "
                "the fleet takes points again, and keeps what is owed.",
                route_id,
                extra=fields,
            )


def bury(store: Store, route_id: str) -> int:
    """Move the rows that a route owes to the dead letters; return how many.

    Rows of parts that wait for another attempt stay until that is due.

    Raises:
        FleetBusyError: The dead letters have no room for more; what was moved by then is there.
    """
    moved, more = 0, 1
    while more:
        store.cut(route_id, ordered=False, served_for=_FOR_EVER)
        claims = (store.claim(part, holder.token(str(ULID())), _LEASE) for part in store.parts(route_id))
        more = sum(_bury(store, claim) for claim in claims if isinstance(claim, Claim))
        moved += more
    return moved


def _bury(store: Store, claim: Claim) -> int:
    batch, why = store.load(claim), "the routes file does not name this route any more"
    letters = letters_for(claim, batch, range(len(batch)), "route.unknown", why) + missing(claim, batch)
    found = store.settle(claim, delivered=0, letters=letters)
    if found.verdict == "full":
        raise FleetBusyError(found.why)
    return claim.rows if found.verdict == "settled" else 0
