"""Evaluation: the rows of a batch for which the tests of a plan are true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

import numpy as np
import polars as pl

from router.batch import PointBatch
from router.conditions import BROKEN
from router.rows import Bits, Rows, bits_of
from router.thresholds import Compare, rows_beyond

#: A word is looked at by itself in batches of so many rows, and of so many rows a word, or more.
_LONG: Final = 500
_OFTEN: Final = 4


def true_of(frame: pl.DataFrame, *exprs: pl.Expr) -> list[Bits]:
    """Return the rows for which each Boolean expression is true; null is not. Their names differ.

    Raises:
        Exception: Whatever one of them raised; among it Polars' `PanicException`, which is no `Exception`.
    """
    return [bits_of(verdicts) for verdicts in _columns(frame, exprs)]


# The first column goes along so that an expression without columns has as many rows as the frame.
def _columns(frame: pl.DataFrame, exprs: Iterable[pl.Expr]) -> list[pl.Series]:
    return frame.select(pl.first().alias(""), *exprs).get_columns()[1:]


def made(frame: pl.DataFrame, exprs: Mapping[int, pl.Expr]) -> dict[int, pl.Series | None]:
    """Return what each expression gives, by place; None if it raised, which halving finds."""
    try:
        return dict(zip(exprs, _columns(frame, exprs.values()), strict=True))
    except BROKEN:
        if len(exprs) == 1:
            return dict.fromkeys(exprs)
    items, half = [*exprs.items()], len(exprs) // 2
    return made(frame, dict(items[:half])) | made(frame, dict(items[half:]))


def by_word(batch: PointBatch, column: str, places: Mapping[str, int]) -> dict[int, Bits]:
    """Return the rows of a batch in which a column has each of some words, by their places."""
    rows = dict.fromkeys(places.values(), 0)
    held = batch.dictionary(column)
    codes = held.indices.to_numpy()
    for code, word in enumerate(held.dictionary.to_pylist()):
        if word in places:
            packed = np.packbits(codes == code, bitorder="little")
            rows[places[word]] |= int.from_bytes(packed.tobytes(), "little")
    return rows


def by_pattern(batch: PointBatch, column: str, tests: Mapping[int, pl.Expr]) -> dict[int, Bits | None]:
    """Return the rows whose word in a column meets each of some tests, by place; None for one that raised.

    Nothing is returned for a batch of too few rows, or too few to a word.
    """
    if len(batch) < _LONG:
        return {}
    held = batch.dictionary(column)
    if len(batch) < len(held.dictionary) * _OFTEN:
        return {}
    words = pl.DataFrame({column: pl.from_arrow(held.dictionary)})
    codes = held.indices.to_numpy()

    @cache
    def spread(found: Bits) -> Bits:
        mask = np.zeros(len(words), dtype=np.bool_)
        mask[Rows.of_bits(found).positions] = True
        return int.from_bytes(np.packbits(mask[codes], bitorder="little").tobytes(), "little")

    verdicts = made(words, tests).items()
    return {place: None if found is None else spread(bits_of(found)) for place, found in verdicts}


def by_number(
    values: pl.Series | None, compare: Compare, places: Mapping[float, int]
) -> dict[int, Bits | None]:
    """Return the rows in which a value compares so with each of some numbers, by their places.

    Without values, for they could not be made, each is None.
    """
    if values is None:
        return dict.fromkeys(places.values())
    return dict(zip(places.values(), rows_beyond(values, compare, [*places]), strict=True))
