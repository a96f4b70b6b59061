"""Names of the form ``module:name``, as routes files give them, and what they stand for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.conditions import said
from router.errors import ConfigError
from router.names import nearest


@contextmanager
def modules_beside(file: Path) -> Iterator[None]:
    """Let the modules in a file's folder be imported for a while."""
    folder = str(file.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def imported(path: str, what: str) -> object:
    """Return what ``module:name`` stands for.

    Args:
        path: The module, which is imported, a colon, and a name in it.
        what: What it is to be, which is also the field it is given in: ``destination``, ``transform``.

    Raises:
        ConfigError: ``<what>.import``, if the module cannot be imported; ``<what>.unknown``, if it has no
            such name, with the nearest.
    """
    module_name, _, name = path.partition(":")
    if not name:
        raise ConfigError(f"{what}.import", what, f"{path!r} is not of the form module:name")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a module does when it is run
        raise ConfigError(f"{what}.import", what, f"{path}: {said(error)}") from error
    if not hasattr(module, name):
        message = f"{module_name} has no {name!r}{nearest(name, vars(module))}"
        raise ConfigError(f"{what}.unknown", what, message)
    return getattr(module, name)
