"""`candlefleet dataset verify`: compare every example of a training set with the bars it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from destinations.training.known_bars import KnownBars
from destinations.training.manifest import read_manifest
from destinations.training.mismatches import Mismatch, Verified
from destinations.training.parts import TrainingParts
from destinations.training.raw_shards import RawShards
from destinations.training.verify import Verifier, written
from destinations.training.verify import verify as compare
from workers.cli import all_bars, reading, screen
from workers.cli.all_bars import AllBars
from workers.cli.dataset import dataset_app
from workers.cli.show import Json

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The training set's folder.")]

#: Mismatches that people are shown; --json shows more.
SHOWN: Final = 20


def register(_app: typer.Typer) -> None:
    """Add this command to those about training sets."""
    dataset_app.command()(verify)


def verify(
    path: Folder,
    bars: all_bars.Bars,
    where: all_bars.Where = None,
    allowed_lateness: all_bars.Lateness = 0.0,
    partial: Annotated[
        bool, typer.Option("--partial", help="Not all bars are delivered yet: missing examples are well.")
    ] = False,
    finished: Annotated[
        bool, typer.Option("--finished", help="Compare the shards in data, not the parts they were made of.")
    ] = False,
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
    """Work out from raw bars what every example must say, and which there must be.

    The bars are read as `candlefleet send` reads them, and what a route changed in them is not known here.
    Exit status 0: nothing is wrong or missing; 1: something is; 2: something cannot be read.
    """
    constants = {"symbol": symbol, "timeframe": timeframe, "asset_class": asset_class, "source": source}
    words = {"zone": tz, "fold": fold, "unit": unit, "stamp": stamp}
    parts = TrainingParts.of(path)
    finished = finished or (not parts.parts and read_manifest(path) is not None)
    shards = RawShards.of(path) if finished else None
    given = all_bars.read_all(bars, format, reading.layout_of(mapping, maps, constants, words), where)
    known = KnownBars.of(given.frame, allowed_lateness)
    verifier = Verifier(known, (shards or parts).options, purged=shards is None)
    with screen.counted("comparing", verifier.expected, "examples") as advance:
        found = compare(verifier, written(parts) if shards is None else shards.batches(), advance)
    proven = found.proven(partial=partial)
    if json:
        screen.as_json(_described(found, given, proven=proven))
    else:
        _show(found, given, proven=proven, partial=partial)
    if not proven:
        raise typer.Exit(1)


def _described(found: Verified, given: AllBars, *, proven: bool) -> dict[str, Any]:
    known = found.bars
    said = {name: value for name, value in _plain(found).items() if value is not None}
    bars = {"bars": len(known), "series": len(known.series), "refused": given.refused}
    left_out = {"late": known.late, "replaced": known.replaced, "open": known.open}
    return {
        "proven": proven,
        **said,
        **bars,
        **left_out,
        "mismatches": list(map(_mismatch, found.mismatches)),
    }


def _plain(found: Verified) -> dict[str, Any]:
    names = ("examples", "expected", "missing", "wrong", "revisions", "indicators", "unknown_indicators")
    return {name: getattr(found, name) for name in names}


def _mismatch(one: Mismatch) -> dict[str, Any]:
    time = None if one.timestamp is None else one.timestamp.isoformat().replace("+00:00", "Z")
    return asdict(one) | {"timestamp": time}


def _show(found: Verified, given: AllBars, *, proven: bool, partial: bool) -> None:
    for one in found.mismatches[:SHOWN]:
        screen.out.print(screen.word_for_word(str(one)), soft_wrap=True)
    if (more := found.wrong + found.missing - SHOWN) > 0:
        screen.out.print(f"and about {screen.number(more)} more: --json shows the first thousand")
    screen.out.print(screen.fields(dict(_facts(found, given))))
    verdict = "[green]✓ proven[/]" if proven else "[red]✗ not proven[/]"
    missing = " so far" if partial else ""
    screen.out.print(
        f"{verdict} {screen.number(sum(found.examples.values()))} examples of"
        f" {screen.number(found.expected)} that the bars have{missing}:"
        f" {screen.number(found.wrong)} wrong, {screen.number(found.missing)} missing",
        soft_wrap=True,
    )


def _facts(found: Verified, given: AllBars) -> Iterator[tuple[str, str]]:
    known = found.bars
    yield "examples", ", ".join(f"{name} {screen.number(n)}" for name, n in found.examples.items()) or "none"
    left = {
        "late": known.late,
        "replaced": known.replaced,
        "still open": known.open,
        "refused": given.refused,
    }
    told = [f"{screen.number(count)} {why}" for why, count in left.items() if count]
    series = f"{screen.number(len(known))} in {screen.number(len(known.series))} series"
    yield "bars", f"{series}; left out: {', '.join(told)}" if told else series
    if found.revisions:
        yield "revised", f"{screen.number(found.revisions)} examples say so; the files hold one version only"
    if found.indicators is not None:
        others = f"{screen.number(found.unknown_indicators)} bars in examples have others"
        yield "indicators", f"{screen.number(found.indicators)} compared; {others}"
