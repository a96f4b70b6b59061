"""What a Delta table's log is told of a file."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from destinations.delta_stats import partition_values, statistics
from destinations.hive import HivePartitions
from tests.make import make_frame


@pytest.mark.parametrize("symbol", ["BTC/USDT", "NULL", "a=b%2F c", "é€", "."])
def test_values_of_a_folder_are_those_it_was_named_after(symbol: str):
    ((folder, _),) = HivePartitions(["symbol", "date"]).split(make_frame(1, [symbol]))
    assert partition_values(folder) == {"symbol": symbol, "date": "2024-01-01"}


def test_no_folder_has_no_values():
    assert partition_values("") == {}


def test_statistics_keep_microseconds_and_leave_out_what_is_absent():
    moment = datetime(2024, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    table = pa.table(
        {"timestamp": [moment, moment.replace(hour=13)], "volume": pa.array([None, None], pa.float64())}
    )
    assert statistics(table) == {
        "numRecords": 2,
        "minValues": {"timestamp": "2024-01-01T12:00:00.123456Z"},
        "maxValues": {"timestamp": "2024-01-01T13:00:00.123456Z"},
        "nullCount": {"timestamp": 0, "volume": 2},
    }
