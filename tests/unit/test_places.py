"""Findings are told with the line they are about, as far as a file says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.findings import Finding
from router.places import located

PYTHON = """\
from router import Route

common, other = {"destination": None}, 1
routes = [
    Route(
        route_id="written",
        condition="timeframe = '1d'"
        " and close > 1",
        **common,
    ),
    *(Route(route_id=f"made{n}", condition="true", **common) for n in range(2)),
]
default_destination = None
"""
YAML = """\
destinations:
  bars: {kind: memory}
default_destination: bars
routes:
  - route_id: "written"
    destination: bars
    condition: >
      timeframe = '1d'
  - {route_id: made0, condition: "true", destination: bars}
"""


def lines(path: Path, *about: tuple[str, str]) -> list[str]:
    findings = [Finding("info", "x", route_id, field, "") for route_id, field in about]
    return [one.where.removeprefix(f"{path}:") for one in located(findings, path)]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (PYTHON, "routes.py", ["7", "5", "5", "5", "", "13", "13", "4", ""]),
        (YAML, "routes.yml", ["7", "5", "6", "5", "9", "3", "3", "4", ""]),
    ],
)
def test_finding_has_the_line_of_its_field_or_of_its_route(text, name, expected, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    assert (
        lines(
            path,
            ("written", "condition"),
            ("written", "retry_delay"),
            ("written", "destination.path"),
            ("written", ""),
            ("made0", "condition"),
            ("default", "destination"),
            ("", "default_destination"),
            ("", "routes"),
            ("", "broker"),
        )
        == expected
    )
