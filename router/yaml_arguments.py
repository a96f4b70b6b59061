"""The arguments of a destination as a routes file gives them, checked against what its class takes."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, SecretStr, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError

from router.check_numbers import shown
from router.conditions import said
from router.errors import ConfigError
from router.imports import imported
from router.names import nearest, nearest_name
from router.problems import KeyPath, Problems
from router.yaml_secrets import Referenced
from router.yaml_text import scalar

#: Stands for an argument that is missing or wrong, so that the class can say what else is.
_STAND_IN: Final = "stand-in"
_ANY_TYPE: Final = ConfigDict(arbitrary_types_allowed=True)


def made_of(
    make: type[Any], kind: str, given: dict[str, Any], name: str | None, path: KeyPath, problems: Problems
) -> Any | None:
    """Return an instance of a class; None if its arguments, or what it says of them, are wrong.

    Args:
        make: The class.
        kind: What the file calls it.
        given: Its arguments, by name.
        name: The name it gets; None: it is named by its arguments, or not at all.
        path: Where they are.
        problems: What is wrong so far; what is wrong with the arguments is added.
    """
    takes, hints = _takes(make), _hints(make)
    good = _checked(takes, hints, kind, given, path, problems)
    if name is not None and "name" in takes:
        good["name"] = name
    meant = {nearest_name(field, takes) for field in given if not _is_taken(field, takes)}
    absent = {field for field, parameter in takes.items() if field not in good and _is_required(parameter)}
    for field in absent.difference(given, meant):
        problems.add((*path, field), "required", f"missing: {kind} needs one")
    made = _made(make, good | dict.fromkeys(absent, _STAND_IN), absent, path, problems)
    if made is not None and name is not None:
        made.name = name
    return made


def _takes(make: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments that can be given by name; ``**`` stands for any other."""
    parameters = inspect.signature(make).parameters.values()
    return {
        "**" if p.kind is p.VAR_KEYWORD else p.name: p
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)
    }


def _is_taken(name: str, takes: Mapping[str, object]) -> bool:
    return name in takes or "**" in takes


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD


def _checked(
    takes: Mapping[str, object],
    hints: Mapping[str, Any],
    kind: str,
    given: Mapping[str, Any],
    path: KeyPath,
    problems: Problems,
) -> dict[str, Any]:
    good = {}
    for name, value in given.items():
        at, hint = (*path, name), hints.get(name, Any)
        if not _is_taken(name, takes):
            known = [known for known in takes if known != "name"]
            it_takes = f"it takes {', '.join(known) or 'nothing'}"
            message = f"{kind} takes no {name!r}{nearest(name, known)}; {it_takes}"
            problems.add(at, "unknown_field", message)
        elif not problems.is_lost(at):
            with problems.gathered(at):
                good[name] = _taken(hint, _imported(value))
    return good


# Only code makes a function or an object: {python: "module:name"} says which.
def _imported(value: Any) -> Any:
    is_named = isinstance(value, dict) and set(value) == {"python"} and isinstance(value["python"], str)
    return imported(value["python"], "argument") if is_named else value


def _taken(hint: Any, value: Any) -> Any:
    for reading in (value, scalar(value)) if isinstance(value, Referenced) else (value,):
        with suppress(ValidationError):
            return _as(hint, reading)
    given = "null" if value is None else shown(value)
    raise ConfigError("type", "", f"must be {_described(hint)}, not {given}")


# As JSON, where a list may be a tuple and a text a path, and yet 'yes' is not true, nor '5' five.
def _as(hint: Any, value: Any) -> Any:
    try:
        adapter = _adapter(hint)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return value  # a type that only the class itself can check
    try:
        text = json.dumps(value)
    except TypeError:  # something imported
        return adapter.validate_python(value, strict=True)
    return adapter.validate_json(text, strict=True)


def _adapter(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint, config=_ANY_TYPE)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(hint)  # a model, a dataclass or the like: its own configuration holds


def _hints(make: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(make.__init__)
    except (NameError, TypeError, AttributeError):  # names that are there for type checkers only
        return {}


# A class says one thing at a time: without the argument it speaks of, it may have more to say.
def _made(
    make: type[Any], given: Mapping[str, Any], absent: set[str], path: KeyPath, problems: Problems
) -> Any | None:
    left, wrong = dict(given), set(absent)
    while True:
        try:
            made = make(**left)
        except ConfigError as error:
            name = error.where.rpartition(".")[2]
            if name not in absent:
                problems.add((*path, name) if name in given else path, error.code, error.message)
            if name not in left:
                return None
            del left[name]
            wrong.add(name)
        except ValidationError as error:
            if not wrong:
                for fault in error.errors(include_url=False, include_input=False):
                    problems.add((*path, *fault["loc"]), "type", fault["msg"])
            return None
        except (Exception, SystemExit) as error:  # whatever a class of one's own may raise
            if not wrong:
                problems.add(path, "destination.error", said(error))
            return None
        else:
            return None if wrong else made


def _described(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_described, get_args(hint))))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is Callable or hint is Callable:
        return "{python: 'module:function'}"
    if isinstance(hint, type) and issubclass(hint, PurePath):
        return "text"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(repr(member.value) for member in hint)
    if inner := [_described(each) for each in get_args(hint) if each is not Ellipsis]:
        whole = _DESCRIBED.get(get_origin(hint), inspect.formatannotation(hint))
        return f"{whole} of {' and '.join(inner)}"
    return _DESCRIBED.get(get_origin(hint) or hint) or inspect.formatannotation(hint)


_DESCRIBED: Final = {
    str: "text",
    SecretStr: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}
