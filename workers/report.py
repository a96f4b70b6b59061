"""What the fleet holds and owes at one instant, and whether it adds up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from destinations.base import DataDestination
from router.table import RouteTable
from workers.envelope import QUEUE
from workers.store import SERVED_FOR, Store


@dataclass(frozen=True, slots=True)
class RouteReport:
    """One route: all in points, `rate` in points a second over the last 15 s, `seconds` from first to last.

    `owed` is `pending` plus `in_parts`. `failed` counts points whose condition could not be evaluated;
    they are dead letters that never matched. `known` is False of a route that the routes file does not
    name. `written` is what the destination itself says it holds of this route, None where it cannot tell.
    """

    route_id: str
    destination: str
    matched: int
    delivered: int
    dropped: int
    dead: int
    failed: int
    replayed: int
    pending: int
    in_parts: int
    parts: int
    rate: float
    seconds: float
    served: bool
    known: bool
    written: int | None

    @property
    def owed(self) -> int:
        """Points matched and not yet delivered, dropped or dead."""
        return self.pending + self.in_parts

    @property
    def average(self) -> float:
        """Points a second, delivered, from the first match to the last write; 0 before there is a last."""
        return self.delivered / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """A destination that does not answer, how often it was asked, and what it said.

    Times are seconds: `lasted` so far, `left` until the next try.
    """

    destination: str
    lasted: float
    left: float
    failures: int
    error: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole fleet, in points; `broken` names the laws of conservation that do not hold.

    `ingress` counts messages in the stream, whose points nobody has counted yet.
    `replayed` counts points of dead letters that were let in once more, `reasons` dead letters by code,
    `notes` admitted points by note and source: ``rounded kraken``.
    Dead letters take `letter_bytes` of the `letter_limit` they may take (0: no worker has said yet).
    `paused` tells of destinations that do not answer; their points wait.
    """

    accepted: int
    replayed: int
    invalid: int
    waiting: int
    routed: int
    matched: int
    unmatched: int
    failed: int
    bytes: int
    batches: int
    dead_letters: int
    oldest: float
    router_served: bool
    door_served: bool
    ingress: int
    letter_bytes: int = 0
    letter_limit: int = 0
    paused: list[Pause] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    routes: list[RouteReport] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def owed(self) -> int:
        """Points that some route still owes; waiting ones are not among them."""
        return sum(route.owed for route in self.routes)

    @property
    def at_rest(self) -> bool:
        """True when nothing waits and nothing is owed."""
        return not self.waiting and not self.owed and not self.ingress

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, the computed figures included."""
        routes = [
            asdict(route) | {"owed": route.owed, "average": round(route.average, 1)} for route in self.routes
        ]
        return asdict(self) | {"owed": self.owed, "holds": not self.broken, "routes": routes}


def report(store: Store, table: RouteTable | None = None, *, recorded: bool = True) -> Report:
    """Return the state of the fleet; with a table also idle routes, and what destinations have on record.

    Args:
        store: The fleet's state.
        table: Its routes, as far as they are known here.
        recorded: Whether destinations are asked, which may take them a while.
    """
    found = store.snapshot()
    totals, debts = found["totals"], dict(found["routes"])
    for route_id in [] if table is None else [route.route_id for route in table.by_priority()]:
        debts.setdefault(route_id, {})
    served = {name for name, seconds in found["silent"].items() if seconds < SERVED_FOR}
    routes = [
        _route(route_id, debts[route_id], table, route_id in served, recorded)
        for route_id in _ordered(debts, table)
    ]
    return Report(
        accepted=totals.get("accepted", 0),
        replayed=totals.get("replayed", 0),
        invalid=totals.get("invalid", 0),
        waiting=found["unrouted"],
        routed=totals.get("routed", 0),
        matched=totals.get("matched", 0),
        unmatched=totals.get("unmatched", 0),
        failed=totals.get("failed", 0),
        bytes=totals.get("bytes", 0),
        batches=totals.get("batches", 0),
        dead_letters=found["dead_letters"],
        oldest=found["oldest"],
        router_served="@router" in served,
        door_served=f"@{QUEUE}" in served,
        ingress=found["ingress"],
        letter_bytes=totals.get("letter_bytes", 0),
        letter_limit=int(found["letters_mark"]),
        paused=[_pause(name, found["paused"][name], found["at"]) for name in sorted(found["paused"])],
        reasons=found["reasons"],
        notes=found["notes"],
        routes=routes,
        broken=_broken(found, totals, routes),
    )


def _ordered(debts: Mapping[str, Any], table: RouteTable | None) -> list[str]:
    known = [] if table is None else [*table.route_ids, "default"]
    return [name for name in known if name in debts] + sorted(name for name in debts if name not in known)


def _route(
    route_id: str, debt: Mapping[str, Any], table: RouteTable | None, served: bool, recorded: bool
) -> RouteReport:
    known = table is not None and route_id in table
    return RouteReport(
        route_id=route_id,
        destination=table.destination_name(route_id) if known and table is not None else "",
        **{
            name: int(debt.get(name, 0))
            for name in ("matched", "delivered", "dropped", "dead", "failed", "replayed")
        },
        pending=int(debt.get("owed_pending", 0)),
        in_parts=int(debt.get("owed_parts", 0)),
        parts=int(debt.get("parts", 0)),
        rate=debt.get("rate", 0.0),
        seconds=max(0.0, debt.get("last", 0.0) - debt.get("since", 0.0)),
        served=served,
        known=known or table is None,
        written=_written(route_id, table) if recorded and known and table is not None else None,
    )


def _pause(name: str, found: Mapping[str, Any], at: float) -> Pause:
    lasted, left = at - found["since"], max(0.0, found["until"] - at)
    return Pause(name, round(lasted, 1), round(left, 1), int(found["failures"]), found["error"])


def _written(route_id: str, table: RouteTable) -> int | None:
    destination = table.route(route_id).destination
    return destination.on_record(route_id) if isinstance(destination, DataDestination) else None


# The conservation law. Debts are counted anew, batch by batch, and held against the counters.
def _broken(found: Mapping[str, Any], totals: Mapping[str, int], routes: list[RouteReport]) -> list[str]:
    def law(name: str, left: float, right: float) -> str | None:
        return None if left == right else f"{name}: {left:g} is not {right:g}"

    t = {
        name: totals.get(name, 0)
        for name in ("accepted", "replayed", "invalid", "routed", "matched", "unmatched", "failed")
    }
    checks = [
        law(
            "accepted + replayed = invalid + waiting + routed",
            t["accepted"] + t["replayed"],
            t["invalid"] + found["unrouted"] + t["routed"],
        ),
        law(
            "routed = matched + unmatched + failed", t["routed"], t["matched"] + t["unmatched"] + t["failed"]
        ),
        law("dead letters kept = dead letters counted", found["dead_letters"], totals.get("letters", 0)),
        law("batches kept = batches somebody waits for", totals.get("batches", 0), found["live"]),
        law("batches whose debts differ from their pending rows and parts = 0", found["strayed"], 0),
    ]
    for route in routes:
        checks.append(
            law(
                f"{route.route_id}: matched + replayed = delivered + dropped + dead + owed",
                route.matched + route.replayed,
                route.delivered + route.dropped + route.dead + route.owed,
            )
        )
        if route.written is not None and route.written < route.delivered:
            checks.append(
                f"{route.route_id}: {route.delivered} delivered, but its destination holds {route.written}"
            )
    return [check for check in checks if check is not None]
