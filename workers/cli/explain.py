"""`candlefleet explain`: what would become of one point, and why."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer
from rich.padding import Padding
from rich.text import Text

from destinations import load_routes
from router.errors import ConfigError
from router.explain_lines import Line
from router.explaining import explain as explained
from workers.cli import reading, screen
from workers.cli.one_row import Asked, OneRow, of_file, of_input, of_point
from workers.cli.show import Json, RoutesFile
from workers.settings import settings

_STYLES: Final = {"head": "bold", "good": "green", "bad": "red", "odd": "yellow", "": ""}


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(explain)


def explain(
    file: Annotated[
        str | None,
        typer.Argument(help="A file of bars, or FILE:LINE as other commands print it; - is standard input."),
    ] = None,
    point: Annotated[str | None, typer.Option(help="The point itself, as JSON.")] = None,
    row: Annotated[int | None, typer.Option(min=1, help="Which row of the file; the first is 1.")] = None,
    format: reading.Format = None,
    symbol: reading.Symbol = None,
    timeframe: reading.Timeframe = None,
    asset_class: reading.AssetClass = None,
    source: reading.Source = None,
    maps: reading.Maps = None,
    mapping: reading.Mapping = None,
    tz: reading.Zone = None,
    fold: reading.Fold = None,
    unit: reading.Unit = None,
    stamp: reading.Stamp = None,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """Show what becomes of one point: the verdict on it, what each route says of it, where it would go.

    Files are read as `send` reads them. Nothing is sent, no destination is opened, and no broker is needed.
    Exit status 0: it is explained, whatever the verdict; 2: the routes or the point cannot be read.
    """
    constants = {"symbol": symbol, "timeframe": timeframe, "asset_class": asset_class, "source": source}
    words = {"zone": tz, "fold": fold, "unit": unit, "stamp": stamp}
    found = _found(file, point, Asked(row, format, reading.layout_of(mapping, maps, constants, words)))
    table = load_routes(routes or settings().routes)
    with screen.aside():
        story = explained(table, found.rows, where=lambda _: found.where)
    if json:
        screen.as_json(story.to_dict())
        return
    for line in story.lines():
        screen.out.print(_drawn(line))


def _found(file: str | None, point: str | None, asked: Asked) -> OneRow:
    if (file is None) == (point is None):
        message = "give either a file (- for standard input) or --point '{\"symbol\": …}'"
        raise ConfigError("required", "explain", message)
    if point is not None:
        return of_point(point, asked)
    return of_input(sys.stdin.buffer.read(), asked) if file == "-" else of_file(str(file), asked)


# What does not fit goes on where the line began.
def _drawn(line: Line) -> Padding | str:
    if not str(line):
        return ""
    mark, rest = screen.printable(line.mark), screen.printable(line.rest)
    text = Text.assemble((mark, _STYLES[line.tone]), rest, overflow="fold")
    return Padding(text, (0, 0, 0, 2 * line.depth), expand=False)
