"""RouteTable: the routes, the default destination and the names of destinations, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from router.conditions import said
from router.errors import ConfigError
from router.names import NAME_RULE, is_name, nearest
from router.route import DEFAULT_ROUTE_ID, DefaultRoute, Destination, Route
from router.show_routes import first_of, table_html


class Place(Protocol):
    """Something that one destination owns, such as the files of a folder; `str` tells people which."""

    def overlaps(self, other: object) -> bool:
        """Return whether a write to one may touch the other; also when that is in doubt."""


class RouteTable:
    """Routes in the order they were given, and the destination of points that match none.

    A table is a value: `with_route` and `without_route` give new ones. Iterating gives the routes
    without the default one; `route("default")` gives that.
    """

    def __init__(self, routes: Iterable[Route] = (), default_destination: Destination | None = None) -> None:
        """Take routes and check them together.

        Raises:
            ConfigError: Two routes have one id (``route.duplicate_id``), two destinations one name
                (``destination.duplicate_name``) or one place (``destination.shared_place``), a name
                cannot name a queue (``destination.name``),
                or something among the routes is not one (``type``).
        """
        self._routes: dict[str, Route] = {}
        for index, route in enumerate(routes):
            if not isinstance(route, Route):
                raise ConfigError("type", f"routes[{index}]", f"must be a Route, not {route!r}")
            if route.route_id in self._routes:
                raise ConfigError(
                    "route.duplicate_id", f"{route.route_id}.route_id", "another route has this id"
                )
            self._routes[route.route_id] = route
        self._default = None if default_destination is None else DefaultRoute(default_destination)
        self._names, self._destinations = _named(self._everything())
        _check_places(self._destinations)

    @property
    def default_destination(self) -> Destination | None:
        """Where points go that match no route; None: they are counted as skipped."""
        return None if self._default is None else self._default.destination

    @property
    def route_ids(self) -> list[str]:
        """The ids in order, without ``default``."""
        return list(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def __len__(self) -> int:
        return len(self._routes)

    def __contains__(self, route_id: object) -> bool:
        return route_id in self._names

    def route(self, route_id: str) -> Route:
        """Return the route of an id, ``default`` among them when there is a default destination.

        Raises:
            ConfigError: ``route.unknown``, with the nearest id.
        """
        route = self._default if route_id == DEFAULT_ROUTE_ID else self._routes.get(route_id)
        if route is None:
            raise ConfigError(
                "route.unknown", route_id, f"no route has this id{nearest(route_id, self._routes)}"
            )
        return route

    def destination_name(self, route_id: str) -> str:
        """Return the name of a route's destination, which is also its queue.

        Raises:
            ConfigError: ``route.unknown``.
        """
        return self._names[self.route(route_id).route_id]

    def destinations(self) -> dict[str, Destination]:
        """Return every destination by name, in the order of the first route that uses it."""
        return dict(self._destinations)

    def by_priority(self) -> list[Route]:
        """Return all routes, the default one last, by priority and then in the order they were given."""
        return sorted(
            self._everything(), key=lambda route: (route.route_id == DEFAULT_ROUTE_ID, route.priority.value)
        )

    def with_route(self, route: Route) -> RouteTable:
        """Return a table with one more route, at the end."""
        return RouteTable([*self, route], self.default_destination)

    def without_route(self, route_id: str) -> RouteTable:
        """Return a table without a route; without that id there is nothing to take away."""
        return RouteTable([route for route in self if route.route_id != route_id], self.default_destination)

    def _everything(self) -> list[Route]:
        return [*self, *([] if self._default is None else [self._default])]

    def __repr__(self) -> str:
        return f"RouteTable({first_of(self._names)})"

    def to_html(self, matched: Mapping[str, int] | None = None) -> str:
        """Return a table of the routes for a notebook.

        Args:
            matched: Points that each took so far, by route.
        """
        return table_html(self._everything(), self._names, matched or {})

    def _repr_html_(self) -> str:
        return self.to_html()


# The name of each route's destination, and each destination by name: a name is its own, or the id of
# the first route that uses the same object.
def _named(routes: Iterable[Route]) -> tuple[dict[str, str], dict[str, Destination]]:
    names: dict[str, str] = {}
    destinations: dict[str, Destination] = {}
    seen: dict[int, str] = {}
    for route in routes:
        name = seen.setdefault(id(route.destination), route.destination_name or route.route_id)
        where = f"{route.route_id}.destination"
        if not is_name(name):
            raise ConfigError("destination.name", where, f"a destination's name is {NAME_RULE}, not {name!r}")
        if destinations.setdefault(name, route.destination) is not route.destination:
            raise ConfigError(
                "destination.duplicate_name",
                where,
                f"another destination is named {name!r}: give this one its own name=",
            )
        names[route.route_id] = name
    return names, destinations


def _check_places(destinations: Mapping[str, Destination]) -> None:
    owned: list[tuple[str, Place]] = []
    for name, destination in destinations.items():
        for place in _owned_by(name, destination):
            for other, taken in owned:
                if other != name and place.overlaps(taken):
                    raise ConfigError(
                        "destination.shared_place",
                        f"{name}.destination",
                        f"may write to {place}, which the destination {other!r} may write to as well "
                        f"({taken}): give both routes one destination, or these two different places",
                    )
            owned.append((name, place))


def _owned_by(name: str, destination: Destination) -> list[Place]:
    try:
        places: list[Place] = list(getattr(destination, "owns", tuple)())
        return [place for place in places if callable(place.overlaps)]
    except Exception as error:  # a destination of a user's own may raise anything
        message = f"owns() gives the places it writes to, and raised {said(error)}"
        raise ConfigError("destination.error", f"{name}.destination", message) from error
