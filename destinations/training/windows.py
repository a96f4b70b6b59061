"""Windows: the bars of some examples as columns, each example's own in one piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from destinations.texts import plain_numbers

Places = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Windows:
    """The context of each example, and after it the current bar.

    Attributes:
        bars: One row a bar, by example, then by time; columns of `TrainingOptions.bar`.
        ends: Of each example the place after its last bar; the next one's bars begin there.
    """

    bars: pl.DataFrame
    ends: Places

    @classmethod
    def of(cls, examples: pa.Table) -> Self:
        """Return the bars of examples, which have the columns `context` and `current`."""
        context, current = (examples[name].combine_chunks() for name in ("context", "current"))
        lengths = pc.list_value_length(context).to_numpy().astype(np.int64)
        ends = np.cumsum(lengths + 1)
        last = np.zeros(int(lengths.sum()) + len(examples), dtype=np.bool_)
        last[ends - 1] = True
        order = np.empty(len(last), dtype=np.int64)
        order[~last] = np.arange(int(lengths.sum()))
        order[last] = np.arange(len(examples)) + int(lengths.sum())
        bars = pa.concat_arrays([context.flatten(), current]).take(pa.array(order))
        return cls(pl.DataFrame(pa.Table.from_struct_array(bars)), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def firsts(self) -> Places:
        """Of each example the place of its first bar."""
        return np.append(0, self.ends[:-1])[: len(self)]

    @property
    def lengths(self) -> Places:
        """Of each example how many bars it has."""
        return self.ends - self.firsts

    @property
    def rows(self) -> Places:
        """Of each bar the example it belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def joined(self, texts: pl.Series, separator: str, *, first: bool = True) -> pl.Series:
        """Return one text for each example, of those of its bars.

        Args:
            texts: One for each bar.
            separator: What stands between two.
            first: Whether the first bar of an example is told.
        """
        rows = self.rows
        told = pl.DataFrame({"row": rows, "text": texts})
        if not first:
            told = told.filter(np.diff(rows, prepend=-1) == 0)
        joined = told.group_by("row", maintain_order=True).agg(pl.col("text").str.join(separator))
        return joined["text"]

    def column(self, name: str) -> Values:
        """Return a column of numbers, NaN where there is none."""
        return self.bars[name].fill_null(float("nan")).to_numpy()


def frugal_numbers(numbers: pl.Series) -> pl.Series:
    """Return the shortest texts that read back equal, without exponent and without `.0`; null stays null."""
    return plain_numbers(numbers).str.strip_suffix(".0")
