"""Route: one rule that says which points go to which destination, and how."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from numbers import Integral, Real
from typing import Any, Final, NamedTuple, Protocol, Self

import polars as pl

from router.batch import PointBatch
from router.check_numbers import shown
from router.conditions import Condition, compile_condition, name_of
from router.errors import ConfigError
from router.names import NAME_RULE, is_name, nearest
from router.points import NormalizedDataPoint
from router.show_routes import route_html

#: The id under which points that match no route are delivered; no other route may have it.
DEFAULT_ROUTE_ID: Final = "default"
#: Most points of one write, which is held in memory whole.
MOST_BATCH_SIZE: Final = 1_000_000
#: Most seconds that a bar may come behind the newest of its series: ten years.
MOST_LATENESS: Final = 315_576_000
#: Seconds a point waits for its batch to fill when a route has a batch_size and names no batch_timeout.
DEFAULT_BATCH_TIMEOUT: Final = 5.0


class RoutePriority(Enum):
    """Which route of a destination is served first."""

    HIGH = 1
    NORMAL = 2
    LOW = 3


class Destination(Protocol):
    """What a route needs of its destination: somewhere a batch can be written."""

    @property
    def name(self) -> str | None:
        """The name of its queue; None: the id of the first route that uses it."""

    def open(self) -> None:
        """Connect."""

    def write_batch(self, batch: PointBatch) -> None:
        """Write every row of the batch; on return they are there."""

    def close(self) -> None:
        """Release what `open` took."""


class _Range(NamedTuple):
    lowest: float
    whole: bool = False
    above: bool = False  # True: `lowest` itself is refused
    optional: bool = True
    highest: float = math.inf

    def allows(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        try:
            number = float(value)
        except OverflowError:
            return False
        enough = number > self.lowest if self.above else number >= self.lowest
        return enough and number <= self.highest and math.isfinite(number)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a finite number"
        side = f"{'above' if self.above else 'of at least'} {self.lowest:g}"
        if self.highest < math.inf:
            side = f"from {self.lowest:g} to {self.highest:,}"
        return f"{kind} {side}{' or None' if self.optional else ''}"


_RANGES: Final = {
    "batch_size": _Range(1, whole=True, highest=MOST_BATCH_SIZE),
    "batch_timeout": _Range(0, above=True),
    "max_retries": _Range(0, whole=True, optional=False),
    "retry_delay": _Range(0, optional=False),
    "rate_limit": _Range(0, above=True),
    "max_owed": _Range(1, whole=True),
    "allowed_lateness": _Range(0, highest=MOST_LATENESS),
}
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,),
    "description": (str, type(None)),
    "priority": (RoutePriority,),
    "at_max_owed": (str,),
    "enabled": (bool,),
    "retry_on_failure": (bool,),
}
_AT_MAX_OWED: Final = ("busy", "dead_letter")
_REQUIRED: Final = ("route_id", "condition", "destination")


@dataclass(kw_only=True, eq=False, repr=False)
class Route:
    """A rule: points that meet the condition go to the destination.

    A route is checked when it is made and does not change afterwards, except that `enabled` may.

    Attributes:
        route_id: Names the route everywhere: 1 to 100 letters, digits and ``. _ -``; not ``default``.
        condition: SQL text, a Polars expression, or a callable on a point. Null is no match.
        destination: Where the points go.
        name: What people call it; the route_id when empty.
        transform: A callable on a point, or on a PointBatch or frame; None: points go as they came.
        batch_size: Points in each write; None: that of the destination, else whatever waits.
        batch_timeout: Seconds the oldest point waits for a batch to fill; 5 when a batch_size is given.
            Without a batch_size nothing waits, and it has no effect.
        priority: Which route of one destination is served first.
        enabled: A disabled route matches nothing and still delivers what it owes.
        retry_on_failure: False: the first failure is the last.
        max_retries: Attempts after the first.
        retry_delay: Seconds before the first retry; later ones wait longer.
        rate_limit: Points a second, for all workers together; None: no limit.
        max_owed: Points this route may owe; None: the fleet's limit.
        at_max_owed: What happens above that: ``busy``, senders are told to wait, or ``dead_letter``, its
            oldest points become dead letters on disk.
        allowed_lateness: Seconds that a bar may come behind the newest of its series, where transform or
            destination need the bars before: later ones are dead letters. None: that of the destination,
            else 0.

    Raises:
        ConfigError: A field is missing (``required``), misspelt (``unknown_field``), of another kind
            (``type``) or out of range (``range``), or the id is not one (``route.id``).
        ConditionError: The condition cannot be used.
    """

    route_id: str
    condition: str | pl.Expr | Callable[[NormalizedDataPoint], Any]
    destination: Destination
    name: str = ""
    description: str | None = None
    transform: Callable[[Any], Any] | None = None
    batch_size: int | None = None
    batch_timeout: float | None = None
    priority: RoutePriority = RoutePriority.NORMAL
    enabled: bool = True
    retry_on_failure: bool = True
    max_retries: int = 3
    retry_delay: float = 1.0
    rate_limit: float | None = None
    max_owed: int | None = None
    at_max_owed: str = "busy"
    allowed_lateness: float | None = None
    compiled: Condition = field(init=False)  #: the condition as it is evaluated

    def __new__(cls, *_args: object, **given: object) -> Self:
        """Refuse fields that do not exist and miss, by name, before `__init__` would with a TypeError."""
        if cls is Route and given:
            _check_names(given)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        _check_id(self)
        _check_destination(self)
        self._adopt_policy()
        for name, types in _TYPES.items():
            _check_type(self, name, types)
        for name, bounds in _RANGES.items():
            setattr(self, name, _in_range(self, name, bounds))
        _check_overflow(self)
        _check_transform(self)
        self.name = self.name or self.route_id
        if self.batch_size is not None and self.batch_timeout is None:
            self.batch_timeout = DEFAULT_BATCH_TIMEOUT
        self.compiled = compile_condition(self.condition, f"{self.route_id}.condition")
        self._tell_destination()

    # A destination's own options are this route's policy where it names none.
    def _adopt_policy(self) -> None:
        if self.batch_size is None:
            self.batch_size = getattr(self.destination, "batch_size", None)
        if self.batch_timeout is None:
            self.batch_timeout = getattr(self.destination, "flush_interval", None)
        if self.allowed_lateness is None:
            self.allowed_lateness = getattr(self.destination, "allowed_lateness", None)

    # Some say with every point why it came.
    def _tell_destination(self) -> None:
        learn = getattr(self.destination, "learn_route", None)
        if callable(learn):
            learn(self)

    def __setattr__(self, name: str, value: object) -> None:
        if "compiled" in self.__dict__ and name != "enabled":
            raise AttributeError(f"{name} of a route does not change; make another route")
        super().__setattr__(name, value)
        if name == "enabled":
            _check_type(self, name, _TYPES[name])

    def matches(self, point: NormalizedDataPoint) -> bool:
        """Return whether this route takes a point; a disabled route takes none.

        Raises:
            Exception: Whatever the condition raised: a broken condition is not the same as no match.
        """
        return self.enabled and self.compiled.decide(point)

    @property
    def write_size(self) -> int | None:
        """Points in each write of the fleet: with a limit below `batch_size`, a second's points."""
        if self.batch_size is None or self.rate_limit is None:
            return self.batch_size
        return min(self.batch_size, max(1, int(self.rate_limit)))

    @property
    def destination_name(self) -> str | None:
        """The name the destination was given; None: the table names it after the first route that uses it."""
        return getattr(self.destination, "name", None)

    def __repr__(self) -> str:
        goes_to = self.destination_name or type(self.destination).__name__
        return f"Route({self.route_id!r}: {self.compiled.text} -> {goes_to})"

    def _repr_html_(self) -> str:
        return route_html(self)


