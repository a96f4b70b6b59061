"""Transforms: a route's callable applied to the rows it is to deliver, and its results checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from router.admission import admit
from router.batch import BatchRows, PointBatch, empty_frame
from router.conditions import BROKEN, said
from router.errors import TransformError
from router.points import NormalizedDataPoint
from router.route import Route
from router.rows import Positions, Rows
from router.rules import Rules
from router.schema import COLUMNS

Transform = Callable[[Any], Any]

#: Times were judged when the points were accepted; a transform is not asked about the clock again.
_RULES: Final = Rules(max_skew=timedelta(days=87_000))


@dataclass(frozen=True, slots=True)
class Transformed:
    """What became of the rows of a batch.

    Attributes:
        batch: The transformed rows, under the names they had.
        dropped: How many rows the transform gave None for, or filtered out.
        failed: Rows it raised for or gave something else for: position in the given batch, message.
        rows: Positions in the given batch of the rows in `batch`.
    """

    batch: PointBatch
    dropped: int
    failed: list[tuple[int, str]]
    rows: Rows


def apply_transform(route: Route, batch: PointBatch) -> Transformed:
    """Return the rows of a batch as the route's transform makes them; without one, as they are.

    A callable whose first parameter is annotated `PointBatch` or `polars.DataFrame` is called with
    all rows, and when it raises with halves of them, down to the row; any other is called with each
    point. Results are checked as points are on arrival; what is refused has failed.
    """
    if route.transform is None or not len(batch):
        return Transformed(batch, 0, [], Rows.all(len(batch)))
    hand_over = _COLUMN_KINDS.get(_first_annotation(route.transform))
    if hand_over is None:
        outcome = _by_point(route.transform, batch)
    else:
        outcome = _by_columns(route.transform, hand_over, batch)
    keep = np.zeros(len(batch), dtype=np.bool_)
    keep[outcome.rows] = True
    result = batch.filter(keep).with_frame(outcome.frame)
    return Transformed(result, outcome.dropped, sorted(outcome.failed), Rows(outcome.rows))


# Rows of the given batch, by position, and their new values.
@dataclass(slots=True)
class _Outcome:
    rows: Positions
    frame: pl.DataFrame
    dropped: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)


_NO_ROWS: Final = Rows([]).positions
_NO_COLUMNS: Final = empty_frame()

# In place of the batch itself: a frame can be changed in place, and other routes read the same one.
_COLUMN_KINDS: Final[dict[str, Callable[[PointBatch], object]]] = {
    "PointBatch": lambda batch: batch.with_frame(batch.frame.clone()),
    "DataFrame": lambda batch: batch.frame.clone(),
}


# "PointBatch", "DataFrame" (of Polars), or anything else: what a callable says it takes.
def _first_annotation(transform: Transform) -> str:
    try:
        parameters = inspect.signature(transform).parameters.values()
    except (TypeError, ValueError):
        return ""
    annotation = next((parameter.annotation for parameter in parameters), "")
    if isinstance(annotation, type):
        return annotation.__name__ if annotation in (PointBatch, pl.DataFrame) else ""
    named = str(annotation).strip("'\"")
    return "" if named.startswith(("pd.", "pandas.")) else named.rpartition(".")[2]


def _by_point(transform: Transform, batch: PointBatch) -> _Outcome:
    rows, made, dropped = [], [], 0
    failed: list[tuple[int, str]] = []
    for row, point in enumerate(batch):
        try:
            result = transform(point)
        except Exception as error:
            failed.append((row, said(error)))
            continue
        if result is None:
            dropped += 1
        elif isinstance(result, NormalizedDataPoint):
            rows.append(row)
            made.append(result.__dict__)
        else:
            failed.append((row, f"transform returned {type(result).__name__}, not a point or None"))
    return _checked(made, Rows(rows).positions, dropped, failed)


# Slices are taken of the frame that is already there; of a table, each would become a frame anew.
def _by_columns(
    transform: Transform, hand_over: Callable[[PointBatch], object], batch: PointBatch
) -> _Outcome:
    framed = batch.with_frame(batch.frame)
    outcomes, todo = [], [(0, len(batch))]
    while todo:
        start, stop = todo.pop()
        part, rows = framed.slice(start, stop), np.arange(start, stop, dtype=np.uint32)
        try:
            result = transform(hand_over(part))
        except BROKEN as error:
            half = (start + stop) // 2
            if half == start:
                outcomes.append(_failed(rows, said(error)))
            else:
                todo += [(half, stop), (start, half)]
        else:
            outcomes.append(_taken(result, part, rows))
    return _joined(outcomes)


def _taken(result: object, batch: PointBatch, rows: Positions) -> _Outcome:
    if result is None:
        return _Outcome(_NO_ROWS, _NO_COLUMNS, dropped=len(batch))
    try:
        frame, kept = _columns_of(result, batch)
    except TransformError as error:
        return _failed(rows, str(error))
    return _checked(frame, rows[kept], len(rows) - len(kept), [])


def _failed(rows: Positions, message: str) -> _Outcome:
    return _Outcome(_NO_ROWS, _NO_COLUMNS, failed=[(int(row), message) for row in rows])


def _joined(outcomes: list[_Outcome]) -> _Outcome:
    return _Outcome(
        np.concatenate([outcome.rows for outcome in outcomes]),
        pl.concat([outcome.frame for outcome in outcomes]),
        sum(outcome.dropped for outcome in outcomes),
        [failure for outcome in outcomes for failure in outcome.failed],
    )


# The columns a transform gave, and which rows of the batch it was given they stand for.
def _columns_of(result: object, batch: PointBatch) -> tuple[pl.DataFrame, Positions]:
    if isinstance(result, PointBatch):
        frame, kept = result.frame, _kept(result.parts, batch.parts)
    elif isinstance(result, pl.DataFrame):
        frame, kept = result, None
    else:
        raise TransformError(f"transform returned {type(result).__name__}, not a batch, a frame or None")
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise TransformError(f"transform returned columns without {', '.join(missing)}")
    if kept is None:
        kept = Rows.all(len(batch)).positions
    if len(frame) != len(kept):
        raise TransformError(
            f"transform returned {len(frame)} rows for {len(batch)}: drop rows with batch.filter()"
        )
    return frame, kept


# Which rows of a batch still have their name in another; None: those are names of something else.
def _kept(names: tuple[BatchRows, ...], given: tuple[BatchRows, ...]) -> Positions | None:
    numbers = {part.batch_id: number for number, part in enumerate(given)}
    if any(part.batch_id not in numbers for part in names):
        return None
    before, after = _keys(given, numbers), _keys(names, numbers)
    kept = Rows.of_mask(np.isin(before, after)).positions
    return kept if np.array_equal(before[kept], after) else None


def _keys(parts: tuple[BatchRows, ...], numbers: dict[str, int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    keys = [part.rows.positions.astype(np.uint64) + np.uint64(numbers[part.batch_id] << 32) for part in parts]
    return np.concatenate([np.empty(0, dtype=np.uint64), *keys])


def _checked(values: object, rows: Positions, dropped: int, failed: list[tuple[int, str]]) -> _Outcome:
    admission = admit(values, _RULES)
    failed += [
        (int(rows[refused.index]), "; ".join(map(str, refused.reasons))) for refused in admission.refused
    ]
    left = np.delete(rows, [refused.index for refused in admission.refused])
    return _Outcome(left, admission.batch.frame, dropped, failed)
