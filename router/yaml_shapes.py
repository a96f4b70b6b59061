"""What may stand where in a routes file in YAML; the fields of a route are those of `Route`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Annotated, Any, ClassVar, Final, LiteralString, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticCustomError

from router.check_numbers import shown
from router.names import nearest, nearest_name
from router.problems import KeyPath, Problems
from router.route import Route, RoutePriority


class Shape(BaseModel):
    """The fields of a mapping; others are refused."""

    what: ClassVar[str]  #: what people call it

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


def as_text(value: object) -> str:
    """Return a value that is text.

    Raises:
        PydanticCustomError: ``type``; of a number or Boolean it says how to make it text.
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise _wrong(f"must be text, not {kind_of(value)}")
    written = str(value).lower() if isinstance(value, bool) else shown(value)
    raise _wrong(f"must be text, and {written} without quotes is {kind_of(value)}: write '{written}'")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(f"must be true or false, not {kind_of(value) if value is None else shown(value)}")


def _priority(value: object) -> RoutePriority:
    known = [priority.name.lower() for priority in RoutePriority]
    name = as_text(value).lower()
    if name in known:
        return RoutePriority[name.upper()]
    raise _wrong(f"{shown(value)} is not one of {', '.join(known)}{nearest(name, known)}", "enum")


def _condition(value: object) -> object:
    if isinstance(value, dict) and set(value) == {"python"} and isinstance(value["python"], str):
        return value
    if isinstance(value, dict | list) or value is None:
        raise _wrong("must be SQL text, or {python: 'module:name'} for a function or a Polars expression")
    return as_text(value)


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise _wrong(f"must be a list, each item after a '- ', not {kind_of(value)}")


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _wrong(f"must be a mapping of names to destinations, not {kind_of(value)}")


def _goes_to(value: object) -> object:
    if isinstance(value, dict):
        return value
    if value is None or isinstance(value, list):
        raise _wrong("must be the name of a destination, or one itself: {kind: …}")
    return as_text(value)


Text = Annotated[str, BeforeValidator(as_text)]
GoesTo = Annotated[Any, BeforeValidator(_goes_to)]

_UNKNOWN: Final = "extra_forbidden"

_OWN: Final[dict[str, Any]] = {
    "condition": Annotated[Any, BeforeValidator(_condition)],
    "destination": GoesTo,
    "transform": Text | None,
}
_READ_AS: Final[dict[Any, Any]] = {
    str: Text,
    str | None: Text | None,
    bool: Annotated[bool, BeforeValidator(_flag)],
    RoutePriority: Annotated[RoutePriority, BeforeValidator(_priority)],
}


def _route_fields() -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(Route)
    for field in fields(Route):
        if field.init:
            kind = _OWN.get(field.name) or _READ_AS.get(hints[field.name], Any)
            yield field.name, (kind, ... if field.default is MISSING else field.default)


class _RouteShape(Shape):
    what = "a route"


#: A route: the fields of `Route`, which checks their values.
RouteShape: Final[type[Shape]] = create_model("RouteShape", __base__=_RouteShape, **dict(_route_fields()))


class DestinationShape(Shape):
    """A destination: its kind, and what that takes."""

    model_config = ConfigDict(extra="allow")
    what = "a destination"

    kind: Text


class FileShape(Shape):
    """A routes file."""

    what = "a routes file"

    routes: Annotated[list[Any], BeforeValidator(_list)]
    destinations: Annotated[dict[str, Any], BeforeValidator(_mapping)] = {}
    default_destination: GoesTo = None
    tests: Annotated[list[Any], BeforeValidator(_list)] = []


def fields_of(shape: type[Shape], value: object, path: KeyPath, problems: Problems) -> dict[str, Any]:
    """Return the fields of a mapping that are as they should be; what is wrong with the others is added.

    Args:
        shape: What it should be like.
        value: The mapping, whose values stay as they are.
        path: Where it is.
        problems: What is wrong so far.
    """
    if not isinstance(value, dict):
        problems.give_up(path, "type", f"must be {shape.what}, a mapping of fields, not {kind_of(value)}")
        return {}
    faults: list[ErrorDetails] = []
    try:
        shape.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
    unknown = [str(fault["loc"][0]) for fault in faults if fault["type"] == _UNKNOWN]
    for fault in faults:
        _add(fault, shape, unknown, path, problems)
    bad = {fault["loc"][0] for fault in faults}
    return {key: item for key, item in value.items() if key not in bad}


def _add(
    fault: ErrorDetails, shape: type[Shape], unknown: list[str], path: KeyPath, problems: Problems
) -> None:
    field, known = str(fault["loc"][0]), list(shape.model_fields)
    if fault["type"] == _UNKNOWN:
        message = f"{shape.what} has no field {field!r}{nearest(field, known)}"
        problems.add((*path, field), "unknown_field", message)
    elif fault["type"] != "missing":
        problems.add((*path, field), fault["type"], fault["msg"])
    elif field not in {nearest_name(name, known) for name in unknown}:
        problems.add((*path, field), "required", f"missing: {shape.what} needs one")


def _wrong(message: str, code: LiteralString = "type") -> PydanticCustomError:
    return PydanticCustomError(code, "{message}", {"message": message})


def kind_of(value: object) -> str:
    """Return what people call a value's type."""
    return _KINDS[type(value)]


_KINDS: Final = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "a Boolean",
    type(None): "nothing",
}
