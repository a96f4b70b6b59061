"""What a model is asked, in two sentences and the bars: nothing in it looks at a later bar."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from destinations.texts import iso_times
from destinations.training.encodings import Encoding
from destinations.training.options import DIRECTION, NEXT, RETURN, TrainingOptions
from destinations.training.windows import Windows
from router.schema import PRICES


def system(options: TrainingOptions) -> str:
    """Return what a chat begins with."""
    answer = "one word: up, down or flat" if options.target_column == DIRECTION else "one number"
    return f"You read bars of a market and answer with nothing but {answer}."


def prompts(examples: pa.Table, windows: Windows, encoding: Encoding, options: TrainingOptions) -> pl.Series:
    """Return what is asked of each example: whose bars these are and what to tell, then the bars."""
    whose = pl.DataFrame(examples.select(["symbol", "timeframe"]))
    until = iso_times(pl.Series(examples["as_of"].combine_chunks()))
    says = f", {encoding.says}" if encoding.says else ""
    head = "Bars of " + whose["symbol"] + " (" + whose["timeframe"] + ") up to " + until
    return head + f"{says}. Tell {_what(encoding, options)}.\n" + encoding.bars(windows, options)


def _what(encoding: Encoding, options: TrainingOptions) -> str:
    later = "one bar later" if options.horizon == 1 else f"{options.horizon} bars later"
    if options.target_column == DIRECTION:
        return f"whether the close {later} is up, down or flat against the last close"
    if options.target_column == RETURN:
        return f"the return from the last close to that {later}, in basis points"
    name = options.target_column.removeprefix(NEXT)
    return f"the {name.replace('_', ' ')} {later}{'' if encoding.lossless else _unit(name, options)}"


def _unit(name: str, options: TrainingOptions) -> str:
    if name in PRICES:
        return ", in basis points against the last close"
    return ", in percent of the mean volume" if name == "volume" and options.has_volume else ""
