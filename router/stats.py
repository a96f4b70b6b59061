"""RouterStats: what a router has done so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from threading import Lock
from typing import Any


class RouterStats:
    """Totals over all calls of one router; safe to use from several threads.

    Points are counted, not entries: an error that was said of three points counts three.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._totals = Counter({"batches": 0, "points": 0, "routed": 0, "skipped": 0, "errors": 0})
        self._matched: Counter[str] = Counter()
        self._by_type: Counter[str] = Counter()
        self._by_route: Counter[str] = Counter()

    def update(self, results: Mapping[str, Any], points: int | None = None) -> None:
        """Add the results of one call.

        Args:
            results: What `DataRouter.route` returned.
            points: How many points were given; None: those routed and those skipped.
        """
        with self._lock:
            self._totals["batches"] += 1
            self._totals["points"] += results["routed"] + results["skipped"] if points is None else points
            self._totals.update(routed=results["routed"], skipped=results["skipped"])
            self._matched.update(results["routes_matched"])
            for error in results["errors"]:
                rows = len(error.get("rows", ())) or 1
                self._totals["errors"] += rows
                self._by_type[error["type"]] += rows
                if error.get("route_id"):
                    self._by_route[error["route_id"]] += rows

    def to_dict(self) -> dict[str, Any]:
        """Return the totals, and by route or type: routes_matched, errors_by_type, errors_by_route."""
        with self._lock:
            return {
                **self._totals,
                "routes_matched": dict(self._matched),
                "errors_by_type": dict(self._by_type),
                "errors_by_route": dict(self._by_route),
            }

    def __str__(self) -> str:
        totals = self.to_dict()
        said = ", ".join(f"{totals[name]:,} {name}" for name in ("routed", "skipped", "errors"))
        batches = f"{totals['batches']:,} batch{'' if totals['batches'] == 1 else 'es'}"
        return f"{totals['points']:,} points in {batches}: {said}"
