"""`candlefleet dataset splits`: what the splits of a training set reach over, and that they are apart."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from destinations.training.apart import Leak, Span, Splits, look_at
from workers.cli import screen
from workers.cli.dataset import dataset_app
from workers.cli.dataset_finalize import Folder
from workers.cli.show import Json

#: Examples that are named for a person; a program gets all.
_NAMED: Final = 20


def register(_app: typer.Typer) -> None:
    """Add this command to those about training sets."""
    dataset_app.command("splits")(splits)


def splits(
    folder: Folder,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 unless every label ends before any later split begins.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the splits of a training set: how many examples, and over what times.

    With --check: of every two splits the last label of the earlier, and the embargo after it, end before the
    first bar of the later begins, over all symbols; otherwise the examples are named, and it exits 1.
    """
    found = look_at(folder)
    if json:
        screen.as_json(_told(found))
    else:
        _print(found, check=check)
    if check and found.leaks:
        raise typer.Exit(1)


def _told(found: Splits) -> dict[str, Any]:
    return {
        "looked_at": "shards" if found.finished else "parts",
        "behind": found.behind,
        "purged": found.purged,
        "embargo": found.embargo.total_seconds(),
        "splits": [_with_texts(asdict(span)) for span in found.spans],
        "leaks": [_with_texts(asdict(leak)) for leak in found.leaks],
    }


def _with_texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}


def _print(found: Splits, *, check: bool) -> None:
    times = ("<first context", "<last context", "<first label ends", "<last label ends")
    rows = [_row(span) for span in found.spans]
    screen.out.print(screen.table(("|split", "examples", *times), rows))
    looked = "finished shards" if found.finished else "parts"
    purged = screen.number(found.purged)
    screen.out.print(
        f"from the {looked}, times in UTC; {purged} examples across a boundary are in no split",
        soft_wrap=True,
    )
    if found.behind:
        screen.out.print("[yellow]parts were written since[/]: finalize again to have them in the shards")
    if not check:
        return
    for leak in found.leaks:
        _print_leak(leak)
    if not found.leaks:
        embargo = f", and {found.embargo.total_seconds():,.15g} seconds of embargo," if found.embargo else ""
        text = f"[green]✓ apart[/] every label{embargo} ends before any later split begins"
        screen.out.print(text, soft_wrap=True)


def _row(span: Span) -> tuple[str, ...]:
    times = (span.first_context_start, span.last_context_start, span.first_label_end, span.last_label_end)
    return (span.split, screen.number(span.examples), *(_moment(time) for time in times))


def _moment(time: datetime | None) -> str:
    return "" if time is None else time.replace(tzinfo=None).isoformat(" ")


def _print_leak(leak: Leak) -> None:
    screen.out.print(
        f"[red]✗ {leak.earlier} reaches into {leak.later}[/]: its last label ends "
        f"{_moment(leak.last_label_end)}, {leak.later} begins {_moment(leak.first_context_start)}; "
        f"{screen.number(len(leak.examples))} examples are not apart",
        soft_wrap=True,
    )
    for example in leak.examples[:_NAMED]:
        screen.out.print(f"  {screen.word_for_word(example)}", soft_wrap=True)
    if len(leak.examples) > _NAMED:
        screen.out.print(f"  and {screen.number(len(leak.examples) - _NAMED)} more: --json has all")
