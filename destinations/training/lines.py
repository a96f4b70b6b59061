"""Encode examples as lines of JSON: every bar once, and every window as a piece of what that gave."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from destinations.training.examples import Examples
from destinations.training.options import TrainingOptions
from router.series import Places

_NEWLINE: Final = 10
_COMMA: Final = 44
#: Before it come the bars; within a JSON text its quotes could not stand like that.
_AFTER_BARS: Final = b',"target":'


class ExampleLines:
    """Examples as text, ready to be put together: one JSON object a line, keys as `TrainingOptions.schema`.

    Times are ISO 8601 UTC, numbers the shortest text that reads back equal, what is absent is null.

    Args:
        examples: The examples.
        options: What they were made with.
    """

    def __init__(self, examples: Examples, options: TrainingOptions) -> None:
        bars, ends = _lines(bar_columns(examples.bars, options))
        bars[ends - 1] = _COMMA
        self._bars = bars.data
        starts = np.append(0, ends)
        self._first, self._now, self._after = (
            starts[places] for places in (examples.first, examples.current, examples.current + 1)
        )
        said, ends = _lines(examples.said.select(_said_columns(examples, options)))
        self._said = said.tobytes()
        self._starts, self._ends = np.append(0, ends[:-1]) if len(ends) else ends, ends

    def encode(self, some: Places) -> bytes:
        """Return the lines of the examples at some places, in that order."""
        bars, said = self._bars, memoryview(self._said)
        found: list[bytes | memoryview] = []
        for first, now, after, start, end in zip(
            *(at[some].tolist() for at in (self._first, self._now, self._after, self._starts, self._ends)),
            strict=True,
        ):
            middle = self._said.index(_AFTER_BARS, start)
            context, current = bars[first : now - 1], bars[now : after - 1]
            found += (
                said[start:middle],
                b',"context":[',
                context,
                b'],"current":',
                current,
                said[middle:end],
            )
        return b"".join(found)


def bar_columns(bars: pl.DataFrame, options: TrainingOptions) -> pl.DataFrame:
    """Return the columns that an example says of a bar, under the names it has for them."""
    extra = [pl.col("volume")] if options.has_volume else []
    extra += [pl.col("technical_indicators").alias("indicators")] if options.has_indicators else []
    return bars.select("timestamp", "open", "high", "low", "close", *extra)


def _said_columns(examples: Examples, options: TrainingOptions) -> list[str]:
    return [name for name in options.schema().names if name in examples.said.columns]


# The lines of a frame, and where each ends.
def _lines(frame: pl.DataFrame) -> tuple[npt.NDArray[np.uint8], Places]:
    out = BytesIO()
    frame.write_ndjson(out)
    text = np.frombuffer(out.getbuffer(), dtype=np.uint8)
    return text, np.flatnonzero(text == _NEWLINE) + 1
