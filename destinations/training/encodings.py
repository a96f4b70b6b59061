"""How the bars of an example become text, and how its target does; `ENCODINGS` begins with what tells most.

`json` and `csv` are lossless: what they tell reads back to the very numbers. In basis points a price reads
back within half of one, in size of the current close, a return within half of one, a volume within half a
percent of the mean volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import polars as pl
import pyarrow as pa

from destinations.training.bar_texts import encode_csv, encode_json
from destinations.training.basis_points import encode_bps, encode_bps_close, read_relative, tell_relative
from destinations.training.options import DIRECTION, TrainingOptions
from destinations.training.windows import Windows, frugal_numbers
from router.errors import ConfigError
from router.names import nearest

#: The first of the encodings to choose where the very numbers matter.
LOSSLESS: Final = "csv"
#: How a target reads that has no value, such as the volume of a bar that has none.
NOTHING: Final = "null"


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way of telling bars.

    Attributes:
        name: What users call it.
        lossless: Whether the very numbers read back.
        says: What a prompt adds about the numbers.
        bars: Returns one text for each example, of its context and current bar.
        target: Returns numbers as text, one for each example; null where they cannot be told.
        read: Returns the target from the number that tells it, of an example as a row of the schema.
    """

    name: str
    lossless: bool
    says: str
    bars: Callable[[Windows, TrainingOptions], pl.Series]
    target: Callable[[pl.Series, Windows, TrainingOptions], pl.Series]
    read: Callable[[float, Mapping[str, Any], TrainingOptions], float]


def encoding_of(name: str) -> Encoding:
    """Return the encoding of that name.

    Raises:
        ConfigError: `enum`, if there is none.
    """
    if name not in ENCODINGS:
        message = f"{name!r} is not one of {', '.join(ENCODINGS)}{nearest(name, ENCODINGS)}"
        raise ConfigError("enum", "encoding", message)
    return ENCODINGS[name]


def completions(
    examples: pa.Table, windows: Windows, encoding: Encoding, options: TrainingOptions
) -> pl.Series:
    """Return the target of each example as text; null where the encoding cannot tell it.

    It is a number as the encoding writes them; `up`, `down` or `flat`; `null` if there is no value.
    """
    values = pl.Series(examples["target"].combine_chunks().field(options.target_column))
    if options.target_column == DIRECTION:
        return values.fill_null(NOTHING)
    known = values.is_finite().fill_null(value=False)
    told = encoding.target(values.set(~known, float("nan")), windows, options)
    return told.zip_with(known, pl.Series([NOTHING]))


def decode(
    completion: str, example: Mapping[str, Any], encoding: Encoding, options: TrainingOptions
) -> float | str | None:
    """Return the target that a completion tells, as of a model that was asked about an example.

    Args:
        completion: Such text as `completions` returns; white space around it does not matter.
        example: A row of the schema; a relative number is told against its bars.
        encoding: How the example was told.
        options: What it is an example of.

    Raises:
        ValueError: It is no such text.
    """
    text = completion.strip()
    if text == NOTHING:
        return None
    if options.target_column == DIRECTION:
        if text not in ("up", "down", "flat"):
            raise ValueError(f"{text!r} is not up, down or flat")
        return text
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text!r} is not a number that can be told")
    return encoding.read(number, example, options)


# As JSON has numbers: with a point, with an exponent where that is shorter.
def _tell_json(values: pl.Series, _windows: Windows, _options: TrainingOptions) -> pl.Series:
    return values.cast(pl.String)


def _tell_csv(values: pl.Series, _windows: Windows, _options: TrainingOptions) -> pl.Series:
    return frugal_numbers(values)


def _read(number: float, _example: Mapping[str, Any], _options: TrainingOptions) -> float:
    return number


_BPS: Final = "in basis points against the close before"

#: Every encoding by name, from the one that tells most to the one that takes fewest tokens.
ENCODINGS: Final = {
    encoding.name: encoding
    for encoding in (
        Encoding("json", True, "", encode_json, _tell_json, _read),
        Encoding("csv", True, "", encode_csv, _tell_csv, _read),
        Encoding("bps", False, f"prices {_BPS}", encode_bps, tell_relative, read_relative),
        Encoding("bps_close", False, f"closes {_BPS}", encode_bps_close, tell_relative, read_relative),
    )
}
