"""Routes files, in Python or in YAML: the one way to load either."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

from destinations import load
from router.errors import ConfigError
from router.python_routes import load_python_routes
from router.routes_file import RoutesFile
from router.table import RouteTable

_YAML: Final = (".yaml", ".yml")


def load_routes(path: str | Path) -> RouteTable:
    """Load a routes file and return its table: `load_routes_file` without the tests.

    Raises:
        ConfigError: What is wrong with it.
    """
    return load_routes_file(path).table


def load_routes_file(path: str | Path) -> RoutesFile:
    """Load a routes file and return its table and its tests.

    A file in Python is run afresh at every call; one in YAML is only read. Modules in its folder can be
    imported by it, or named in it. What they print goes to standard error: standard output is for programs.

    Raises:
        ConfigError: What is wrong with it, with its file, line and place; of a file in YAML, everything
            that is, as a `RoutesFileError`. ``file.kind``: it is neither.
    """
    suffix = Path(path).suffix.lower()
    with redirect_stdout(sys.stderr):
        if suffix == ".py":
            return load_python_routes(path)
        if suffix in _YAML:
            from router.yaml_routes import load_yaml_routes

            return load_yaml_routes(path, load)
    raise ConfigError("file.kind", str(path), f"a routes file ends in .py, .yaml or .yml, not in {suffix!r}")
