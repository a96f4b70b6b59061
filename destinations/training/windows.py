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
from router.rows import Mask

Places = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Windows:
    """The context of each example, and after it the current bar.

    Attributes:
        bars: One row a bar, by example, then by time; columns of `TrainingOptions.bar`.
        lengths: Of each example how many bars it has.
    """

    bars: pl.DataFrame
    lengths: Places

    @classmethod
    def of(cls, examples: pa.Table) -> Self:
        """Return the bars of examples, of which only the columns `context` and `current` are read."""
        context, current = (examples[name].combine_chunks() for name in ("context", "current"))
        lengths = pc.list_value_length(context).to_numpy().astype(np.int64) + 1
        last = np.zeros(int(lengths.sum()), dtype=np.bool_)
        last[np.cumsum(lengths) - 1] = True
        order = np.empty(len(last), dtype=np.int64)
        order[~last] = np.arange(len(last) - len(lengths))
        order[last] = np.arange(len(last) - len(lengths), len(last))
        bars = pa.Table.from_struct_array(pa.concat_arrays([context.flatten(), current])).take(order)
        return cls(pl.DataFrame(bars), lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, some: Mask) -> Windows:
        return Windows(self.bars.filter(some[self.rows]), self.lengths[some])

    @property
    def firsts(self) -> Places:
        """Of each example the place of its first bar."""
        firsts: Places = np.cumsum(self.lengths) - self.lengths
        return firsts

    @property
    def rows(self) -> Places:
        """Of each bar the example it belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def current(self) -> pl.DataFrame:
        """Of each example the current bar."""
        return self.bars[np.cumsum(self.lengths) - 1]

    @property
    def indicators(self) -> pa.MapArray:
        """Of each bar its indicators by name, in alphabetical order: however they were kept."""
        maps = self.bars["indicators"].to_arrow().cast(pa.map_(pa.string(), pa.float64()))
        bar = np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
        entries = pa.table({"bar": bar, "name": maps.keys, "value": maps.items})
        entries = entries.sort_by([("bar", "ascending"), ("name", "ascending")]).combine_chunks()
        keys, items = (entries[name].combine_chunks() for name in ("name", "value"))
        return pa.MapArray.from_arrays(maps.offsets, keys, items, mask=maps.is_null())

    def column(self, name: str) -> Values:
        """Return a column of numbers, NaN where there is none."""
        values: Values = self.bars[name].fill_null(float("nan")).to_numpy()
        return values

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
        return told.group_by("row", maintain_order=True).agg(pl.col("text").str.join(separator))["text"]


def frugal_numbers(numbers: pl.Series) -> pl.Series:
    """Return the shortest texts that read back equal, without exponent and without `.0`; null stays null."""
    return plain_numbers(numbers).str.strip_suffix(".0")
