from __future__ import annotations

import io
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.jsonl_file import JSONLinesDestination, StandardOutputDestination, encode_jsonl
from router.batch import PointBatch
from router.errors import ConfigError, UnavailableError
from router.points import NormalizedDataPoint
from router.schema import COLUMNS
from tests.make import START, make_batch, make_frame, make_point

INDICATORS: list[dict[str, float] | None] = [None, {}, {"rsi": 50.5, "sma 20": -0.0}, {'a"b': 1e-7}]

floats = st.floats(allow_nan=False, allow_infinity=False)


def objects_of(points: list[NormalizedDataPoint]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in encode_jsonl(PointBatch.of(points).frame).splitlines()]


def test_jsonl_line_holds_all_thirteen_fields_of_one_point():
    assert encode_jsonl(make_frame(1)) == (
        b'{"timestamp":"2024-01-01T00:00:00+00:00","open":42000.0,"high":42001.5,"low":41998.75,'
        b'"close":42000.5,"volume":12.5,"symbol":"BTC/USDT","asset_class":"crypto","timeframe":"1m",'
        b'"source":"exchange-a","data_quality_score":0.99,"is_realtime":false,"technical_indicators":null}\n'
    )


def test_jsonl_of_no_points_is_nothing():
    assert encode_jsonl(make_frame(0)) == b""


def test_jsonl_objects_are_the_points_they_were():
    points = [make_point(technical_indicators=each, volume=None) for each in INDICATORS]
    points += [make_point(timeframe="tick", timestamp=START.replace(microsecond=1), is_realtime=True)]
    objects = objects_of(points)
    assert [NormalizedDataPoint(**each) for each in objects] == points
    assert all(tuple(each) == COLUMNS for each in objects)


def test_jsonl_indicators_are_an_object_or_null():
    objects = objects_of([make_point(technical_indicators=each) for each in INDICATORS])
    assert [each["technical_indicators"] for each in objects] == INDICATORS


def test_jsonl_tells_an_absent_volume_from_zero():
    objects = objects_of([make_point(volume=volume) for volume in (None, 0.0)])
    assert [each["volume"] for each in objects] == [None, 0.0]


@given(number=floats)
def test_jsonl_number_reads_back_equal(number: float):
    line = encode_jsonl(make_frame(1).with_columns(volume=pl.lit(number)))
    assert json.loads(line)["volume"] == number


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_jsonl_text_reads_back_equal_from_one_line(text: str):
    data = encode_jsonl(make_frame(1).with_columns(symbol=pl.lit(text)))
    assert data.count(b"\n") == 1
    assert json.loads(data)["symbol"] == text


@given(stamp=st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)))
def test_jsonl_timestamp_is_iso_8601_utc(stamp: datetime):
    stamp = stamp.replace(tzinfo=START.tzinfo)
    times = pl.Series("timestamp", [stamp], pl.Datetime("us", "UTC"))
    shown = json.loads(encode_jsonl(make_frame(1).with_columns(times)))["timestamp"]
    assert datetime.fromisoformat(shown) == stamp
    assert shown.endswith("+00:00")


def test_jsonl_files_are_named_after_symbol_timeframe_and_utc_day(tmp_path: Path):
    batch = make_batch(2)
    destination = JSONLinesDestination(tmp_path, durability="process")
    destination.write_batch(batch)
    destination.close()
    assert (tmp_path / "BTC%2FUSDT_1m_20240101.jsonl").read_bytes() == encode_jsonl(batch.frame)


def test_jsonl_destination_points_to_the_one_for_standard_output():
    with pytest.raises(ConfigError, match="StandardOutputDestination"):
        JSONLinesDestination("-")


class Output:
    """Standard output as bytes."""

    def __init__(self, buffer: io.RawIOBase | io.BytesIO) -> None:
        self.buffer = buffer


class BrokenPipe(io.BytesIO):
    """A pipe that nobody reads."""

    def write(self, _: object) -> int:
        raise BrokenPipeError


def test_standard_output_takes_one_line_a_point(monkeypatch: pytest.MonkeyPatch):
    batch, out = make_batch(3), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Output(out))
    StandardOutputDestination().write_batch(batch)
    assert out.getvalue() == encode_jsonl(batch.frame)


def test_standard_output_that_nobody_reads_is_not_available(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", Output(BrokenPipe()))
    with pytest.raises(UnavailableError, match="nobody reads"):
        StandardOutputDestination().write_batch(make_batch(1))
