"""RouteTable: the routes, the default destination and the names of destinations, as one value."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

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
        for place in getattr(destination, "owns", tuple)():
            for other, taken in owned:
                if other != name and place.overlaps(taken):
                    raise ConfigError(
                        "destination.shared_place",
                        f"{name}.destination",
                        f"may write to {place}, which the destination {other!r} may write to as well "
                        f"({taken}): give both routes one destination, or these two different places",
                    )
            owned.append((name, place))


def load_routes(path: str | Path) -> RouteTable:
    """Run a routes file and return its table.

    The file is Python and defines ``routes = [Route(...), ...]`` with an optional
    ``default_destination``, or ``router = DataRouter([...], default_destination=...)``. Modules
    beside it can be imported by it. It runs afresh at every call.

    Raises:
        ConfigError: The file is missing (``file.missing``), cannot be read as Python
            (``file.syntax``), raised (``file.error``), or defines no routes (``required``); or
            whatever was wrong with a route, said with file and line.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise ConfigError("file.missing", str(path), "no such file")
    module = ModuleType(_module_name(file))
    try:
        _run(file, module)
        return _table_of(module.__dict__)
    except ConfigError as error:
        raise error.at(_place(path, file, error)) from error.__cause__
    except (Exception, SystemExit) as error:
        code = "file.syntax" if isinstance(error, SyntaxError) else "file.error"
        raise ConfigError(
            code, _place(path, file, error), said(error) + _hint(error, module.__dict__)
        ) from None


# The same in every process that loads this file: what it defines can be pickled.
def _module_name(file: Path) -> str:
    return f"candlefleet_routes_{blake2b(str(file).encode(), digest_size=8).hexdigest()}"


def _run(file: Path, module: ModuleType) -> None:
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(file.parent))
    try:
        # Compiled here, not imported: a cached .pyc of an edit within the same second would be run instead.
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # noqa: S102  # the operator's own file
    finally:
        sys.path.remove(str(file.parent))


def _place(path: str | Path, file: Path, error: BaseException) -> str:
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines.append(error.lineno)
    return f"{path}:{lines[-1]}" if lines else str(path)


# The name that a misspelt one was meant to be, where Python says which one it did not know.
def _hint(error: BaseException, namespace: dict[str, Any]) -> str:
    if isinstance(error, NameError):
        return nearest(error.name or "", namespace)
    if isinstance(error, ImportError) and (found := _UNKNOWN_IMPORT.search(str(error))):
        return nearest(found[1], dir(sys.modules.get(error.name or "")))
    if isinstance(error, TypeError) and (found := _UNKNOWN_ARGUMENT.search(str(error))):
        function = namespace.get(found[1])
        return nearest(found[2], inspect.signature(function).parameters) if callable(function) else ""
    return ""


_UNKNOWN_IMPORT: Final = re.compile(r"cannot import name '(\w+)'")
_UNKNOWN_ARGUMENT: Final = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")


def _table_of(namespace: dict[str, Any]) -> RouteTable:
    table = getattr(namespace.get("router"), "table", None)
    if isinstance(table, RouteTable):
        return table
    if "routes" not in namespace:
        raise ConfigError(
            "required",
            "routes",
            f"neither routes = [...] nor router = DataRouter(...) is defined{nearest('routes', namespace)}",
        )
    routes = namespace["routes"]
    if not isinstance(routes, list | tuple):
        raise ConfigError("type", "routes", f"must be a list of Route, not {type(routes).__name__}")
    return RouteTable(routes, namespace.get("default_destination"))
