"""Find routes that deliver the same points to the same destination."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from router.batch import PointBatch
from router.cells import Space, space_of
from router.conditions import BROKEN, ColumnCondition
from router.explain_lines import word
from router.findings import Finding
from router.matching import match
from router.points import NormalizedDataPoint
from router.route import Route
from router.schema import COLUMNS
from router.table import RouteTable
from router.terms import Formula

#: Routes of one destination up to which each is compared with each.
_FEW: Final = 10
#: Earlier routes that one is compared with, where they are more.
_MOST_COMPARED: Final = 3
#: Points of a condition that are tried as examples.
_MOST_TRIED: Final = 5

_HINT: Final = "keep their conditions apart, or give each a destination of its own"


class _Overlap(NamedTuple):
    rank: int  # the closest first
    code: str
    how: str  # what the later route takes
    first: str  # the earlier route


class _Looked(NamedTuple):
    route: Route
    formula: Formula
    space: Space | None


def check_overlaps(
    table: RouteTable, formulas: Mapping[str, Formula], spaces: Mapping[str, Space | None]
) -> Iterator[Finding]:
    """Yield routes that surely take points which an earlier one delivers to the same destination too.

    Args:
        table: The routes.
        formulas: The condition of each route.
        spaces: The cells of each condition; None where they are too many.
    """
    groups: dict[str, list[_Looked]] = defaultdict(list)
    for route in table:
        if route.enabled:
            looked = _Looked(route, formulas[route.route_id], spaces[route.route_id])
            groups[table.destination_name(route.route_id)].append(looked)
    for name, group in groups.items():
        for one, earlier in _candidates(group):
            yield from _check_route(name, one, earlier)


def _check_route(destination: str, one: _Looked, earlier: Sequence[_Looked]) -> Iterator[Finding]:
    found = [overlap for other in earlier if (overlap := _overlap(other, one)) is not None]
    if not found:
        return
    overlap, *others = sorted(found)
    also = f"; the same goes for {', '.join(repr(other.first) for other in others)}" if others else ""
    message = (
        f"{overlap.how}, and both deliver to {destination!r}: each keeps its own record, "
        f"so those rows are written twice{also}"
    )
    yield Finding("warning", overlap.code, one.route.route_id, "condition", message, _HINT)


# Of two routes of which the first was written earlier.
def _overlap(first: _Looked, second: _Looked) -> _Overlap | None:
    one, other, name = first.formula, second.formula, first.route.route_id
    space = space_of(one, other)
    if space is None or not (space.ever(one) and space.ever(other)):
        return None
    within, around = space.implies(other, one), space.implies(one, other)
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
def _example(space: Space, first: _Looked, second: _Looked) -> str | None:
    for point in islice(space.points(first.formula, second.formula), _MOST_TRIED):
        if _takes(first.route, point) and _takes(second.route, point):
            terms = [*first.formula.terms(), *second.formula.terms()]
            read = dict.fromkeys(name.partition("[")[0] for term in terms for name in term.reads)
            return ", ".join(f"{name} {word(getattr(point, name))}" for name in read if name in COLUMNS)
    return None


def _takes(route: Route, point: NormalizedDataPoint) -> bool:
    try:
        return isinstance(route.compiled, ColumnCondition) and route.compiled.decide(point)
    except BROKEN:
        return False


# Where they are many, a route is compared with those that take an example of it, or of which it takes one.
def _candidates(group: Sequence[_Looked]) -> Iterator[tuple[_Looked, Sequence[_Looked]]]:
    meets = None if len(group) <= _FEW else _meets(group)
    for index, one in enumerate(group):
        earlier = range(index) if meets is None else np.flatnonzero(meets[index, :index])[:_MOST_COMPARED]
        yield one, [group[at] for at in earlier]


def _meets(group: Sequence[_Looked]) -> np.typing.NDArray[np.bool_]:
    examples = [
        (index, point)
        for index, one in enumerate(group)
        for point in islice(one.space.points(one.formula) if one.space else (), _MOST_TRIED)
    ]
    by_columns = [one.route for one in group if isinstance(one.route.compiled, ColumnCondition)]
    selections = match(RouteTable(by_columns), PointBatch.of(point for _, point in examples)).selections
    made_for = np.array([index for index, _ in examples], dtype=np.intp)
    takes = np.zeros((len(group), len(group)), np.bool_)
    for index, one in enumerate(group):
        if one.route.route_id in selections:
            takes[index, made_for[selections[one.route.route_id].positions]] = True
    return takes | takes.T
