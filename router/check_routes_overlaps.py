"""Find routes that deliver the same points to the same destination."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from router.batch import PointBatch
from router.cells import Space, TooManyCellsError
from router.conditions import BROKEN, ColumnCondition
from router.explain_lines import word
from router.findings import Finding
from router.matching import match
from router.points import NormalizedDataPoint
from router.route import Route
from router.schema import COLUMNS
from router.table import RouteTable
from router.terms import formula_of, terms_of

#: Routes of one destination up to which each is compared with each.
_FEW: Final = 30
#: Earlier routes that one is compared with, where they are more.
_MOST_COMPARED: Final = 3
#: Points of a cell that are tried as an example.
_MOST_TRIED: Final = 5

_HINT: Final = "keep their conditions apart, or give each a destination of its own"


class _Overlap(NamedTuple):
    rank: int  # the closest first
    code: str
    how: str  # what the later route takes
    other: str  # beside the earlier one


def check_overlaps(table: RouteTable) -> Iterator[Finding]:
    """Yield routes that surely take points which an earlier one delivers to the same destination too."""
    groups: dict[str, list[Route]] = defaultdict(list)
    for route in table:
        if route.enabled:
            groups[table.destination_name(route.route_id)].append(route)
    for name, routes in groups.items():
        for route, earlier in _candidates(routes):
            yield from _check_route(name, route, earlier)


def _check_route(destination: str, route: Route, earlier: Sequence[Route]) -> Iterator[Finding]:
    found = [overlap for one in earlier if (overlap := _overlap(one, route)) is not None]
    if not found:
        return
    overlap, *others = sorted(found)
    also = f"; the same goes for {', '.join(repr(one.other) for one in others)}" if others else ""
    message = (
        f"{overlap.how}, and both deliver to {destination!r}: each keeps its own record, "
        f"so those rows are written twice{also}"
    )
    yield Finding("warning", overlap.code, route.route_id, "condition", message, _HINT)


# Of two routes of which the first was written earlier.
def _overlap(first: Route, second: Route) -> _Overlap | None:
    one, other = formula_of(first), formula_of(second)
    try:
        space = Space(one, other)
    except TooManyCellsError:
        return None
    if not (space.ever(one) and space.ever(other)):
        return None
    within, around = space.implies(other, one), space.implies(one, other)
    name = first.route_id
    if within and around:
        return _Overlap(0, "overlap.equal", f"takes the same points as {name!r}", name)
    if within:
        return _Overlap(1, "overlap.implied", f"takes only points that {name!r} takes too", name)
    if around:
        return _Overlap(2, "overlap.implied", f"takes all points that {name!r} takes", name)
    example = _example(space, first, second)
    if example is None:
        return None
    return _Overlap(3, "overlap.some", f"takes points that {name!r} takes too, such as {example}", name)


# A point that both take, by what their conditions read; callables are not called with invented points.
def _example(space: Space, first: Route, second: Route) -> str | None:
    for point in islice(space.points(formula_of(first), formula_of(second)), _MOST_TRIED):
        if _takes(first, point) and _takes(second, point):
            terms = [term for route in (first, second) for term in terms_of(formula_of(route))]
            read = dict.fromkeys(name.partition("[")[0] for term in terms for name in term.reads)
            return ", ".join(f"{name} {word(getattr(point, name))}" for name in read if name in COLUMNS)
    return None


def _takes(route: Route, point: NormalizedDataPoint) -> bool:
    try:
        return isinstance(route.compiled, ColumnCondition) and route.compiled.decide(point)
    except BROKEN:
        return False


def _candidates(routes: Sequence[Route]) -> Iterator[tuple[Route, Sequence[Route]]]:
    if len(routes) <= _FEW:
        for index, route in enumerate(routes):
            yield route, routes[:index]
        return
    taken = _taken(routes)
    for index, route in enumerate(routes):
        meets = np.flatnonzero(taken[index, :index] | taken[:index, index])[:_MOST_COMPARED]
        yield route, [routes[at] for at in meets]


# Which route takes the example of which: [i, j] is whether the i-th takes one that was made for the j-th.
def _taken(routes: Sequence[Route]) -> np.typing.NDArray[np.bool_]:
    examples = [(index, point) for index, route in enumerate(routes) if (point := _own_example(route))]
    by_columns = RouteTable(route for route in routes if isinstance(route.compiled, ColumnCondition))
    selections = match(by_columns, PointBatch.of(point for _, point in examples)).selections
    made_for = np.array([index for index, _ in examples], dtype=np.intp)
    taken = np.zeros((len(routes), len(routes)), np.bool_)
    for index, route in enumerate(routes):
        if route.route_id in selections:
            taken[index, made_for[selections[route.route_id].positions]] = True
    return taken


def _own_example(route: Route) -> NormalizedDataPoint | None:
    formula = formula_of(route)
    try:
        found = islice(Space(formula).points(formula), _MOST_TRIED)
    except TooManyCellsError:
        return None
    return next((point for point in found if _takes(route, point)), None)
