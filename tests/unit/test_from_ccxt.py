"""Rows of ccxt, as `fetch_ohlcv` returns them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from router import Admission, admit, from_ccxt
from router.errors import ConfigError
from router.rules import Rules

START = datetime(2024, 1, 1, tzinfo=UTC)
MS = 1_704_067_200_000
HOUR = 3_600_000


def admitted(rows: Any, **changes: Any) -> Admission:
    said = {"symbol": "BTC/USDT", "timeframe": "1h", "source": "binance", **changes}
    return admit(from_ccxt(rows, **said))


def codes(admission: Admission) -> list[list[str]]:
    return [[reason.code for reason in one.reasons] for one in admission.refused]


def make_row(hour: int = 0) -> list[Any]:
    return [MS + hour * HOUR, 42_283.58, 42_554.57, 42_261.02, 42_475.23, 1_271.68108]


def test_rows_are_points_of_the_symbol_and_exchange() -> None:
    batch = admitted([make_row(), make_row(1)]).batch
    assert [point.timestamp for point in batch] == [START, START + timedelta(hours=1)]
    point = batch[0]
    assert (point.open, point.high, point.low, point.close, point.volume) == tuple(make_row()[1:])
    assert point.identity == ("binance", "BTC/USDT", "1h", START)
    assert point.asset_class == "crypto"
    assert admitted([make_row()], asset_class="futures").batch[0].asset_class == "futures"


def test_an_absent_volume_stays_absent_and_a_zero_stays_zero() -> None:
    batch = admitted([[*make_row()[:5], None], [*make_row(1)[:5], 0]]).batch
    assert [point.volume for point in batch] == [None, 0.0]


def test_many_rows_and_an_array_of_them_are_the_same_points() -> None:
    rows = [make_row(hour) for hour in range(500)]
    assert admitted(np.array(rows)).batch == admitted(rows).batch == admitted(tuple(map(tuple, rows))).batch


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (make_row()[:5], "envelope.shape"),
        (5, "envelope.shape"),
        (None, "envelope.shape"),
        ("abcdef", "envelope.shape"),
        ({"t": 1}, "envelope.shape"),
        ([None, *make_row()[1:]], "required"),
        ([True, *make_row()[1:]], "type"),
        (["x", *make_row()[1:]], "timestamp.format"),
        ([MS + 0.5, *make_row()[1:]], "timestamp.ambiguous_unit"),
        ([MS * 1000, *make_row()[1:]], "timestamp.format"),
        ([10**13, *make_row()[1:]], "timestamp.range"),
        ([-(10**14), *make_row()[1:]], "timestamp.format"),
        ([MS, "x", *make_row()[2:]], "number.format"),
        ([MS, None, *make_row()[2:]], "required"),
        ([MS, 1.0, *make_row()[2:]], "ohlc.out_of_range"),
        ([*make_row()[:5], -1], "number.negative"),
    ],
)
def test_a_malformed_row_is_refused_alone(row: Any, code: str) -> None:
    admission = admitted([make_row(), row, make_row(1)])
    assert len(admission.batch) == 2
    assert [one.index for one in admission.refused] == [1]
    assert code in codes(admission)[0]


def test_what_no_row_could_be_read_from_keeps_its_original() -> None:
    assert admitted([[MS, 1.0, 2.0]]).refused[0].original == f"[{MS}, 1.0, 2.0]"


@pytest.mark.parametrize(
    ("timeframe", "start", "end"),
    [
        ("1m", START, START + timedelta(minutes=1)),
        ("1d", START, START + timedelta(days=1)),
        ("3d", START, START + timedelta(days=3)),
        ("1w", START, START + timedelta(days=7)),
        ("1M", datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        ("3M", datetime(2023, 11, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)),
        ("1y", START, datetime(2025, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_bar_that_is_still_being_made_is_left_out(timeframe: str, start: datetime, end: datetime) -> None:
    row = [int(start.timestamp() * 1000), *make_row()[1:]]
    for now, count in {start: 0, end - timedelta(microseconds=1): 0, end: 1}.items():
        assert len(admitted([row], timeframe=timeframe, now=now).batch) == count
        assert len(admitted([row], timeframe=timeframe, now=now, unfinished=True).batch) == 1


def test_the_present_moment_may_be_given_in_any_zone() -> None:
    now = (START + timedelta(minutes=90)).astimezone(timezone(timedelta(hours=9)))
    assert [point.timestamp for point in admitted([make_row(), make_row(1)], now=now).batch] == [START]


def test_a_bar_that_has_not_begun_is_no_unfinished_bar_but_refused() -> None:
    rows = from_ccxt([make_row(48)], symbol="A", timeframe="1h", source="b", now=START)
    assert codes(admit(rows, Rules(clock=lambda: START))) == [["timestamp.future"]]


def test_a_timeframe_without_a_length_has_no_unfinished_bars() -> None:
    assert len(admitted([make_row()], timeframe="tick", now=START).batch) == 1


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("timeframe", "7m", "timeframe"),
        ("asset_class", "spot", "enum"),
        ("symbol", "", "required"),
        ("source", "a\nb", "symbol.control"),
    ],
)
def test_what_no_point_can_have_is_an_error_before_any_row_is_read(name: str, value: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        admitted([make_row()], **{name: value})
    assert (caught.value.code, caught.value.where) == (code, name)
