"""Where the routes of a file stand: the line of each, and of each of its fields."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from router.findings import Finding
from router.problems import Problems
from router.route import DEFAULT_ROUTE_ID
from router.yaml_text import read_yaml

#: A route's id and a field of it; without a field the route itself, without an id a part of the file.
Place = tuple[str, str]


def located(findings: Iterable[Finding], path: Path) -> list[Finding]:
    """Return findings about the routes of a file with file and line, where these can be told.

    In Python they can for routes that are written out with their id; those made in a loop have no line.
    """
    found = _in_python if path.suffix.lower() == ".py" else _in_yaml
    lines = dict(found(path))
    return [finding._replace(where=_where(finding, path, lines)) for finding in findings]


def _where(finding: Finding, path: Path, lines: dict[Place, int]) -> str:
    route_id, field = finding.route_id, finding.field.partition(".")[0]
    if route_id == DEFAULT_ROUTE_ID:
        route_id, field = "", "default_destination"
    line = lines.get((route_id, field)) or lines.get((route_id, ""))
    return f"{path}:{line}" if line else ""


def _in_python(path: Path) -> Iterator[tuple[Place, int]]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Assign):
            yield from ((("", name.id), node.lineno) for name in node.targets if isinstance(name, ast.Name))
        elif isinstance(node, ast.Call):
            fields = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None}
            named = fields.get("route_id")
            if isinstance(named, ast.Constant):
                yield (str(named.value), ""), node.lineno
                yield from (((str(named.value), name), value.lineno) for name, value in fields.items())


def _in_yaml(path: Path) -> Iterator[tuple[Place, int]]:
    problems = Problems(str(path))
    content: dict[str, Any] = read_yaml(path.read_bytes(), problems)
    ids = [route["route_id"] for route in content.get("routes", [])]
    for key_path, (line, _) in problems.places.items():
        match key_path:
            case (str() as name,):
                yield ("", name), line
            case ("routes", int() as index):
                yield (ids[index], ""), line
            case ("routes", int() as index, str() as field):
                yield (ids[index], field), line
