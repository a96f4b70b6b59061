"""Admit points: the valid ones become a batch, each of the others comes back with every reason.

Points are judged by the column (`router.columns`) as far as they are surely valid; the rest is judged
one by one (`router.checks`), which also finds the reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from router.batch import PointBatch
from router.checks import Checked, check_point
from router.columns import misaligned, surely_valid
from router.errors import Reason
from router.from_frames import columns_of, is_frame, rows_of
from router.from_rows import frame_of
from router.originals import original_text
from router.points import NormalizedDataPoint
from router.rows import Mask
from router.rules import DEFAULT, Rules
from router.tables import as_frame, table_of

__all__ = ["Admission", "Refused", "Unreadable", "admit"]

#: Below so many mappings, columns cost more than they save.
_FEW: Final = 64
_NOTHING: Final[dict[str, Any]] = {}

Notes = dict[str, dict[str, int]]


class Unreadable(NamedTuple):
    """What stands among rows for something that could not be read as one, and is refused as such."""

    original: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """One point that was not admitted.

    Attributes:
        index: Its position among what was given.
        original: What was given, as JSON text; numbers that are not JSON, and objects, as text.
            Of something unreadable: its own text.
        reasons: Every reason, in the order of the fields.
        where: Where it came from, such as `equity.csv:17`; None: nobody said.
    """

    index: int
    original: str
    reasons: tuple[Reason, ...]
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of some points.

    Attributes:
        batch: Those that are valid, in their order.
        refused: Those that are not, in their order.
        notes: By source, how many admitted points were `rounded` or `misaligned`.
    """

    batch: PointBatch
    refused: tuple[Refused, ...] = ()
    notes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def admit(points: Any, rules: Rules = DEFAULT, where: Callable[[int], str] | None = None) -> Admission:
    """Check points and keep the valid ones, in their order.

    Args:
        points: A `PointBatch` or `NormalizedDataPoint`s, which were checked before; mappings; a Polars
            or pandas frame; an Arrow table. Columns in any order, typed or as text; optional ones may
            be missing, unknown ones are ignored.
        rules: What is asked of the points.
        where: Tells where the point at a position came from.

    Raises:
        TypeError: If it is none of these.
        DecodeError: `envelope.shape`, if a table cannot be read at all.
    """
    if isinstance(points, PointBatch):
        return Admission(points)
    if is_frame(points):
        points = columns_of(points)
    if isinstance(points, pl.DataFrame):
        typed, sure = surely_valid(points, rules)
        return _joined(typed, sure, rows_of(points, np.flatnonzero(~sure)), rules, where)
    rows = _listed(points)
    if sum(isinstance(row, dict) for row in rows) >= _FEW:
        frame, fits = frame_of([row if isinstance(row, dict) else _NOTHING for row in rows])
        typed, sure = surely_valid(frame, rules)
        sure &= fits
        return _joined(typed, sure, [rows[i] for i in np.flatnonzero(~sure)], rules, where)
    nothing = np.zeros(len(rows), dtype=np.bool_)
    return _joined(None, nothing, rows, rules, where)


def _listed(points: Any) -> list[Any]:
    if isinstance(points, Mapping | NormalizedDataPoint):
        return [points]
    if isinstance(points, str | bytes) or not hasattr(points, "__iter__"):
        raise TypeError(f"{type(points).__name__} holds no points: give points, mappings, a frame or a table")
    return list(points)


def _joined(
    typed: pl.DataFrame | None,
    sure: Mask,
    others: Sequence[Any],
    rules: Rules,
    where: Callable[[int], str] | None,
) -> Admission:
    """Judge the rows outside the mask, whose originals are `others`, and put them among the sure ones."""
    positions = np.flatnonzero(~sure)
    checked = [_judged(row, rules) for row in others]
    good = [i for i, one in enumerate(checked) if one.values is not None]
    refused = tuple(
        Refused(int(at), _original(row), one.reasons, where(int(at)) if where else None)
        for at, row, one in zip(positions, others, checked, strict=True)
        if one.values is None
    )
    values = [checked[i].values or {} for i in good]
    if typed is None:
        batch = PointBatch(table_of(values))
    else:
        batch = PointBatch(_merged(typed, sure, values, positions[good]))
    return Admission(batch, refused, _notes(typed, sure, checked))


def _judged(row: Any, rules: Rules) -> Checked:
    if isinstance(row, NormalizedDataPoint):
        return Checked(row.__dict__)
    if isinstance(row, Unreadable):
        return Checked(None, row.reasons)
    if isinstance(row, Mapping):
        return check_point(row, rules)
    return Checked(None, (Reason("envelope.shape", "", "is not a point: give an object with its fields"),))


def _original(row: Any) -> str:
    return row.original if isinstance(row, Unreadable) else original_text(row)


def _merged(
    typed: pl.DataFrame, sure: Mask, values: list[dict[str, Any]], positions: np.typing.NDArray[np.intp]
) -> pl.DataFrame:
    if sure.all():
        return typed
    kept = typed.filter(sure)
    if not values:
        return kept
    order = np.argsort(np.concatenate([np.flatnonzero(sure), positions]))
    return pl.concat([kept, as_frame(table_of(values))])[order]


def _notes(typed: pl.DataFrame | None, sure: Mask, checked: Sequence[Checked]) -> Notes:
    counts: Counter[tuple[str, str]] = Counter()
    for one in checked:
        if one.values is not None and one.notes:
            counts.update((one.values["source"], note) for note in one.notes)
    late = misaligned(typed) & sure if typed is not None else sure
    if typed is not None and late.any():
        counts.update((source, "misaligned") for source in typed["source"].filter(late))
    notes: Notes = {}
    for (source, note), count in counts.items():
        notes.setdefault(source, {})[note] = count
    return notes
