"""`candlefleet indicators warmup`: what a person reads, what a program reads, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from router import Indicators
from tests.acceptance.fleet_fixture import Said


@pytest.fixture
def warmup(candlefleet) -> Callable[..., Said]:
    return lambda *arguments: candlefleet("indicators", "warmup", *arguments, environment={"COLUMNS": "100"})


def test_person_reads_a_table(warmup: Callable[..., Said]):
    said = warmup("sma_20", "macd", "--tolerance", "1e-3")
    assert (said.code, said.err) == (0, "")
    rows = [line.split() for line in said.out.splitlines()]
    assert ["sma_20", "20", "19", "sma_20"] in rows
    assert any(
        row[:1] == ["macd_12_26_9"] and row[2:] == ["33", "macd,", "macd_signal,", "macd_histogram"]
        for row in rows
    )
    kept = Indicators("sma_20", "macd", tolerance=1e-3).history.bars
    assert (
        f"within 0.001 of the value over the whole series; a route with all of these keeps {kept} bars"
        in said.out
    )


def test_program_reads_the_same_as_json(warmup: Callable[..., Said]):
    found = json.loads(warmup("--json").out)
    assert found["tolerance"] == 1e-6
    assert found["kept"] == Indicators().history.bars
    assert {one["name"]: one["history"] for one in found["indicators"]} == {
        one.name: one.warm_up(1e-6) for one in Indicators().indicators
    }
    assert found["indicators"][0] == {"name": "sma_20", "history": 20, "lookback": 19, "values": ["sma_20"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rsii_14"], "did you mean 'rsi_14'?"),
        (["sma_0"], "bars are whole, 2 to 5000"),
        (["--tolerance", "0"], "not a number from 1e-08 to 0.1"),
        (["--tolerance", "nan"], "not a number from 1e-08 to 0.1"),
    ],
)
def test_what_means_nothing_is_one_line(warmup: Callable[..., Said], arguments: list[str], says: str):
    said = warmup(*arguments)
    assert said.code == 2
    assert says in said.err
    assert len(said.err.splitlines()) == 1
