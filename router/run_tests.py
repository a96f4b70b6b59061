"""Run the tests of a routes file: match and transform their points; no destination is opened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from router.admission import admit
from router.check_numbers import shown
from router.check_times import check_timestamp
from router.errors import PointError, Reason
from router.matching import match
from router.preparing import prepare_alone
from router.route_tests import RouteTest
from router.table import RouteTable

#: How far a number may be from the one expected, as a share of it: the last digits of a computation.
NEAR: Final = 1e-9


class Difference(NamedTuple):
    """Something that came out otherwise than a test says.

    Attributes:
        point: Which of its points, from 0.
        what: What was compared: ``routes``, ``payload.csv.close``.
        expected: What the test says.
        got: What came out.
    """

    point: int
    what: str
    expected: str
    got: str


@dataclass(slots=True)
class _Seen:
    invalid: tuple[Reason, ...] = ()
    matched: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    written: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def run_test(test: RouteTest, table: RouteTable) -> list[Difference]:
    """Return what differs from what a test without faults says, point by point; it passed if nothing does."""
    return [
        Difference(index, *difference)
        for index, point in enumerate(test.each_point())
        for difference in _differences(test, table, _see(point, table))
    ]


def _see(point: Mapping[str, Any], table: RouteTable) -> _Seen:
    admission = admit([point])
    if admission.refused:
        return _Seen(invalid=admission.refused[0].reasons)
    batch = admission.batch.accepted_as("test")
    matches = match(table, batch)
    seen = _Seen(failed={failure.route_id: failure.message for failure in matches.failures})
    for route in table.by_priority():
        if route.route_id in matches.selections:
            seen.matched.append(route.route_id)
            transformed = prepare_alone(route, batch.for_route(route.route_id))
            if transformed.failed:
                seen.failed[route.route_id] = transformed.failed[0][1]
            elif transformed.dropped:
                seen.dropped.append(route.route_id)
            else:
                seen.written[route.route_id] = dict(transformed.batch[0])
    return seen


_Found = Iterator[tuple[str, str, str]]


def _differences(test: RouteTest, table: RouteTable, seen: _Seen) -> _Found:
    if test.invalid or seen.invalid:
        yield from _validity(test, seen)
        return
    if set(test.routes or ()) != set(seen.matched):
        yield "routes", _listed(test.routes or ()), _listed(seen.matched)
    for route_id, message in seen.failed.items():
        yield route_id, "no error", message
    if set(test.dropped) != set(seen.dropped):
        yield "dropped", _listed(test.dropped), _listed(seen.dropped)
    for route_id, name in (test.destinations or {}).items():
        found = table.destination_name(route_id) if route_id in seen.matched else "nowhere"
        if found != name:
            yield f"destinations.{route_id}", name, found
    for route_id, payload in (test.payload or {}).items():
        yield from _in_payload(f"payload.{route_id}", payload, seen.written.get(route_id))


def _validity(test: RouteTest, seen: _Seen) -> _Found:
    codes = test.invalid if isinstance(test.invalid, list | tuple) else None
    found = {reason.code for reason in seen.invalid}
    if not test.invalid:
        yield "routes", _listed(test.routes or ()), f"invalid: {'; '.join(map(str, seen.invalid))}"
    elif not found:
        yield (
            "invalid",
            _listed(codes or ()) if codes else "invalid",
            f"valid, taken by {_listed(seen.matched)}",
        )
    elif codes is not None and set(codes) != found:
        yield "invalid", _listed(codes), _listed(sorted(found))


def _in_payload(what: str, expected: Mapping[str, Any], got: Mapping[str, Any] | None) -> _Found:
    if got is None:
        yield what, shown(dict(expected)), "nothing was written"
        return
    for name, value in expected.items():
        if not _is_same(value, got[name]):
            yield f"{what}.{name}", _value(value), _value(got[name])


def _is_same(expected: Any, got: Any) -> bool:
    if isinstance(got, datetime):
        with suppress(PointError):
            return check_timestamp(expected, "timestamp") == got
        return False
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return all(name in got and _is_same(value, got[name]) for name, value in expected.items())
    if isinstance(got, float) and isinstance(expected, int | float) and not isinstance(expected, bool):
        return math.isclose(expected, got, rel_tol=NEAR)
    return bool(expected == got)


def _value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else "null" if value is None else str(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
