"""Prepare rows for their destination: late ones set aside, transformed, placed among the bars before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import polars as pl

from router.batch import PointBatch
from router.placing import place
from router.route import Route
from router.rows import Positions, Rows
from router.series import History, Placed, SeriesPolicy, Standing
from router.transform_history import transform_history
from router.transforms import Transformed, apply_transform

#: Who needs the bars before: each has windows of its own, since a transform changes bars.
Stage = Literal["transform", "destination"]
#: Gives the windows of the series that some rows are of.
Recall = Callable[[Stage, pl.DataFrame], History]

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """What one stage knew before some rows, and which rows it was given.

    Attributes:
        stage: Whose windows they are.
        history: The windows as they were.
        frame: The rows it was given.
        rows: Which rows of the batch these are.
        placed: All of them, placed.
        policy: What it needs.
    """

    stage: Stage
    history: History
    frame: pl.DataFrame
    rows: Positions
    placed: Placed
    policy: SeriesPolicy

    def before(self, stop: int) -> Placed:
        """Return how the windows change by the rows of the batch before one."""
        count = int(np.searchsorted(self.rows, stop))
        if count == len(self.rows):
            return self.placed
        return place(self.history, self.frame[:count], self.policy)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows of a batch on their way to a destination.

    Attributes:
        transformed: What became of them; its batch has a standing if the destination needs one.
        late: Rows that came too late for their series: position in the batch, and why.
        windows: The windows that change by them.
    """

    transformed: Transformed
    late: Sequence[tuple[int, str]]
    windows: Sequence[Window]


def prepare(route: Route, batch: PointBatch, recall: Recall) -> Prepared:
    """Return the rows of a batch as a route's destination is to be given them.

    Where the transform or the destination has a `history`, rows are placed among the bars before them, and
    those that come too late for it are left out.
    """
    windows: list[Window] = []
    given, rows = _stand(route, "transform", batch, Rows.all(len(batch)).positions, recall, windows)
    transformed = apply_transform(route, given)
    failed = [(int(rows[row]), why) for row, why in transformed.failed]
    rows = rows[transformed.rows.positions]
    given = transformed.batch.with_standing(None)  # the destination has bars of its own
    given, rows = _stand(route, "destination", given, rows, recall, windows)
    late = [(int(w.rows[row]), why) for w in windows for row, why in w.placed.late.items()]
    return Prepared(Transformed(given, transformed.dropped, failed, Rows(rows)), late, windows)


def prepare_alone(route: Route, batch: PointBatch) -> Transformed:
    """Return the rows of a batch as a route's destination is to be given them, had no bar come before."""
    return prepare(route, batch, lambda *_: History.empty()).transformed


def history_of(route: Route, stage: Stage) -> SeriesPolicy | None:
    """Return what a route's transform or destination needs of the bars before; None: nothing."""
    policy = (
        transform_history(route.transform)
        if stage == "transform"
        else getattr(route.destination, "history", None)
    )
    if not isinstance(policy, SeriesPolicy):
        return None
    lateness = round((route.allowed_lateness or 0) * _SECOND)
    return replace(policy, allowed_lateness=lateness)


def needs_history(route: Route) -> bool:
    """Return whether a route keeps windows: its rows must then come in order, one part at a time."""
    return any(history_of(route, stage) is not None for stage in ("transform", "destination"))


def _stand(
    route: Route, stage: Stage, batch: PointBatch, rows: Positions, recall: Recall, windows: list[Window]
) -> tuple[PointBatch, Positions]:
    policy = history_of(route, stage)
    if policy is None or not len(batch):
        return batch, rows
    frame = batch.frame
    history = recall(stage, frame)
    placed = place(history, frame, policy)
    windows.append(Window(stage, history, frame, rows, placed, policy))
    keep = np.ones(len(batch), dtype=np.bool_)
    keep[list(placed.late)] = False
    return batch.with_standing(Standing(placed)).filter(keep), rows[keep]