class DefaultRoute(Route):
    """What delivers points that matched no route: no point meets its condition by itself."""

    def __init__(self, destination: Destination) -> None:
        super().__init__(
            route_id=DEFAULT_ROUTE_ID,
            condition="false",
            destination=destination,
            name="Default",
            description="Points that match no route.",
        )


def _check_names(given: dict[str, object]) -> None:
    known = [f.name for f in fields(Route) if f.init]
    where = str(given.get("route_id", "route"))
    for name in given:
        if name not in known:
            raise ConfigError(
                "unknown_field", f"{where}.{name}", f"a route has no field {name!r}{nearest(name, known)}"
            )
    for name in _REQUIRED:
        if name not in given:
            raise ConfigError(
                "required",
                f"{where}.{name}",
                "missing: a route needs a route_id, a condition and a destination",
            )


def _check_id(route: Route) -> None:
    route_id = route.route_id
    if not is_name(route_id):
        raise ConfigError(
            "route.id", f"{route_id!r}.route_id", f"a route_id is {NAME_RULE}, not {route_id!r}"
        )
    if route_id == DEFAULT_ROUTE_ID and not isinstance(route, DefaultRoute):
        raise ConfigError(
            "route.id",
            "default.route_id",
            "'default' is the route of the default destination: choose another id",
        )


def _check_destination(route: Route) -> None:
    where, destination = f"{route.route_id}.destination", route.destination
    if destination is None:
        raise ConfigError("required", where, "a route needs a destination, not None")
    if isinstance(destination, type):
        raise ConfigError(
            "type",
            where,
            f"{destination.__name__} is a class: give one made of it, {destination.__name__}(...)",
        )
    if not callable(getattr(destination, "write_batch", None)):
        raise ConfigError(
            "type", where, f"a destination has a method write_batch; {type(destination).__name__} has none"
        )


def _check_type(route: Route, name: str, types: tuple[type, ...]) -> None:
    value = getattr(route, name)
    if not isinstance(value, types):
        wanted = " or ".join("None" if t is type(None) else t.__name__ for t in types)
        raise ConfigError("type", f"{route.route_id}.{name}", f"must be {wanted}, not {value!r}")


def _in_range(route: Route, name: str, bounds: _Range) -> float | None:
    value: Any = getattr(route, name)
    if value is None and bounds.optional:
        return None
    if not bounds.allows(value):
        raise ConfigError("range", f"{route.route_id}.{name}", f"must be {bounds}, not {shown(value)}")
    return int(value) if bounds.whole else float(value)


def _check_overflow(route: Route) -> None:
    at, where = route.at_max_owed, f"{route.route_id}.at_max_owed"
    if at not in _AT_MAX_OWED:
        wanted = " or ".join(map(repr, _AT_MAX_OWED))
        raise ConfigError("enum", where, f"must be {wanted}, not {at!r}{nearest(at, _AT_MAX_OWED)}")
    if at == "dead_letter" and route.max_owed is None:
        raise ConfigError(
            "required", f"{route.route_id}.max_owed", "missing: at_max_owed='dead_letter' needs one"
        )


def _check_transform(route: Route) -> None:
    transform, where = route.transform, f"{route.route_id}.transform"
    if transform is not None and not callable(transform):
        raise ConfigError("type", where, f"must be a callable or None, not {transform!r}")
    if inspect.iscoroutinefunction(transform):
        raise ConfigError(
            "type",
            where,
            f"{name_of(transform)} is a coroutine function: a transform gives its result at once",
        )
