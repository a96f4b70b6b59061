"""`candlefleet routes test`: run the tests of a routes file, without a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from destinations import load_routes_file
from router.errors import ConfigError
from router.route_tests import RouteTest
from router.run_tests import Difference, run_test
from router.schema import PRICES
from workers.cli import screen
from workers.cli.show import Json, routes_app
from workers.settings import settings

File = Annotated[
    Path | None, typer.Argument(help="The routes file; CANDLEFLEET_ROUTES otherwise.", show_default=False)
]


def register(_app: typer.Typer) -> None:
    """Add this command to those about routes."""
    routes_app.command("test")(run_tests)


def run_tests(file: File = None, json: Json = False) -> None:
    """Run the tests of the routes file in this process; exit 1 if one fails."""
    path = file or settings().routes
    table, tests, _ = load_routes_file(path)
    if not tests:
        raise ConfigError("test.missing", str(path), "holds no tests: add `tests`, see docs/routes.md")
    with screen.aside():
        found = {where: run_test(test, table) for where, test in tests.items()}
    failed = sum(map(bool, found.values()))
    if json:
        screen.as_json(
            {
                "passed": len(found) - failed,
                "failed": failed,
                "tests": [_told(where, tests[where], differences) for where, differences in found.items()],
            }
        )
    else:
        for where, differences in found.items():
            _show(where, tests[where], differences)
        colour = "red" if failed else "green"
        screen.out.print(f"[{colour}]{len(found) - failed} passed, {failed} failed[/]")
    if failed:
        raise typer.Exit(1)


def _told(where: str, test: RouteTest, differences: Sequence[Difference]) -> dict[str, object]:
    return {
        "name": test.name,
        "where": where,
        "passed": not differences,
        "differences": [difference._asdict() for difference in differences],
    }


def _show(where: str, test: RouteTest, differences: Sequence[Difference]) -> None:
    mark = "[red]✗[/]" if differences else "[green]✓[/]"
    screen.out.print(f"{mark} {screen.word_for_word(test.name)}", soft_wrap=True)
    if not differences:
        return
    screen.out.print(f"  {escape(where)}", soft_wrap=True)
    points = test.each_point()
    for index in dict.fromkeys(difference.point for difference in differences):
        screen.out.print(f"  {screen.word_for_word(_line(points[index]))}", soft_wrap=True)
        for _, what, expected, got in (found for found in differences if found.point == index):
            screen.out.print(f"    {escape(what)}")
            screen.out.print(f"      [green]expected[/] {screen.word_for_word(expected)}", soft_wrap=True)
            screen.out.print(f"      [red]got[/]      {screen.word_for_word(got)}", soft_wrap=True)


def _line(point: Mapping[str, object]) -> str:
    told = ("symbol", "timeframe", "timestamp", "asset_class", "source")
    prices = " ".join(f"{name} {point[name]}" for name in (*PRICES, "volume"))
    return f"{' '.join(str(point[name]) for name in told)} {prices}"
