"""`candlefleet dataset finalize`: make shards, a card and a manifest of what deliveries left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from destinations.training.finalize import Finished, finalize, recipe_of
from destinations.training.manifest import RAW, Manifest
from destinations.training.options import PURGED
from destinations.training.parts import TrainingParts
from workers.cli import screen
from workers.cli.dataset import dataset_app
from workers.cli.show import Json

Folder = Annotated[Path, typer.Argument(help="The training set's folder.", show_default=False)]


def register(_app: typer.Typer) -> None:
    """Add this command to those about training sets."""
    dataset_app.command("finalize")(finalize_dataset)


def finalize_dataset(
    folder: Folder,
    style: Annotated[
        str, typer.Option(help="What a row is: raw, prompt_completion, messages or series.")
    ] = RAW,
    encoding: Annotated[
        str | None,
        typer.Option(help="How texts tell bars: json (default), csv, bps or bps_close.", show_default=False),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Of the shards, jsonl or parquet; that of the parts otherwise.", show_default=False
        ),
    ] = None,
    rows_per_shard: Annotated[
        int | None, typer.Option(help="Examples of a shard; of some 300 MB otherwise.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Make shards that Hugging Face's load_dataset finds, a dataset card and a manifest.

    A fleet may go on writing: what it adds is in the next finished set. Where nothing is new, nothing is
    written.
    """
    parts = TrainingParts.of(folder)
    recipe = recipe_of(parts, style=style, encoding=encoding, format=format, rows=rows_per_shard)
    with screen.err.status("listing the examples"):
        total = sum(count for split, count in parts.counts().items() if split != PURGED)
    with screen.counted("finishing", total, "examples") as advance:
        finished = finalize(parts, recipe, advance)
    if json:
        screen.as_json(_told(finished))
    else:
        _print(folder, finished)


def _told(finished: Finished) -> dict[str, Any]:
    manifest = finished.manifest
    return {"made": finished.made, "purged": manifest.purged, "splits": _by_split(manifest)}


def _by_split(manifest: Manifest) -> dict[str, dict[str, int]]:
    return {
        split: {
            "examples": examples,
            "shards": sum(shard.split == split for shard in manifest.shards),
            "bytes": sum(shard.bytes for shard in manifest.shards if shard.split == split),
        }
        for split, examples in manifest.counts().items()
    }


def _print(folder: Path, finished: Finished) -> None:
    rows = [
        (split, *map(screen.number, (of["examples"], of["shards"])), screen.size(of["bytes"]))
        for split, of in _by_split(finished.manifest).items()
    ]
    screen.out.print(screen.table(("|split", "examples", "shards", "size"), rows))
    said = f"{screen.number(finished.manifest.purged)} examples across a boundary are in no split"
    screen.out.print(said)
    where = screen.word_for_word(str(folder))
    if finished.made:
        screen.out.print(f"[green]✓ finished[/] {where}: its README.md says how to load it", soft_wrap=True)
    else:
        screen.out.print(f"[green]✓ nothing new[/] {where}: it stays as it was finished", soft_wrap=True)
