"""Line protocol by the column."""

from __future__ import annotations

import math

import pytest

from destinations.influxdb_lines import encode_line_protocol
from router.batch import PointBatch
from tests.make import make_frame, make_point

TAGS = "asset_class=crypto,source=exchange-a,symbol=BTC/USDT,timeframe=1m"
PRICES = "open=42000.0,high=42001.5,low=41998.75,close=42000.5"
REST = "data_quality_score=0.99,is_realtime=false"
TIME = 1_704_067_200_000_000


def line_of(**changes) -> str:
    return encode_line_protocol(PointBatch.of([make_point(**changes)]).frame).decode()


def test_a_point_is_a_line_with_all_its_fields():
    assert line_of() == f"ohlcv,{TAGS} {PRICES},volume=12.5,{REST} {TIME}\n"


def test_an_absent_volume_is_absent_and_zero_is_zero():
    assert line_of(volume=None) == f"ohlcv,{TAGS} {PRICES},{REST} {TIME}\n"
    assert ",volume=0.0," in line_of(volume=0.0)


def test_a_score_of_one_is_a_float():
    assert ",data_quality_score=1.0," in line_of(data_quality_score=1)


@pytest.mark.parametrize(
    ("name", "written"),
    [("a b", "a\\ b"), ("a,b=c", "a\\,b\\=c"), ('"', '"'), ("Ж", "Ж"), ("#é🚀", "#é🚀")],
)
def test_a_name_is_escaped_as_a_tag_and_as_a_field(name, written):
    assert f",symbol={written}," in line_of(symbol=name)
    assert f",ind_{written}=1.5 " in line_of(technical_indicators={name: 1.5})


@pytest.mark.parametrize("number", [5e-324, 1e-7, 0.1 + 0.2, 1e16, 1.7976931348623157e308])
def test_a_number_reads_back_equal(number):
    text = line_of(technical_indicators={"x": number}).split(",ind_x=")[1].split(" ")[0]
    assert float(text) == number


def test_each_point_has_its_own_indicators_in_a_slice_too():
    points = [make_point(row=n, technical_indicators={"n": n} if n % 2 else None) for n in range(5)]
    lines = encode_line_protocol(PointBatch.of(points).frame.slice(2, 3)).decode().splitlines()
    assert [",ind_n=3.0 " in line for line in lines] == [False, True, False]


def test_an_indicator_that_is_not_finite_is_left_out():
    frame = make_frame(1, technical_indicators={"a": math.nan, "b": math.inf, "c": 2.0})
    assert encode_line_protocol(frame).decode().split(REST)[1] == f",ind_c=2.0 {TIME}\n"


def test_no_points_are_no_bytes():
    assert encode_line_protocol(make_frame(0)) == b""
