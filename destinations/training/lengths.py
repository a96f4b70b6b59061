"""How long examples are to a model, in one encoding or another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from destinations.training.options import TrainingOptions
from destinations.training.styles import render, tellable
from destinations.training.tokens import Count

#: Of the examples that are too long so many are kept.
_KEPT: Final = 16
#: Tokens that a chat template adds for each message. That of Llama 3 adds most of those in use: 5, and once
#: some 25 for the date.
_TEMPLATE: Final = 16


@dataclass(slots=True)
class Lengths:
    """How many tokens examples have in one encoding.

    Attributes:
        most: Tokens that an example may have.
        examples: How many there are.
        cut: How many have more.
        untold: How many have a target that cannot be told.
        longest: Tokens of the longest.
        worst: Some of those that are too long, with their tokens, the longest first.
    """

    most: int
    examples: int = 0
    cut: int = 0
    untold: int = 0
    longest: int = 0
    worst: list[tuple[int, pa.Table]] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether all can be told, and are short enough."""
        return not self.cut and not self.untold

    def add(self, examples: pa.Table, tokens: pl.Series) -> None:
        """Count some more.

        Args:
            examples: They themselves.
            tokens: Of each how many it has; null: its target cannot be told.
        """
        self.examples += len(examples)
        self.untold += tokens.null_count()
        self.cut += int((tokens > self.most).sum())
        longest = _most(tokens)
        self.longest = max(self.longest, longest)
        if longest > self.most:
            self.worst.append((longest, examples.take([tokens.arg_max()])))
            self.worst = sorted(self.worst, key=itemgetter(0), reverse=True)[:_KEPT]


@dataclass(frozen=True, slots=True)
class Ruler:
    """What measures examples.

    Attributes:
        style: The style whose texts are measured.
        options: What the examples are.
        most: Tokens that one may have.
        count: Counts the tokens of texts.
    """

    style: str
    options: TrainingOptions
    most: int
    count: Count

    def measure(self, batches: Iterable[pa.Table], windows: Mapping[str, int]) -> dict[str, Lengths]:
        """Return the lengths of all examples in some encodings.

        Args:
            batches: The examples.
            windows: By encoding, of how many bars each is to be.
        """
        found = {encoding: Lengths(self.most) for encoding in windows}
        for examples in batches:
            for encoding, window in windows.items():
                found[encoding].add(examples, self.tokens(examples, encoding, window))
        return found

    def measure_rendered(self, batches: Iterable[pa.Table]) -> Lengths:
        """Return the lengths of examples that are rows of the style already."""
        found = Lengths(self.most)
        for rows in batches:
            found.add(rows, self._count(rows))
        return found

    def tokens(self, examples: pa.Table, encoding: str, window: int) -> pl.Series:
        """Return how many tokens each example of so many bars has; null: its target cannot be told."""
        examples = shortened(examples, window)
        told = tellable(examples, encoding, self.options)
        some = examples if told.all() else examples.filter(pa.array(told))
        counts = np.zeros(len(examples), dtype=np.int64)
        counts[told] = self._count(render(some, self.style, encoding, self.options)).to_numpy()
        return pl.select(pl.when(pl.Series(told)).then(pl.Series(counts))).to_series()

    def window_for(self, examples: pa.Table, encoding: str, below: int) -> int:
        """Return the most bars, fewer than `below`, with which these examples are short enough; 0: none."""
        windows = range(2, below)
        fit = bisect_right(windows, self.most, key=lambda bars: _most(self.tokens(examples, encoding, bars)))
        return windows[fit - 1] if fit else 0

    # Messages get what the model's template says around each, a pair the token that ends it.
    def _count(self, rows: pa.Table) -> pl.Series:
        return self.count(_whole(rows)) + (3 * _TEMPLATE if self.style == "messages" else 1)


def shortened(examples: pa.Table, window: int) -> pa.Table:
    """Return examples of so many bars at most: the last ones, up to the current."""
    context = examples["context"].combine_chunks()
    lengths = pc.list_value_length(context).to_numpy()
    kept = np.minimum(lengths, window - 1)
    if (kept == lengths).all():
        return examples
    after = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum())
    bars = context.flatten().filter(pa.array(after <= np.repeat(kept, lengths)))
    ends = pa.array(np.append(0, np.cumsum(kept)), pa.int32())
    place = examples.schema.get_field_index("context")
    shorter = pa.ListArray.from_arrays(ends, bars, context.type)
    return examples.set_column(place, examples.schema.field(place), shorter)


def _most(tokens: pl.Series) -> int:
    most = tokens.max()
    return most if isinstance(most, int) else 0


# What a model reads of an example, in one text.
def _whole(rendered: pa.Table) -> pl.Series:
    frame = pl.DataFrame(rendered)
    if "messages" in frame.columns:
        contents = pl.col("messages").list.eval(pl.element().struct.field("content"))
        return frame.select(contents.list.join("\n")).to_series()
    return frame.select(pl.col("prompt") + pl.col("completion")).to_series()
