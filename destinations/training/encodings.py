"""How the bars of an example become text, and how its target does; `ENCODINGS` begins with what tells most.

`json` and `csv` are lossless: what they tell reads back to the very numbers. In basis points a price reads
back within half of one, in size of the current close, a return within half of one, a volume within half a
percent of the mean volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from destinations.texts import iso_times
from destinations.training.basis_points import encode_bps, encode_bps_close, read_relative, tell_relative
from destinations.training.indicator_maps import structs_of
from destinations.training.options import DIRECTION, TrainingOptions
from destinations.training.windows import Windows, frugal_numbers
from router.errors import ConfigError
from router.names import nearest
from router.schema import PRICES

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
    told = encoding.target(values.set(~known, None).fill_null(np.nan), windows, options)
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
    if options.target_column != DIRECTION:
        return encoding.read(float(text), example, options)
    if text not in ("up", "down", "flat"):
        raise ValueError(f"{text!r} is not up, down or flat")
    return text


def encode_json(windows: Windows, options: TrainingOptions) -> pl.Series:
    """Return a list of objects for each example, one a bar."""
    out = BytesIO()
    bars = windows.bars
    if options.has_indicators:
        bars = bars.with_columns(pl.Series("indicators", windows.indicators))
    bars.write_ndjson(out)
    lines = pl.Series(out.getvalue().decode().split("\n")[:-1], dtype=pl.String)
    return "[" + windows.joined(lines, ",\n") + "]"


def encode_csv(windows: Windows, options: TrainingOptions) -> pl.Series:
    """Return a header for each example, then a line a bar, indicators as columns `indicators.<name>`."""
    if not options.has_indicators:
        return _csv(windows, ())
    texts = np.empty(len(windows), dtype=np.object_)
    for names, some in _by_indicators(windows).items():
        mask = np.zeros(len(windows), dtype=np.bool_)
        mask[some] = True
        texts[mask] = _csv(windows[mask], names).to_numpy()
    return pl.Series(texts, dtype=pl.String)


def _csv(windows: Windows, indicators: tuple[str, ...]) -> pl.Series:
    names = [name for name in ("timestamp", *PRICES, "volume") if name in windows.bars.columns]
    columns = [_frugal_times(windows.bars["timestamp"])]
    columns += [frugal_numbers(windows.bars[name]) for name in names[1:]]
    if indicators:
        columns += _lookups(windows, indicators)
    header = ",".join([*names, *(_quoted(f"indicators.{name}") for name in indicators)])
    lines = pl.select(pl.concat_str([c.fill_null("") for c in columns], separator=",")).to_series()
    return header + "\n" + windows.joined(lines, "\n")


# A day is its date, a minute ends with Z; ISO 8601 allows both.
def _frugal_times(times: pl.Series) -> pl.Series:
    return iso_times(times).str.strip_suffix("T00:00:00+00:00").str.replace(r"(:00)?\+00:00$", "Z")


def _lookups(windows: Windows, names: tuple[str, ...]) -> list[pl.Series]:
    found = structs_of(windows.indicators, names)
    return [frugal_numbers(pl.Series(column)) for column in found.flatten()]


def _quoted(name: str) -> str:
    if "," in name or '"' in name:
        return '"' + name.replace('"', '""') + '"'
    return name


# The names of indicators that occur together in an example, and the examples they do in.
def _by_indicators(windows: Windows) -> dict[tuple[str, ...], list[int]]:
    maps = windows.indicators
    counts = np.diff(maps.offsets.to_numpy())
    named = pl.DataFrame({"row": np.repeat(windows.rows, counts), "name": pl.Series(maps.keys)})
    found = {
        row: tuple(names)
        for row, names in named.unique().sort("row", "name").group_by("row").agg("name").rows()
    }
    by_names: dict[tuple[str, ...], list[int]] = {}
    for row in range(len(windows)):
        by_names.setdefault(found.get(row, ()), []).append(row)
    return by_names


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
