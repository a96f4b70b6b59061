"""Look at routes as a whole, before a fleet runs them, and say what a person should know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from router.cells import space_of
from router.check_routes_conditions import check_condition
from router.check_routes_overlaps import check_overlaps
from router.check_routes_policies import Limits, check_policy
from router.conditions import said
from router.errors import Reason
from router.findings import SEVERITIES, Finding, worst_first
from router.hidden import without_hidden
from router.route import DEFAULT_ROUTE_ID, Destination, Route
from router.table import RouteTable
from router.terms import formula_of

#: What destinations say of themselves that is no error.
_WARNINGS: Final = frozenset({"disk.nearly_full"})


def check_routes(table: RouteTable, limits: Limits | None = None) -> list[Finding]:
    """Return what is to be said of some routes, the worst first, then in the order of the routes.

    Nothing is opened, and no condition is asked about a real point. What is called impossible, or implied, is
    so for every valid point; not everything that is so is found.

    Args:
        table: The routes.
        limits: The settings of the fleet that will run them; None: what depends on them is not looked at.
    """
    formulas = {route.route_id: formula_of(route) for route in table}
    spaces = {route_id: space_of(formula) for route_id, formula in formulas.items()}
    found = [*_of_destinations(table), *check_overlaps(table, formulas, spaces)]
    for route in table:
        found += _of_enabled(route)
        found += check_condition(route, formulas[route.route_id], spaces[route.route_id])
        found += check_policy(route, limits)
    always = {one.route_id for one in found if one.code == "condition.always"}
    greedy = next((route for route in table if route.enabled and route.route_id in always), None)
    found += _of_default(table, greedy)
    return worst_first(found, table.route_ids)


def first_users(table: RouteTable) -> dict[str, str]:
    """Return, for the name of each destination, the first route that delivers to it."""
    routes = reversed(table.by_priority())
    return {table.destination_name(route.route_id): route.route_id for route in routes}


def _of_enabled(route: Route) -> Iterator[Finding]:
    if not route.enabled:
        message = "is disabled: it takes nothing, and delivers what it owes"
        yield Finding("info", "route.disabled", route.route_id, "enabled", message)


# Given the first route that takes everything, if there is one.
def _of_default(table: RouteTable, greedy: Route | None) -> Iterator[Finding]:
    if greedy is None and table.default_destination is None:
        message = "there is no default destination: points that match no route are counted, and go nowhere"
        hint = "give a default_destination, or count on `candlefleet status`"
        yield Finding("warning", "default.missing", "", "default_destination", message, hint)
    elif greedy is not None and table.default_destination is not None:
        message = f"nothing ever gets there: the route {greedy.route_id!r} takes every point"
        yield Finding("info", "default.idle", DEFAULT_ROUTE_ID, "destination", message)
    if not any(route.enabled for route in table):
        message = "no route takes anything: there are none, or none is enabled"
        yield Finding("warning", "routes.none", "", "routes", message, "add a route, or enable one")


def _of_destinations(table: RouteTable) -> Iterator[Finding]:
    users = first_users(table)
    for name, destination in table.destinations().items():
        for reason in _obstacles(destination):
            severity = SEVERITIES[reason.code in _WARNINGS]
            field = ".".join(filter(None, ("destination", reason.field)))
            yield Finding(severity, reason.code, users[name], field, without_hidden(reason.message))


def _obstacles(destination: Destination) -> list[Reason]:
    try:
        return list(getattr(destination, "obstacles", tuple)())
    except Exception as error:  # a destination of a user's own may raise anything
        return [Reason("destination.error", "", f"obstacles() raised {said(error)}")]
