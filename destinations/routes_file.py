"""Routes files, in Python or in YAML: the one way to load either."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from router.errors import ConfigError
from router.python_routes import load_python_routes
from router.table import RouteTable
from router.yaml_routes import load_yaml_routes

_YAML: Final = (".yaml", ".yml")


def load_routes(path: str | Path) -> RouteTable:
    """Load a routes file and return its table.

    A file in Python is run afresh at every call; one in YAML is only read. Modules in its folder can be
    imported by it, or named in it.

    Raises:
        ConfigError: What is wrong with it, with its file, line and place; of a file in YAML, everything
            that is, as a `RoutesFileError`. ``file.kind``: it is neither.
    """
    from destinations import load

    suffix = Path(path).suffix.lower()
    if suffix == ".py":
        return load_python_routes(path)
    if suffix in _YAML:
        return load_yaml_routes(path, load)
    raise ConfigError("file.kind", str(path), f"a routes file ends in .py, .yaml or .yml, not in {suffix!r}")
