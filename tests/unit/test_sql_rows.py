"""Rows for a table are made from columns: one an identity, the newest, in values that read back equal."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from destinations.sql_rows import encode_indicators, newest_rows, spans, values
from router.batch import BatchRows, PointBatch
from router.rows import Rows
from tests.make import make_frame, make_point

MOMENT = datetime(2024, 1, 1, 12, 30, 0, 1, tzinfo=UTC)


def make_accepted(number: int, rows: list[int], close: list[float]) -> PointBatch:
    points = [make_point(open=9.0, high=99.0, low=1.0, close=price) for price in close]
    return PointBatch(PointBatch.of(points).table, [BatchRows(f"batch-{number}", Rows(rows), number)])


def test_the_highest_acceptance_number_is_the_newest_wherever_it_stands():
    batch = PointBatch.concat([make_accepted(7, [0], [7.0]), make_accepted(5, [0], [5.0])])
    (row,) = newest_rows(batch).to_dicts()
    assert (row["close"], row["acceptance_number"], row["acceptance_row"]) == (7.0, 7, 0)


def test_the_last_row_of_one_batch_is_the_newest():
    (row,) = newest_rows(make_accepted(5, [3, 8], [3.0, 8.0])).to_dicts()
    assert (row["close"], row["acceptance_row"]) == (8.0, 8)


def test_rows_that_no_fleet_accepted_are_as_new_as_the_moment():
    before, after = (newest_rows(PointBatch(make_frame(1)))["acceptance_number"][0] for _ in range(2))
    assert 1_700_000_000_000_000 < before <= after


def test_of_batches_that_no_fleet_accepted_the_last_in_a_part_is_the_newest():
    parts = [PointBatch.of([make_point(volume=volume)]) for volume in (2.0, 1.0)]
    assert newest_rows(PointBatch.concat(parts))["volume"].to_list() == [1.0]


def test_rows_are_in_the_order_of_their_identities():
    frame = make_frame(6, ["B", "A", "C"])
    assert newest_rows(PointBatch(frame))["symbol"].to_list() == ["A", "A", "B", "B", "C", "C"]


def test_indicators_are_json_or_null():
    given = [{"rsi": 66.3, 'a"\n\u2028é': 1e-7}, None, {}]
    frame = pl.concat([make_frame(1, technical_indicators=one) for one in given])
    encoded = encode_indicators(frame).to_list()
    assert encoded == ['{"rsi":66.3,"a\\"\\n\u2028é":1e-7}', None, "{}"]


def test_a_series_spans_from_its_first_to_its_last_row():
    batch = PointBatch(make_frame(7, ["A", "B", "C"]))
    found = spans(newest_rows(batch)).sort("symbol").select("symbol", "first", "last").rows()
    moments = [f"2024-01-01 00:0{minute}:00.000000+00:00" for minute in range(3)]
    assert found == [
        ("A", moments[0], moments[2]),
        ("B", moments[0], moments[1]),
        ("C", moments[0], moments[1]),
    ]


@pytest.mark.parametrize(
    ("dialect", "moment"),
    [
        ("sqlite", "2024-01-01 12:30:00.000001+00:00"),
        ("postgresql", MOMENT),
        ("mysql", MOMENT.replace(tzinfo=None)),
    ],
)
def test_timestamps_are_utc_in_what_the_database_has_for_time(dialect, moment):
    (row,) = values(newest_rows(PointBatch.of([make_point(timestamp=MOMENT)])), dialect)
    assert row[3] == moment
