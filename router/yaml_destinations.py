"""The destinations of a routes file in YAML: by name, or where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from router.batch import PointBatch
from router.names import NAME_RULE, is_name, nearest, nearest_name
from router.problems import KeyPath, Problems
from router.route import Destination
from router.yaml_arguments import made_of
from router.yaml_secrets import resolved
from router.yaml_shapes import DestinationShape, fields_of

#: Gives the class of a kind of destination, or raises a ConfigError.
LoadKind = Callable[[str], type[Any]]


class StandIn:
    """Stands where a destination could not be made, so that the rest of the file can be looked at."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def open(self) -> None:
        """Do nothing."""

    def write_batch(self, batch: PointBatch) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Destinations:
    """Makes the destinations of a file, and knows which of the named ones were used.

    Args:
        named: What stands under ``destinations``.
        load_kind: Gives the class of a kind.
        problems: What is wrong so far; what is wrong with destinations is added.
    """

    def __init__(self, named: dict[str, Any], load_kind: LoadKind, problems: Problems) -> None:
        self._load_kind = load_kind
        self._problems = problems
        self._used: set[str] = set()
        self._named = {name: self._make_named(name, value) for name, value in named.items()}

    def get(self, value: object, path: KeyPath) -> Destination:
        """Return the destination that a text names, or that a mapping describes; or a stand-in."""
        if not isinstance(value, str):
            return self._make(value, path, None)
        if value not in self._named:
            message = f"no destination is named {value!r}{nearest(value, self._named)}"
            self._problems.add(path, "destination.undefined", message)
            self._used.add(nearest_name(value, self._named) or "")
            return StandIn()
        self._used.add(value)
        return self._named[value]

    def path_of(self, destination: object) -> KeyPath | None:
        """Return where a destination is that has a name in the file; None: it stands where it is used."""
        found = (name for name, known in self._named.items() if known is destination)
        return next((("destinations", name) for name in found), None)

    def unused(self) -> Iterable[str]:
        """Return the names that nothing goes to."""
        return self._named.keys() - self._used

    def _make_named(self, name: str, value: object) -> Destination:
        path = ("destinations", name)
        if not is_name(name):
            message = f"a destination's name is {NAME_RULE}, not {name!r}"
            self._problems.add(path, "destination.name", message)
        if isinstance(value, dict) and "name" in value:
            message = f"its key is its name already: {name!r}"
            self._problems.add((*path, "name"), "unknown_field", message)
            value = {key: item for key, item in value.items() if key != "name"}
        return self._make(value, path, name if is_name(name) else None)

    def _make(self, value: object, path: KeyPath, name: str | None) -> Destination:
        given = fields_of(DestinationShape, value, path, self._problems)
        kind = given.pop("kind", None)
        if kind is None:
            return StandIn(name)
        with self._problems.gathered((*path, "kind")):
            return self._of_kind(kind, given, path, name)
        return StandIn(name)

    def _of_kind(self, kind: str, given: dict[str, Any], path: KeyPath, name: str | None) -> Destination:
        make = self._load_kind(kind)
        arguments = resolved(given, path, self._problems)
        made: Destination | None = made_of(make, kind, arguments, name, path, self._problems)
        return StandIn(name) if made is None else made
