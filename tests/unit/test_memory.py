from __future__ import annotations

import pytest

from destinations.memory import MemoryDestination
from router.batch import PointBatch
from router.errors import TerminalError
from router.points import NormalizedDataPoint
from tests.make import make_batch, make_point


def is_small(point: NormalizedDataPoint) -> bool:
    return point.volume == 1.0


def test_memory_keeps_the_points_themselves_in_order():
    destination, points = MemoryDestination(), [make_point(symbol=symbol) for symbol in "CAB"]
    destination.write_batch(PointBatch.of(points))
    assert destination.points == points


def test_memory_counts_rows_by_route():
    destination, batch = MemoryDestination(), make_batch(3)
    for route in ("one", "one", "two"):
        destination.write_batch(batch.for_route(route))
    destination.write(make_point())
    assert [destination.rows_written(route) for route in ("one", "two", None, "other")] == [3, 3, 1, 0]


def test_memory_keeps_all_others_when_it_refuses_some():
    destination = MemoryDestination(refuse=is_small)
    points = [make_point(volume=volume) for volume in (1.0, 2.0, 1.0, 3.0)]
    with pytest.raises(TerminalError, match="2 points") as refusal:
        destination.write_batch(PointBatch.of(points))
    assert refusal.value.rows == (0, 2)
    assert destination.points == [points[1], points[3]]


def test_memory_takes_later_what_it_refuses_no_longer():
    destination = MemoryDestination(refuse=is_small)
    batch = make_batch(2, volume=1.0)
    with pytest.raises(TerminalError):
        destination.write_batch(batch)
    destination.refuse = None
    destination.write_batch(batch)
    assert destination.points == list(batch)
