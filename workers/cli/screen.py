"""How the command line looks: consoles, progress bars, tables."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.prompt import Confirm
from rich.table import Table

from workers.report import Report

#: Of what dead letters may take, the share above which somebody must act.
CROWDED: Final = 0.8

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)  #: for people only: a program reads what goes to `out`


def say(text: str) -> None:
    """Tell the person at the terminal something that a program need not read."""
    err.print(text, soft_wrap=True)


def agreed(question: str) -> bool:
    """Ask the person at the terminal; where there is none, nobody agreed."""
    try:
        return Confirm.ask(question, console=err, default=False)
    except EOFError:
        return False


def aside() -> AbstractContextManager[object]:
    """Let what somebody's own code prints go to standard error: what goes to `out` is for programs."""
    return redirect_stdout(sys.stderr)


def as_json(value: Any) -> None:
    """Print one JSON document."""
    out.print(json.dumps(value, default=str), soft_wrap=True, markup=False)


def progress(unit: str) -> Progress:
    """Return a bar with the rate and the time left; it is drawn on a terminal only."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


@contextmanager
def counted(verb: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Draw a bar for work of so many units, and give what says that some more are done."""
    began, done = time.monotonic(), 0
    with progress(unit) as bar:
        task = bar.add_task(verb, total=total, rate="")

        def advance(count: int) -> None:
            nonlocal done
            done += count
            rate = done / max(1e-6, time.monotonic() - began)
            bar.update(task, completed=done, rate=f"{rate:,.0f} {unit}/s")

        yield advance


def number(value: float) -> str:
    """Return a count with thousands separated, or a dash for nothing to say."""
    return f"{value:,.0f}"


def size(count: float) -> str:
    """Return bytes in the unit that suits them."""
    if count < 1000:
        return f"{count:.0f} bytes"
    return f"{count / 1e3:,.1f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def held(report: Report) -> str:
    """Return how much the dead letters take of what they may, and what to do when that is nearly all."""
    most = f" of {size(report.letter_limit)}" if report.letter_limit else ""
    text = f"{number(report.dead_letters)} dead letters take {size(report.letter_bytes)}{most}"
    if report.letter_limit and report.letter_bytes > CROWDED * report.letter_limit:
        return f"[red]{text}[/]; when they are full, nothing is accepted any more: replay or drop some"
    return text


def age(seconds: float) -> str:
    """Return how long ago something was, in the unit that suits it, as a filter takes it."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def printable(text: str) -> str:
    """Return foreign text without anything that a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def word_for_word(text: str) -> str:
    """Return foreign text as markup that shows it, and does nothing else that may be in it."""
    return escape(printable(text))


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """Return a table of numbers; a column of text is named with `<` if it wraps, with `|` if not."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        text = name[0] in "<|"
        justify: JustifyMethod = "left" if text else "right"
        drawn.add_column(name.lstrip("<|"), justify=justify, overflow="fold", no_wrap=name[0] != "<")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def fields(values: Mapping[str, str]) -> Table:
    """Return names and values beside each other, the values word for word."""
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in values.items():
        drawn.add_row(name, word_for_word(value))
    return drawn


def law(report: Report) -> str:
    """Return the conservation check as one line for people, or a line for each law that does not hold."""
    if report.broken:
        return "\n".join(f"[red]✗ does not add up[/] {broken}" for broken in report.broken)
    replayed = f" + replayed {number(report.replayed)}" if report.replayed else ""
    return (
        f"[green]✓ adds up[/] accepted {number(report.accepted)}{replayed} = "
        f"invalid {number(report.invalid)} "
        f"+ waiting {number(report.waiting)} + routed {number(report.routed)}; "
        "for every route matched + replayed = delivered + dropped + dead + owed"
    )
