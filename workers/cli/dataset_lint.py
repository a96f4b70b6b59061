"""`candlefleet dataset lint`: whether a trainer reads a training set, and sees every target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from destinations.training.encodings import encoding_of
from destinations.training.lengths import Lengths, Ruler
from destinations.training.lint import Linted, lint, lint_rendered
from destinations.training.lint_source import Source, source_of
from destinations.training.styles import style_of
from destinations.training.tokens import counted_by, estimated_tokens
from destinations.training.trainers import Trainer, trainer_of
from router.errors import ConfigError
from workers.cli import screen
from workers.cli.dataset import dataset_app
from workers.cli.dataset_finalize import Folder
from workers.cli.show import Json

#: How `finalize` tells bars, unless somebody chooses.
_ENCODING: Final = "json"


def register(_app: typer.Typer) -> None:
    """Add this command to those about training sets."""
    dataset_app.command("lint")(lint_dataset)


def lint_dataset(
    folder: Folder,
    trainer: Annotated[str, typer.Option(help="Who is to read it: trl-sft or openai.")] = "trl-sft",
    max_length: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens it takes of an example; the trainer's own number otherwise.",
            show_default=False,
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help="That of the finished set otherwise, or what suits the trainer.", show_default=False
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="That of the finished set otherwise, or json.", show_default=False)
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="The tokenizer.json of a model; tokens are estimated otherwise.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Look whether a trainer reads the style, and cuts no target off; exit 1 if not, and say what fits."""
    reader = trainer_of(trainer)
    source = source_of(folder)
    style, encoding = _chosen(source, reader, style, encoding)
    count = counted_by(tokenizer) if tokenizer else estimated_tokens
    measured = style if style in reader.reads else reader.reads[0]
    ruler = Ruler(measured, source.options, max_length or reader.max_length, count)
    with screen.err.status("counting tokens"):
        look = lint_rendered if source.rendered else lint
        found = look(source.tables, ruler, reader, style, encoding)
    if found.readable and not found.asked.examples:
        raise ConfigError("dataset.empty", str(folder), "holds no example yet: deliver bars to it first")
    if json:
        screen.as_json(found.to_dict() | {"tokens": "counted" if tokenizer else "estimated"})
    else:
        _print(found, folder, estimated=tokenizer is None)
    if not found.clean:
        raise typer.Exit(1)


# The style and the encoding to look at.
def _chosen(source: Source, trainer: Trainer, style: str | None, encoding: str | None) -> tuple[str, str]:
    made = (source.recipe.style, source.recipe.encoding) if source.recipe else (None, None)
    if source.rendered and (style or made[0], encoding or made[1]) != made:
        message = "its parts are not here, only what was made of them: leave --style and --encoding out"
        raise ConfigError("dataset.parts", " in ".join(filter(None, made)), message)
    style, encoding = style or made[0] or trainer.reads[0], encoding or made[1] or _ENCODING
    return style_of(style).name, encoding_of(encoding).name


def _print(found: Linted, folder: Path, *, estimated: bool) -> None:
    screen.out.print(_table(found))
    lines = [_praise(found)] if found.clean else [*_findings(found), *_ways_out(found, folder)]
    if hint := found.trainer.hints.get(found.best_style):
        lines.append(f"{found.best_style} with {found.trainer.title}: {hint}")
    if estimated:
        lines.append("tokens are estimated, rather too many than too few: --tokenizer FILE counts them")
    for line in lines:
        screen.out.print(line, soft_wrap=True)


def _table(found: Linted) -> Table:
    columns = ("|encoding", "longest", "too long", "untold", "fits with window")
    rows = [(name, *_row(one), _window(found, name)) for name, one in found.lengths.items()]
    return screen.table(columns, rows)


def _row(one: Lengths) -> tuple[str, ...]:
    return tuple(map(screen.number, (one.longest, one.cut, one.untold)))


def _window(found: Linted, name: str) -> str:
    window = found.windows.get(name)
    return "" if window is None else screen.number(window) if window else "none"


def _praise(found: Linted) -> str:
    one = found.asked
    return (
        f"[green]✓ fits[/] {screen.number(one.examples)} examples as {found.style} in {found.encoding} have "
        f"{screen.number(one.longest)} of {screen.number(found.max_length)} tokens at most: "
        f"{found.trainer.title} sees every target"
    )


def _findings(found: Linted) -> Iterator[str]:
    one = found.asked
    examples = screen.number(one.examples)
    if not found.readable:
        yield (
            f"[red]✗ not read[/] {found.trainer.title} reads {' and '.join(found.trainer.reads)}, "
            f"not {found.style}"
        )
    if one.cut:
        yield (
            f"[red]✗ cut off[/] {screen.number(one.cut)} of {examples} examples have more than "
            f"{screen.number(found.max_length)} tokens in {found.encoding}, the longest "
            f"{screen.number(one.longest)}: {found.trainer.title} keeps the start, the target is at the end"
        )
    if one.untold:
        yield (
            f"[red]✗ untold[/] {screen.number(one.untold)} of {examples} examples end with a close of zero, "
            f"or have no volume: nothing can be told against that in {found.encoding}"
        )


def _ways_out(found: Linted, folder: Path) -> Iterator[str]:
    window = found.windows.get(found.encoding)
    if len(found.lengths) == 1:
        yield "→ finish it in another style or encoding: lint it where its parts are to see what fits"
        return
    if found.fits:
        longest = screen.number(found.lengths[found.fits].longest)
        yield (
            f"→ {found.fits} fits, the longest has {longest} tokens: "
            f"candlefleet dataset finalize {screen.word_for_word(str(folder))} --style {found.best_style} "
            f"--encoding {found.fits}"
        )
    if window:
        yield f"→ {found.encoding} fits with context_window={window}: write a dataset of its own with it"
    if not found.fits and not window:
        least = min(one.longest for one in found.lengths.values() if not one.untold)
        yield f"→ nothing fits: take max_length={least} or more, if the model and its memory allow it"
