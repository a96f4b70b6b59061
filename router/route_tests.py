"""Tests of routes, as a routes file carries them: points in, and what is to become of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from router.check_numbers import check_number, shown
from router.errors import PointError
from router.names import nearest
from router.points import NormalizedDataPoint
from router.problems import KeyPath
from router.schema import COLUMNS, PRICES, TEXTS

#: What a point of a test has where the test does not say; prices are near those it names, or 100.
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
        points: A point or several; of mappings, omitted fields are those of `SAMPLE`.
        routes: The ids of exactly the routes that take each point, in any order; ``default`` where it
            matches none and goes to the default destination.
        dropped: Those of them whose transform drops it.
        payload: By route id, fields of what is written, after the transform; others are not looked at.
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
        return [_filled(point) for point in points]


class Fault(NamedTuple):
    """What is wrong with a test: where in it, a stable code, a sentence."""

    path: KeyPath
    code: str
    message: str


def faults(test: RouteTest, route_ids: Collection[str], destinations: Collection[str]) -> Iterator[Fault]:
    """Yield what is wrong with a test, such as a field that no point has.

    Args:
        test: The test; its values may be of any type.
        route_ids: The ids there are, ``default`` among them when there is a default destination.
        destinations: The names of destinations there are.
    """
    if not isinstance(test.name, str):
        yield Fault(("name",), "type", f"must be text, not {shown(test.name)}")
    yield from _in_points(("points",), test.points, _field if test.invalid else _field_of_a_kind)
    if test.routes is None and not test.invalid:
        message = "missing: name the routes that take the points, or say that they are invalid"
        yield Fault(("routes",), "required", message)
    if test.invalid and (test.routes or test.payload or test.destinations or test.dropped):
        yield Fault(("invalid",), "type", "what is refused at the door goes nowhere: leave one of them out")
    yield from _in_list(("routes",), test.routes, route_ids)
    yield from _in_list(("dropped",), test.dropped, route_ids)
    yield from _in_mapping(("payload",), test.payload, route_ids, _in_payload)
    yield from _in_mapping(("destinations",), test.destinations, route_ids, partial(_in_names, destinations))
    if not isinstance(test.invalid, bool):
        yield from _in_list(("invalid",), test.invalid, None)


def _filled(point: Point) -> Mapping[str, Any]:
    given = dict(point)
    named = {field: number for field in PRICES if (number := _number(given.get(field))) is not None}
    price = named.get("close", named.get("open", next(iter(named.values()), _PRICE)))
    reach = [price, *named.values()]
    prices = {"open": price, "high": max(reach), "low": min(reach), "close": price}
    return SAMPLE | prices | given


def _number(value: object) -> float | None:
    with suppress(PointError):
        return check_number(value, "")
    return None


_Check = Callable[[KeyPath, Any, Any], Iterator[Fault]]


def _in_points(path: KeyPath, points: object, check: _Check) -> Iterator[Fault]:
    if isinstance(points, list | tuple) and points:
        for index, point in enumerate(points):
            yield from _in_point((*path, index), point, check)
    else:
        yield from _in_point(path, points, check)


def _in_point(path: KeyPath, point: object, check: _Check) -> Iterator[Fault]:
    if isinstance(point, Mapping):
        for field, value in point.items():
            yield from check((*path, str(field)), field, value)
    elif not isinstance(point, NormalizedDataPoint):
        yield Fault(path, "type", f"must be fields of a point, as a mapping, not {shown(point)}")


def _in_payload(path: KeyPath, payload: object) -> Iterator[Fault]:
    return _in_point(path, payload, _field_of_a_kind)


def _field(path: KeyPath, field: object, _value: object) -> Iterator[Fault]:
    return _unknown(COLUMNS, path, field)


def _field_of_a_kind(path: KeyPath, field: object, value: object) -> Iterator[Fault]:
    yield from _unknown(COLUMNS, path, field)
    if field in TEXTS and isinstance(value, int | float):
        yield Fault(path, "type", f"must be text, and {shown(value)} is not: put it in quotes")


def _in_list(path: KeyPath, names: object, known: Collection[str] | None) -> Iterator[Fault]:
    if isinstance(names, list | tuple):
        for index, name in enumerate(names):
            yield from _unknown(known, (*path, index), name, "route.unknown")
    elif names is not None:
        yield Fault(path, "type", f"must be a list, not {shown(names)}")


def _in_mapping(
    path: KeyPath, values: object, known: Collection[str], inner: Callable[[KeyPath, Any], Iterator[Fault]]
) -> Iterator[Fault]:
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _unknown(known, (*path, str(name)), name, "route.unknown")
            yield from inner((*path, str(name)), value)
    elif values is not None:
        yield Fault(path, "type", f"must be a mapping by route_id, not {shown(values)}")


def _in_names(known: Collection[str], path: KeyPath, name: object) -> Iterator[Fault]:
    return _unknown(known, path, name, "destination.undefined")


def _unknown(
    known: Collection[str] | None, path: KeyPath, name: object, code: str = "unknown_field"
) -> Iterator[Fault]:
    if not isinstance(name, str):
        yield Fault(path, "type", f"must be text, not {shown(name)}")
    elif known is not None and name not in known:
        yield Fault(path, code, f"there is no {name!r}{nearest(name, known)}")
