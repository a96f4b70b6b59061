"""Rows as PostgreSQL's binary COPY reads them: each cell a length and a value, big end first."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from destinations.sql_copy import encode_copy
from destinations.sql_rows import newest_rows
from router.batch import BatchRows, PointBatch
from router.points import NormalizedDataPoint
from router.rows import Rows
from tests.make import make_point

ABSENT = struct.pack(">i", -1)


def encoded(*points: NormalizedDataPoint) -> bytes:
    batch = PointBatch(PointBatch.of(points).table, [BatchRows("batch", Rows.all(len(points)), 7)])
    return encode_copy(newest_rows(batch))


def cell(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def number(value: float) -> bytes:
    return cell(struct.pack(">d", value))


def whole(value: int) -> bytes:
    return cell(struct.pack(">q", value))


def test_a_row_is_a_count_of_cells_and_the_cells():
    moment = datetime(2000, 1, 1, 0, 0, 0, 5, tzinfo=UTC)
    point = make_point(symbol="日本", timestamp=moment, volume=None, is_realtime=True)
    names = cell(b"exchange-a") + cell("日本".encode()) + cell(b"1m")
    prices = b"".join(map(number, (42_000.0, 42_001.5, 41_998.75, 42_000.5)))
    row = names + whole(5) + prices + ABSENT + cell(b"crypto") + number(0.99) + cell(b"\1")
    row += ABSENT + whole(7) + whole(0)
    assert encoded(point) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + struct.pack(">h", 15) + row + b"\xff\xff"


def test_indicators_are_json_with_its_version_and_a_moment_before_2000_is_negative():
    moment = datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)
    bytes_ = encoded(make_point(timestamp=moment, technical_indicators={"rsi": 1.5}))
    assert cell(b'\1{"rsi":1.5}') in bytes_
    assert whole(-1_000_000) in bytes_


def test_of_rows_with_and_without_a_value_each_keeps_its_own():
    points = [make_point(row=row, symbol=f"S{row}", volume=(None, 3.0)[row]) for row in range(2)]
    first, second = encoded(*points).split(cell(b"S1"))
    assert ABSENT + cell(b"crypto") in first
    assert number(3.0) + cell(b"crypto") in second
