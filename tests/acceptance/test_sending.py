"""Frames in one line, as a notebook sends them."""

from __future__ import annotations

from typing import Any

import pandas
import polars as pl
import pytest

from router import from_ccxt
from router.errors import ConfigError
from tests.make import make_batch, make_frame, make_point, make_values
from workers import sending
from workers.sending import send
from workers.store import Store

SAID: dict[str, Any] = {"symbol": "SPY", "timeframe": "1d", "asset_class": "etf", "source": "yahoo"}


def make_pandas(rows: int = 3) -> Any:
    index = pandas.date_range("2024-01-01", periods=rows, tz="UTC", name="Date")
    return pandas.DataFrame({"Open": 1.0, "High": 2.0, "Low": 1.0, "Close": 1.5, "Volume": 9}, index=index)


def accepted(store: Store) -> int:
    return sum(waiting.points for waiting in store.take(10**9, 60.0))


@pytest.fixture
def url(store: Store, redis_url: str) -> str:
    return redis_url


def test_a_frame_is_sent_in_one_line(store: Store, url: str) -> None:
    receipt = send(make_pandas(), **SAID, url=url)
    assert (receipt.accepted, receipt.refused, receipt.again) == (3, (), False)
    assert accepted(store) == 3


@pytest.mark.parametrize(
    "points",
    [
        make_frame(3),
        make_frame(3).lazy(),
        make_batch(3),
        [make_values(n) for n in range(3)],
        make_batch(3).table,
    ],
)
def test_whatever_a_producer_takes_is_sent(points: Any, store: Store, url: str) -> None:
    assert send(points, url=url).accepted == 3


def test_one_point_and_what_an_adapter_returned_are_sent(store: Store, url: str) -> None:
    assert send(make_point(), url=url).accepted == 1
    rows = from_ccxt([[1_704_067_200_000, 1, 2, 1, 1.5, None], [5]], symbol="A", timeframe="1h", source="b")
    receipt = send(rows, url=url)
    assert (receipt.accepted, [one.index for one in receipt.refused]) == (1, [1])


def test_many_points_travel_in_several_batches_and_are_one_receipt(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MOST_POINTS", 4)
    bad = pl.int_range(10).is_in([3, 4, 9])
    frame = make_frame(10).with_columns(close=pl.when(bad).then(None).otherwise("close"))
    receipt = send(frame, batch_id="mine", url=url)
    assert (receipt.batch_id, receipt.accepted) == ("mine", 7)
    assert [one.index for one in receipt.refused] == [3, 4, 9]
    assert accepted(store) == 7
    again = send(frame, batch_id="mine", url=url)
    assert (again.accepted, again.again) == (0, True)


def test_the_same_id_adds_nothing(store: Store, url: str) -> None:
    assert not send(make_pandas(), **SAID, batch_id="spy", url=url).again
    assert send(make_pandas(), **SAID, batch_id="spy", url=url).again
    assert accepted(store) == 3


def test_nothing_is_sent_of_a_frame_that_cannot_be_read(store: Store, url: str) -> None:
    with pytest.raises(ConfigError, match="give symbol="):
        send(make_pandas(), url=url)
    with pytest.raises(TypeError, match="symbol can be said of a frame, not of list"):
        send([make_values()], symbol="SPY", url=url)
    with pytest.raises(TypeError, match="symbl"):
        send(make_pandas(), symbl="SPY", url=url)
    assert accepted(store) == 0
