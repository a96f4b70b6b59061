"""`candlefleet dataset leakcheck`: show that later bars change no earlier example of a training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from destinations.training.engine_lines import engine_lines
from destinations.training.expected import Expected
from destinations.training.known_bars import KnownBars
from destinations.training.later_bars import cuts_of
from destinations.training.leakcheck import Build, LeakCheck
from destinations.training.leaks import Checked
from destinations.training.parts import read_options
from router.errors import ConfigError
from router.imports import imported, modules_beside
from workers.cli import all_bars, reading, screen
from workers.cli.dataset import dataset_app
from workers.cli.dataset_verify import Folder
from workers.cli.show import Json


def register(_app: typer.Typer) -> None:
    """Add this command to those about training sets."""
    dataset_app.command()(leakcheck)


def leakcheck(
    path: Folder,
    bars: all_bars.Bars,
    cuts: Annotated[int, typer.Option(min=2, help="At how many moments examples are built.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the moments.")] = 0,
    builder: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="What builds them, if it is not the fleet's."),
    ] = None,
    where: all_bars.Where = None,
    allowed_lateness: all_bars.Lateness = 0.0,
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
    json: Json = False,
) -> None:
    """Build a training set's examples of the bars up to several moments, and compare them byte for byte.

    Exit status 0: no later bar changes an earlier example; 1: one does, or there are no examples; 2:
    something cannot be read.
    """
    constants = {"symbol": symbol, "timeframe": timeframe, "asset_class": asset_class, "source": source}
    words = {"zone": tz, "fold": fold, "unit": unit, "stamp": stamp}
    options, build = read_options(path), _builder(builder)
    given = all_bars.read_all(bars, format, reading.layout_of(mapping, maps, constants, words), where)
    known = KnownBars.of(given.frame, allowed_lateness)
    moments = cuts_of(Expected(known, options), cuts, seed)
    check = LeakCheck(known, options, build, moments)
    with screen.counted("building", check.bars, "bars") as advance, screen.aside():
        found = check.run(advance)
    if json:
        screen.as_json(_described(found))
    else:
        _show(found)
    if not found.proven():
        raise typer.Exit(1)


def _builder(name: str | None) -> Build:
    if name is None:
        return engine_lines
    with modules_beside(Path.cwd() / name):
        build = imported(name, "builder")
    if not callable(build):
        raise ConfigError(
            "builder.type", "--builder", f"{name} is no function: give one, see docs/training-proofs.md"
        )
    return cast("Build", build)


def _described(found: Checked) -> dict[str, Any]:
    cuts = [{"until": cut.isoformat(), "examples": examples} for cut, examples in found.cuts]
    leaks = [asdict(leak) | {"cut": leak.cut.isoformat()} for leak in found.leaks]
    return {"proven": found.proven(), "cuts": cuts, "under_way": found.under_way, "leaks": leaks}


def _show(found: Checked) -> None:
    rows = [
        (cut.isoformat(), screen.number(count), _kinds(found, at))
        for at, (cut, count) in enumerate(found.cuts)
    ]
    if rows:
        screen.out.print(screen.table(("|bars that ended by", "examples", "<later bars"), rows))
    for leak in found.leaks:
        screen.out.print(screen.word_for_word(str(leak)), soft_wrap=True)
    screen.out.print(_verdict(found), soft_wrap=True)


def _verdict(found: Checked) -> str:
    if found.leaks:
        return f"[red]✗ leaky[/] in {screen.number(len(found.leaks))} ways: see docs/training-proofs.md"
    if not found.proven():
        return "[red]✗ nothing was shown[/] no example was under way at any moment: give more bars"
    examples = screen.number(found.cuts[-1][1])
    return (
        f"[green]✓ no leak[/] later bars change none of {examples} examples,"
        f" and the target alone of {screen.number(found.under_way)} that were under way"
    )


def _kinds(found: Checked, at: int) -> str:
    kinds: Sequence[str] = [leak.kind for leak in found.leaks if leak.cut == found.cuts[at][0]]
    if kinds:
        return f"[red]{', '.join(kinds)}[/]"
    return "none came" if at == len(found.cuts) - 1 else "[green]change nothing[/]"
