"""The lines of JSON that a fleet would write of bars, some bars at a time, as a fleet takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from destinations.training.examples import examples_of
from destinations.training.lines import ExampleLines
from destinations.training.options import TrainingOptions
from router.batch import PointBatch
from router.placing import place
from router.series import History, SeriesPolicy

#: Bars in the examples of one piece: some 30 MB of lines.
_BARS: Final = 250_000


def engine_lines(batch: PointBatch, options: TrainingOptions) -> Iterator[tuple[str, bytes]]:
    """Yield each example that rows complete, by its id, with only series' windows kept between pieces.

    Args:
        batch: Rows in order of acceptance; nothing came before.
        options: What makes an example.
    """
    policy = SeriesPolicy(options.span, max_gap=options.max_gap)
    history = History.empty()
    for piece in batch.chunks(max(1, _BARS // options.context_window)):
        placed = place(history, piece.frame, policy)
        examples = examples_of(placed, options)
        lines = ExampleLines(examples, options).encode(np.arange(len(examples))).splitlines()
        yield from zip(examples.said["example_id"], lines, strict=True)
        history = placed.after()
