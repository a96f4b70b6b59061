"""The bars of each example as JSON, and as CSV: every number reads back equal."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl

from destinations.texts import iso_times
from destinations.training.indicator_maps import structs_of
from destinations.training.options import TrainingOptions
from destinations.training.windows import Windows, frugal_numbers
from router.schema import PRICES


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
