"""Admit points: the valid ones become a batch, each of the others comes back with every reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from router.batch import PointBatch, table_of
from router.checks import Checked, check_point
from router.errors import Reason
from router.originals import original_text
from router.points import NormalizedDataPoint
from router.rules import DEFAULT, Rules


@dataclass(frozen=True, slots=True)
class Refused:
    """One point that was not admitted.

    Attributes:
        index: Its position among what was given.
        original: What was given, as JSON text; numbers that are not JSON, and objects, as text.
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
    """
    if isinstance(points, PointBatch):
        return Admission(points)
    rows = _rows_of(points)
    checked = [Checked(row.__dict__) if isinstance(row, NormalizedDataPoint) else check_point(row, rules) for row in rows]
    batch = PointBatch(table_of([one.values for one in checked if one.values is not None]))
    refused = tuple(
        Refused(i, original_text(rows[i]), one.reasons, where(i) if where else None)
        for i, one in enumerate(checked)
        if one.values is None
    )
    return Admission(batch, refused, {})


def _rows_of(points: Any) -> list[Any]:
    if isinstance(points, pl.LazyFrame):
        points = points.collect()
    if isinstance(points, pa.Table | pa.RecordBatch):
        points = pl.from_arrow(points)
    if isinstance(points, pl.DataFrame):
        return points.to_dicts()
    return list(points)
