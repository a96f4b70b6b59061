"""Routes files in YAML: what they say becomes destinations, routes and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from router.errors import ConfigError
from router.imports import imported, modules_beside
from router.problems import KeyPath, Problems, spelled
from router.route import DEFAULT_ROUTE_ID, Destination, Route, RoutePriority
from router.route_tests import RouteTest, faults
from router.routes_file import UNUSED, RoutesFile
from router.table import RouteTable
from router.yaml_destinations import Destinations, LoadKind, StandIn
from router.yaml_secrets import OWN_KEY, check_secrets
from router.yaml_shapes import FileShape, RouteShape, TestShape, fields_of
from router.yaml_text import read_yaml


def load_yaml_routes(path: str | Path, load_kind: LoadKind) -> RoutesFile:
    """Read a routes file and return its table and its tests.

    Args:
        path: The file; what is in its folder can be named by ``module:name``.
        load_kind: Gives the class of a kind of destination, or of a ``module:Class``.

    Raises:
        ConfigError: ``file.missing`` or ``file.unreadable``.
        RoutesFileError: Something is wrong with it: every mistake, by line.
    """
    file, problems = Path(path), Problems(str(path))
    content = read_yaml(_bytes_of(file), problems)
    check_secrets(content, problems)
    with modules_beside(file.resolve()):
        found = _file(content, load_kind, problems)
    problems.raise_any()
    problems.hide_from_now_on()
    return found


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ConfigError("file.missing", str(file), "no such file") from None
    except OSError as error:
        raise ConfigError("file.unreadable", str(file), error.strerror or str(error)) from None


def _file(content: object, load_kind: LoadKind, problems: Problems) -> RoutesFile:
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if not key.startswith(OWN_KEY)}
    file = fields_of(FileShape, content, (), problems)
    destinations = Destinations(file.get("destinations", {}), load_kind, problems)
    routes = [
        _route(value, ("routes", index), destinations, problems)
        for index, value in enumerate(file.get("routes", []))
    ]
    default = file.get("default_destination")
    goes_to = None if default is None else destinations.get(default, ("default_destination",))
    table = _together(routes, goes_to, destinations, problems)
    known = [*(route.route_id for route in routes), *([] if goes_to is None else [DEFAULT_ROUTE_ID])]
    names = {route.destination_name or route.route_id for route in [*routes, *table.by_priority()]}
    tests = {}
    for index, value in enumerate(file.get("tests", [])):
        path = ("tests", index)
        if (test := _test(value, path, known, names, problems)) is not None:
            tests[f"{problems.place(path)}: {spelled(path)}"] = test
    unused = {name: problems.place(("destinations", name)) for name in destinations.unused()}
    for name in unused if problems else ():  # by itself it harms nobody; beside mistakes it may be one more
        problems.add(("destinations", name), "destination.unused", UNUSED)
    return RoutesFile(table, tests, unused)


def _test(
    value: Any, path: KeyPath, route_ids: list[str], names: set[str], problems: Problems
) -> RouteTest | None:
    given = fields_of(TestShape, value, path, problems)
    if problems.is_lost(path):
        return None
    test = RouteTest(**{"name": "", "points": {}} | given)
    misspelt = given.keys() != value.keys()  # what is missing then has been said
    for fault in faults(test, route_ids, names):
        if not (misspelt and fault.code == "required"):
            problems.add((*path, *fault.path), fault.code, fault.message)
    return test


# -- routes -----------------------------------------------------------------------------------------


def _route(value: object, path: KeyPath, destinations: Destinations, problems: Problems) -> Route:
    given = fields_of(RouteShape, value, path, problems)
    if "destination" in given:
        given["destination"] = destinations.get(given["destination"], (*path, "destination"))
    if "priority" in given:
        given["priority"] = RoutePriority[given["priority"].upper()]
    if isinstance(given.get("condition"), dict):
        _import(given, "condition", given["condition"]["python"], path, problems)
    if given.get("transform") is not None:
        _import(given, "transform", given["transform"], path, problems)
    return _made(given, path, problems)


def _import(given: dict[str, Any], field: str, name: str, path: KeyPath, problems: Problems) -> None:
    del given[field]
    with problems.gathered((*path, field)):
        given[field] = imported(name, field)


# A route says one thing at a time: with something else for what it speaks of, it may have more to say.
def _made(given: dict[str, Any], path: KeyPath, problems: Problems) -> Route:
    nothing: dict[str, Any] = {
        "route_id": f"routes-{path[-1]}",
        "condition": "true",
        "destination": StandIn(),
    }
    instead, wrong = {**nothing, "max_owed": 1}, set[str]()
    given = nothing | given
    while True:
        try:
            return Route(**given)
        except ConfigError as error:
            name = error.where.rpartition(".")[2]
            problems.add((*path, name), error.code, error.message)
            kept = {field: value for field, value in given.items() if field != name}
            given = nothing if name in wrong else kept | {f: v for f, v in instead.items() if f == name}
            wrong.add(name)


# -- routes together --------------------------------------------------------------------------------

_OF_DESTINATION: Final = ("destination.shared_place", "destination.error")


# A table says one thing at a time as well: the first route that does not fit is left out, and so on.
def _together(
    routes: list[Route], goes_to: Destination | None, destinations: Destinations, problems: Problems
) -> RouteTable:
    left: list[tuple[KeyPath, Route]] = [(("routes", index), route) for index, route in enumerate(routes)]
    while _refusal(left) is not None:
        fit = _how_many_fit(left)
        error, (path, route) = _refusal(left[: fit + 1]), left.pop(fit)
        assert error is not None
        named = destinations.path_of(route.destination) if error.code in _OF_DESTINATION else None
        problems.add(named or (*path, error.where.rpartition(".")[2]), error.code, error.message)
    good = [route for _, route in left]
    with problems.gathered(("default_destination",)):
        return RouteTable(good, goes_to)
    return RouteTable(good)


def _how_many_fit(routes: Sequence[tuple[KeyPath, Route]]) -> int:
    fit, too_many = 0, len(routes)
    while too_many - fit > 1:
        half = (fit + too_many) // 2
        fit, too_many = (half, too_many) if _refusal(routes[:half]) is None else (fit, half)
    return fit


def _refusal(routes: Sequence[tuple[KeyPath, Route]]) -> ConfigError | None:
    try:
        RouteTable(route for _, route in routes)
    except ConfigError as error:
        return error
    return None
