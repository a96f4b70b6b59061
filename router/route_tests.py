"""Tests of routes, as a routes file carries them: points in, and what is to become of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from router.check_numbers import check_number, shown
from router.errors import PointError
from router.names import nearest
from router.points import NormalizedDataPoint
from router.problems import KeyPath
from router.schema import COLUMNS, PRICES
from router.table import RouteTable

#: What a point of a test has where the test does not say; prices are those it names, or 100.
SAMPLE: Final[dict[str, Any]] = {
    "timestamp": "2024-01-01T00:00:00Z",
    "volume": 1000.0,
    "symbol": "TEST",
    "asset_class": "equity",
    "timeframe": "1d",
    "source": "test",
}
_PRICE: Final = 100.0

Point = Mapping[str, Any] | NormalizedDataPoint


@dataclass(frozen=True, kw_only=True)
class RouteTest:
    """A test of a routes file: every one of its points is to go this way.

    Attributes:
        name: What it shows, as a sentence.
        points: A point or several, as mappings; omitted fields are those of `SAMPLE`.
        routes: The ids of exactly the routes that take each point, in any order; ``default`` where it
            matches none and goes to the default destination.
        dropped: Those of them whose transform drops it.
        payload: By route id, fields of what is written, after the transform.
        destinations: By route id, the name of the destination.
        invalid: True, or the codes for which each point is refused at the door.
    """

    name: str
    points: Point | Sequence[Point]
    routes: Sequence[str] | None = None
    dropped: Sequence[str] = ()
    payload: Mapping[str, Mapping[str, Any]] | None = None
    destinations: Mapping[str, str] | None = None
    invalid: bool | Sequence[str] | None = None

    def each_point(self) -> list[Mapping[str, Any]]:
        """Return the points, each with all its fields."""
        points = [self.points] if isinstance(self.points, Mapping | NormalizedDataPoint) else self.points
        return [filled(point) for point in points]


class Fault(NamedTuple):
    """What is wrong with a test: where in it, a stable code, a sentence."""

    path: KeyPath
    code: str
    message: str


def filled(point: Point) -> Mapping[str, Any]:
    """Return a point with the fields it has not: those of `SAMPLE`, and prices near those it has."""
    if isinstance(point, NormalizedDataPoint):
        return dict(point)
    named = [number for field in PRICES if (number := _number(point.get(field))) is not None] or [_PRICE]
    price = _number(point.get("close", point.get("open")))
    price = named[0] if price is None else price
    prices = {"open": price, "high": max(named), "low": min(named), "close": price}
    return SAMPLE | prices | dict(point)


def faults(test: object, table: RouteTable) -> Iterator[Fault]:
    """Yield what is wrong with a test of these routes: fields that no point has, ids that no route has."""
    if not isinstance(test, RouteTest):
        yield Fault((), "type", f"must be a RouteTest, not {shown(test)}")
        return
    if not isinstance(test.name, str):
        yield Fault(("name",), "type", f"must be text, not {shown(test.name)}")
    yield from _in_points(test.points)
    if test.routes is None and test.invalid is None:
        yield Fault(("routes",), "required", "missing: name the routes that take the points, or say invalid: true")
    ids = [*table.route_ids, *(["default"] if "default" in table else [])]
    yield from _in_names("routes", test.routes or (), ids, "route")
    yield from _in_names("dropped", test.dropped, ids, "route")
    yield from _in_mapping("payload", test.payload or {}, ids)
    yield from _in_mapping("destinations", test.destinations or {}, ids)
