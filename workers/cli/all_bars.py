"""Read every bar of some files at once, as a fleet that was sent them would have taken them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import polars as pl
import typer

from router.admission import admit
from router.batch import empty_frame
from router.conditions import ColumnCondition, compile_condition
from router.files import read_bars
from router.layout import Layout
from workers.cli import screen

Bars = Annotated[
    list[Path],
    typer.Option("--bars", metavar="FILE", help="Files of raw bars, in the order in which they were sent."),
]
Where = Annotated[
    str | None,
    typer.Option(metavar="CONDITION", help="The route's condition, if it does not take every bar."),
]
Lateness = Annotated[
    float, typer.Option(min=0, help="Seconds that a bar may come behind the newest of its series.")
]


class AllBars(NamedTuple):
    """The bars of some files in their order, columns of `FRAME_SCHEMA`, and how many rows were refused."""

    frame: pl.DataFrame
    refused: int


def read_all(files: Sequence[Path], format_: str | None, layout: Layout, where: str | None = None) -> AllBars:
    """Read files; rows that the door would refuse are counted, and are no bars.

    Args:
        files: Their paths; `-` is standard input.
        format_: Their format; None: by their content and name.
        layout: What they do not say themselves.
        where: A condition as SQL text; None: every bar counts.

    Raises:
        ConfigError, DecodeError: As `router.files.read_bars`; `condition.*`.
    """
    taken = None if where is None else compile_condition(where, "--where")
    frames, refused = [empty_frame()], 0
    with screen.progress("") as bar:
        for path in files:
            task = bar.add_task(path.name, total=None, rate="")
            for chunk in read_bars(path, format_, layout=layout):
                admission = admit(chunk.rows)
                frame = admission.batch.frame
                frames.append(frame.filter(taken.expr) if isinstance(taken, ColumnCondition) else frame)
                refused += len(admission.refused)
                bar.update(task, completed=chunk.bytes_read, total=chunk.bytes_total)
    return AllBars(pl.concat(frames), refused)
