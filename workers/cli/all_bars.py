"""Read every bar of some files at once, as a fleet that was sent them would have taken them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import polars as pl
import typer

from router.admission import admit
from router.batch import empty_frame
from router.files import read_bars
from router.layout import Layout
from workers.cli import screen

Bars = Annotated[
    list[Path],
    typer.Option("--bars", metavar="FILE", help="Files of raw bars, in the order in which they were sent."),
]
Lateness = Annotated[
    float, typer.Option(min=0, help="Seconds that a bar may come behind the newest of its series.")
]


class AllBars(NamedTuple):
    """The bars of some files in their order, columns of `FRAME_SCHEMA`, and how many rows were refused."""

    frame: pl.DataFrame
    refused: int


def read_all(files: Sequence[Path], format_: str | None, layout: Layout) -> AllBars:
    """Read files; rows that the door would refuse are counted, and are no bars.

    Raises:
        ConfigError, DecodeError: As `router.files.read_bars`.
    """
    frames, refused = [empty_frame()], 0
    with screen.progress("") as bar:
        for path in files:
            task = bar.add_task(path.name, total=None, rate="")
            for chunk in read_bars(path, format_, layout=layout):
                admission = admit(chunk.rows)
                frames.append(admission.batch.frame)
                refused += len(admission.refused)
                bar.update(task, completed=chunk.bytes_read, total=chunk.bytes_total)
    return AllBars(pl.concat(frames), refused)
