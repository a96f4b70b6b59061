"""Read a mapping file: what somebody says of files of bars, in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from router.layout import Layout
from router.names import nearest
from router.problems import KeyPath, Problems
from router.sources import open_file
from router.yaml_text import read_yaml

_WORDS: Final = {"tz": "zone", "fold": "fold", "unit": "unit", "stamp": "stamp"}
_TABLES: Final = ("columns", "constants")
_KEYS: Final = (*_TABLES, *_WORDS)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the arguments of a `Layout` that a mapping file holds.

    Raises:
        ConfigError: `path`, if it cannot be read.
        RoutesFileError: Something is wrong with it: every mistake, by line.
    """
    problems = Problems(str(path))
    with open_file(path) as file:
        content = read_yaml(file.read() or b"{}", problems)
    found: dict[str, Any] = {}
    for name, value in _mapping(content, (), problems).items():
        if name in _TABLES:
            found[name] = _table(name, value, problems)
        elif name in _WORDS:
            found |= _taken({_WORDS[name]: value}, value, (name,), problems)
        else:
            message = f"is none of {', '.join(_KEYS)}{nearest(name, _KEYS)}"
            problems.add((name,), "unknown_field", message)
    problems.raise_any()
    return found


def _table(name: str, value: Any, problems: Problems) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, one in _mapping(value, (name,), problems).items():
        table |= _taken({name: {key: one}}, one, (name, key), problems).get(name, {})
    return table


def _taken(arguments: dict[str, Any], value: Any, path: KeyPath, problems: Problems) -> dict[str, Any]:
    if path[0] != "constants" and not isinstance(value, str):
        problems.add(path, "type", "is not text: put it in quotes")
        return {}
    with problems.gathered(path):
        Layout(**arguments)
        return arguments
    return {}


def _mapping(value: Any, path: KeyPath, problems: Problems) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    message = "is no mapping: write lines such as `columns:` and, indented below, `timestamp: time`"
    problems.add(path, "yaml.shape", message)
    return {}
