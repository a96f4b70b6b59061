"""Numbers and times as text, by the column."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import polars as pl

WHOLE_SECONDS: Final = "%Y-%m-%dT%H:%M:%S+00:00"
_MICROSECONDS: Final = "%Y-%m-%dT%H:%M:%S%.6f+00:00"


def plain_numbers(numbers: pl.Series) -> pl.Series:
    """Return the shortest texts that read back equal, each with a point, none with an exponent."""
    text = numbers.cast(pl.String)
    rows = text.str.contains("e", literal=True).arg_true()
    return text.scatter(rows, [_spelled_out(number) for number in text[rows]])


def iso_times(times: pl.Series) -> pl.Series:
    """Return times in ISO 8601, UTC, with microseconds only where there are some."""
    whole = times.to_physical() % 1_000_000 == 0
    texts = times.dt.strftime(WHOLE_SECONDS)
    return texts if whole.all() else texts.zip_with(whole, times.dt.strftime(_MICROSECONDS))


def _spelled_out(number: str) -> str:
    digits = f"{Decimal(number):f}"
    return digits if "." in digits else f"{digits}.0"
