"""Write points as CSV."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Final

import polars as pl

from destinations.file import FileDestination
from destinations.records import Durability
from destinations.texts import WHOLE_SECONDS, iso_times, plain_numbers
from router.schema import PRICES

CSV_COLUMNS: Final = (
    "timestamp",
    *PRICES,
    "volume",
    "symbol",
    "asset_class",
    "timeframe",
    "source",
    "data_quality_score",
)
CSV_HEADER: Final = ",".join(CSV_COLUMNS).encode() + b"\n"

_NUMBERS: Final = (*PRICES, "volume", "data_quality_score")
_FREE_TEXT: Final = ("symbol", "source")

#: From here up, and from there down to zero, Polars writes a number with an exponent.
_HUGE: Final = 1e16
_TINY: Final = 1e-5

#: What makes a spreadsheet read a cell as a formula; the last four are the full-width = + - @.
#: Source: OWASP, CSV Injection.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class CSVDestination(FileDestination):
    """CSV files, one line a point, by default one file for each symbol, timeframe and UTC day.

    The arguments are those of `FileDestination`, and:

    Args:
        include_headers: Whether each file starts with one line of column names.
        guard_formulas: Whether a symbol or source that a spreadsheet would run gets an apostrophe in front.
    """

    format = "csv"

    def __init__(
        self,
        path: str | Path,
        filename_pattern: str = "{symbol}_{timeframe}_{date}.csv",
        append: bool = True,
        include_headers: bool = True,
        compression: str | None = None,
        *,
        name: str | None = None,
        durability: Durability = "power",
        shared: bool = False,
        guard_formulas: bool = True,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(
            path,
            filename_pattern,
            append,
            compression,
            name=name,
            durability=durability,
            shared=shared,
            header=CSV_HEADER if include_headers else b"",
        )
        self.guard_formulas = guard_formulas

    def encode(self, frame: pl.DataFrame) -> bytes:
        """Return the points as CSV without a header."""
        return encode_csv(frame, guard_formulas=self.guard_formulas)


def encode_csv(frame: pl.DataFrame, *, guard_formulas: bool = True) -> bytes:
    """Return one CSV line per point, in order, of the eleven `CSV_COLUMNS`, without a header.

    Timestamps are ISO 8601 UTC, with microseconds only where there are some. Numbers are the shortest
    text that reads back equal, never with an exponent; an absent volume is empty, zero is 0.0. A line
    depends on its own point alone.

    Args:
        frame: Points as columns of `FRAME_SCHEMA`.
        guard_formulas: Put an apostrophe before a symbol or source that starts as a formula does.
    """
    columns = [*_exact_times(frame), *_without_exponents(frame), *(_guarded(frame) if guard_formulas else ())]
    out = BytesIO()
    frame.select(CSV_COLUMNS).with_columns(columns).write_csv(
        out, include_header=False, datetime_format=WHOLE_SECONDS
    )
    return out.getvalue()


def _exact_times(frame: pl.DataFrame) -> list[pl.Series]:
    times = frame["timestamp"]
    return [] if (times.to_physical() % 1_000_000 == 0).all() else [iso_times(times)]


def _without_exponents(frame: pl.DataFrame) -> list[pl.Series]:
    size = pl.col(_NUMBERS).abs()
    extreme = frame.select(((size >= _HUGE) | ((size < _TINY) & (size != 0))).any()).row(0, named=True)
    return [plain_numbers(frame[name]) for name, is_so in extreme.items() if is_so]


def _guarded(frame: pl.DataFrame) -> list[pl.Expr]:
    return [
        pl.when(_starts_formula(pl.col(name))).then("'" + pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name in _FREE_TEXT
        if frame.select(_starts_formula(pl.col(name).unique()).any()).item()
    ]


def _starts_formula(text: pl.Expr) -> pl.Expr:
    return text.str.head(1).is_in(_FORMULA_STARTS)
