"""Read a mapping file: what somebody says of files of bars, in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from router.errors import ConfigError
from router.layout import Layout
from router.names import nearest

_WORDS: Final = {"tz": "zone", "fold": "fold", "unit": "unit", "stamp": "stamp"}
_TABLES: Final = ("columns", "constants")
_KEYS: Final = (*_TABLES, *_WORDS)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the arguments of a `Layout` that a mapping file holds; its values are text as it is written.

    Raises:
        ConfigError: `path`, `yaml.syntax`, `yaml.duplicate_key`, `yaml.shape`, `unknown_field`, or what
            `Layout` refuses, with file and line as far as they are known.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise ConfigError("path", str(path), f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("yaml.syntax", str(path), f"is not YAML: {' '.join(str(error).split())}") from error
    found: dict[str, Any] = {}
    for name, node in _pairs(path, root).items():
        if name not in _KEYS:
            message = f"is none of {', '.join(_KEYS)}{nearest(name, _KEYS)}"
            raise ConfigError("unknown_field", _place(path, node, name), message)
        if name in _TABLES:
            found[name] = {key: _text(path, value, key) for key, value in _pairs(path, node).items()}
        else:
            found[_WORDS[name]] = _text(path, node, name)
    try:
        Layout(**found)
    except ConfigError as error:
        raise error.at(str(path)) from error
    return found


def _pairs(path: Path, node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        message = "holds no mapping: write lines such as `columns:` and, indented below, `timestamp: time`"
        raise ConfigError("yaml.shape", _place(path, node), message)
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _text(path, key, "key")
        if name in found:
            raise ConfigError("yaml.duplicate_key", _place(path, key, name), "is given twice")
        found[name] = value
    return found


def _text(path: Path, node: yaml.Node, name: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError("yaml.shape", _place(path, node, name), "is not a single text")
    return str(node.value)


def _place(path: Path, node: yaml.Node | None, name: str = "") -> str:
    line = f"{path}:{node.start_mark.line + 1}" if node is not None else str(path)
    return f"{line}: {name}" if name else line
