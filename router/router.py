"""DataRouter: points in, matched against the routes, handed to delivery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import Any

import numpy as np

from router.admission import Admission, admit
from router.delivery import Delivery, DirectDelivery, current, error_entries
from router.matching import Failure, Matches, match
from router.points import NormalizedDataPoint
from router.route import DEFAULT_ROUTE_ID, Destination, Route
from router.show_routes import first_of
from router.stats import RouterStats
from router.table import RouteTable


class DataRouter:
    """Matches points against routes and delivers each to every destination whose route matched.

    Args:
        routes: The routes, in order.
        default_destination: Where points go that match no route.
        enable_parallel: Deliver by the fleet, if `workers` was imported; False: always in the caller.

    Raises:
        ConfigError: The routes cannot be used together.
    """

    def __init__(
        self,
        routes: Iterable[Route] | None = None,
        default_destination: Destination | None = None,
        enable_parallel: bool = True,
    ) -> None:
        self.enable_parallel = enable_parallel
        self.stats = RouterStats()
        self._table = RouteTable(routes or (), default_destination)
        self._lock = Lock()
        self._delivery: Delivery | None = None

    @property
    def table(self) -> RouteTable:
        """The routes as they are now; a change of routes makes another table."""
        return self._table

    @property
    def routes(self) -> list[Route]:
        """The routes, in order; to change them use `add_route` and `remove_route`."""
        return list(self._table)

    @property
    def default_destination(self) -> Destination | None:
        """Where points go that match no route; None: they are counted as skipped."""
        return self._table.default_destination

    def add_route(self, route: Route) -> None:
        """Add a route at the end; calls of `route` under way do not see it.

        Raises:
            ConfigError: ``route.duplicate_id``, ``destination.duplicate_name``.
        """
        with self._lock:
            self._table = self._table.with_route(route)

    def remove_route(self, route_id: str) -> None:
        """Remove a route; what it owes is still delivered.

        Raises:
            ConfigError: ``route.unknown``, with the nearest id.
        """
        with self._lock:
            self._table.route(route_id)
            self._table = self._table.without_route(route_id)

    def route(self, data_points: Any, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Match points against every route and deliver them.

        Args:
            data_points: Points: a list of `NormalizedDataPoint` or of dicts, a `PointBatch`, a Polars or
                pandas frame, or an Arrow table. `from_frame` reads frames whose columns are others.
            context: What travels with the batch, such as when it was fetched.

        Returns:
            ``routed``: points that matched at least one route; ``routes_matched``: points by route;
            ``skipped``: points that matched none, which go to the default destination; ``errors``:
            entries of route_id, type (``validation_error``, ``condition_error``, ``transform_error``,
            ``late_error``, ``destination_error``), error, destination, rows (positions in `data_points`).

        Raises:
            TypeError: `data_points` is none of these.
            FleetError: The fleet did not take the batch; nothing was delivered.
        """
        table = self._table
        admission = _admitted(data_points)
        matches = match(table, admission.batch)
        errors = _condition_errors(matches.failures, table)
        if len(admission.batch):
            errors += self._delivered_by().deliver(admission.batch, matches, table, context or {})
        results = {
            "routed": matches.routed,
            "routes_matched": _counts(matches, table),
            "errors": [*_validation_errors(admission), *_as_given(errors, admission)],
            "skipped": len(matches.unmatched),
        }
        self.stats.update(results, points=len(admission.batch) + len(admission.refused))
        return results

    def flush_all_batches(self) -> None:
        """Deliver what waits for its batch to fill."""
        self._delivered_by().flush(self._table)

    def get_stats(self) -> dict[str, Any]:
        """Return totals over all calls: batches, points, routed, skipped, errors and more."""
        return self.stats.to_dict()

    def close(self) -> None:
        """Close the destinations this router opened in this process; it may be used again."""
        if isinstance(self._delivery, DirectDelivery):
            self._delivery.close()

    def __repr__(self) -> str:
        rest = [] if self.default_destination is None else [DEFAULT_ROUTE_ID]
        routes = first_of([*self.table.route_ids, *rest]) or "no routes"
        return f"DataRouter({routes}; {self.stats})"

    def _repr_html_(self) -> str:
        table = self.table.to_html(self.get_stats()["routes_matched"])
        return f"<div><b>DataRouter</b>: {self.stats}{table}</div>"

    # Late, so that importing the workers after making a router is early enough.
    def _delivered_by(self) -> Delivery:
        with self._lock:
            if self._delivery is None:
                self._delivery = current() if self.enable_parallel else DirectDelivery()
            return self._delivery


def _admitted(points: Any) -> Admission:
    if isinstance(points, NormalizedDataPoint):
        return admit([points])
    return admit(list(points) if isinstance(points, Iterator) else points)


def _counts(matches: Matches, table: RouteTable) -> dict[str, int]:
    return {
        route_id: len(matches.selections[route_id])
        for route_id in table.route_ids
        if route_id in matches.selections
    }


def _validation_errors(admission: Admission) -> list[dict[str, Any]]:
    refusals = ((refused.index, "; ".join(map(str, refused.reasons))) for refused in admission.refused)
    return error_entries("", "validation_error", "", refusals)


def _condition_errors(failures: Iterable[Failure], table: RouteTable) -> list[dict[str, Any]]:
    by_route: dict[str, list[tuple[int, str]]] = {}
    for failure in failures:
        by_route.setdefault(failure.route_id, []).append((failure.row, failure.message))
    return [
        entry
        for route_id, found in by_route.items()
        for entry in error_entries(route_id, "condition_error", table.destination_name(route_id), found)
    ]


# Rows of the batch become positions among what was given: refused points are not in the batch.
def _as_given(errors: list[dict[str, Any]], admission: Admission) -> list[dict[str, Any]]:
    if not admission.refused or not errors:
        return errors
    count = len(admission.batch) + len(admission.refused)
    given = np.delete(np.arange(count), [refused.index for refused in admission.refused])
    return [
        {**error, "rows": given[error["rows"]].tolist()} if "rows" in error else error for error in errors
    ]
