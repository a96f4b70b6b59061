"""Routes files in Python: run, and what they define as a table."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from router.conditions import said
from router.errors import ConfigError
from router.imports import modules_beside
from router.names import nearest
from router.problems import spelled
from router.route_tests import RouteTest, faults
from router.routes_file import RoutesFile
from router.table import RouteTable


def load_python_routes(path: str | Path) -> RoutesFile:
    """Run a routes file and return its table and its tests.

    The file is Python and defines ``routes = [Route(...), ...]`` with an optional
    ``default_destination``, or ``router = DataRouter([...], default_destination=...)``; and maybe
    ``tests = [RouteTest(...), ...]``. Modules beside it can be imported by it. It runs afresh at every
    call.

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
        table = _table_of(module.__dict__)
        return RoutesFile(table, _tests_of(module.__dict__, table, str(path)))
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
    with modules_beside(file):
        # Compiled here, not imported: a cached .pyc of an edit within the same second would be run instead.
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # noqa: S102  # the operator's own file


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


def _tests_of(namespace: dict[str, Any], table: RouteTable, path: str) -> dict[str, RouteTest]:
    tests = namespace.get("tests", [])
    if not isinstance(tests, list | tuple):
        raise ConfigError("type", "tests", f"must be a list of RouteTest, not {type(tests).__name__}")
    known = [route.route_id for route in table.by_priority()]
    for index, test in enumerate(tests):
        if not isinstance(test, RouteTest):
            raise ConfigError("type", f"tests[{index}]", f"must be a RouteTest, not {test!r}")
        for fault in faults(test, known, table.destinations()):
            raise ConfigError(fault.code, spelled(("tests", index, *fault.path)), fault.message)
    return {f"{path}: tests[{index}]": test for index, test in enumerate(tests)}
