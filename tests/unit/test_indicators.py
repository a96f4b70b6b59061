"""Indicators are TA-Lib's over the whole series, as soon as they have the history they declare."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from talib import abstract

from router.errors import ConfigError
from router.indicator_values import Columns, values_of
from router.indicators import DEFAULT, Indicator, indicators

ROOT = Path(__file__).parents[2]
EXAMPLES = [ROOT / "examples/data/equity_1d.csv", ROOT / "examples/data/index_1d.csv"]
#: Bars of other markets, where they lie beside the repository.
SHARED = [
    path
    for name in ("crypto_1m", "crypto_5m", "equity_1m", "fx_metals_1h")
    if (path := ROOT.parent / f"shared/data/{name}.csv").exists()
]

#: Below which part of the price, or of 100, a value is called small, as `Indicator.warm_up` has it.
SMALL = {"rsi": 1e-3, "atr": 1e-6, "macd": 1e-6}
#: Names of all kinds, and other parameters than the usual ones.
NAMES = (*DEFAULT, "sma_3", "ema_50", "rsi_2", "macd_5_35_5", "atr_30", "bollinger_10_2.5", "vwap_3")


@cache
def series_of(path: Path) -> dict[str, Columns]:
    frame = pl.read_csv(path, schema_overrides={"volume": pl.Float64}, infer_schema_length=None)
    return {
        symbol: Columns.of(bars.sort("timestamp"))
        for symbol in frame["symbol"].unique(maintain_order=True)
        for bars in [frame.filter(pl.col("symbol") == symbol)]
    }


@pytest.fixture(scope="module")
def aapl() -> Columns:
    return series_of(EXAMPLES[0])["AAPL"]


def make_bars(closes: list[float], volumes: list[float | None] | None = None) -> Columns:
    close = pl.Series("close", closes, dtype=pl.Float64)
    volume = pl.Series("volume", volumes or [1.0] * len(closes), dtype=pl.Float64)
    return Columns.of(
        pl.DataFrame({"high": close * 1.5, "low": close * 0.5, "close": close, "volume": volume})
    )


# -- what the library says --------------------------------------------------------------------


def test_values_are_those_of_the_library_over_the_whole_series(aapl: Columns):
    high, low, close = aapl.high, aapl.low, aapl.close
    expected = {
        "sma_20": [talib.SMA(close, 20)],
        "ema_12": [talib.EMA(close, 12)],
        "rsi_14": [talib.RSI(close, 14)],
        "macd_12_26_9": talib.MACD(close, 12, 26, 9),
        "atr_14": [talib.ATR(high, low, close, 14)],
        "bollinger_20_2.5": talib.BBANDS(close, 20, 2.5, 2.5),
    }
    for name, arrays in expected.items():
        found = values_of(Indicator.of(name), aapl)
        assert np.array_equal(found, np.column_stack(arrays), equal_nan=True), name


@pytest.mark.parametrize(
    ("name", "function", "parameters"),
    [
        ("sma_7", "SMA", {"timeperiod": 7}),
        ("ema_9", "EMA", {"timeperiod": 9}),
        ("rsi_21", "RSI", {"timeperiod": 21}),
        ("atr_10", "ATR", {"timeperiod": 10}),
        ("macd_5_35_6", "MACD", {"fastperiod": 5, "slowperiod": 35, "signalperiod": 6}),
        ("bollinger_15_2", "BBANDS", {"timeperiod": 15}),
    ],
)
def test_lookback_is_the_library_s(name: str, function: str, parameters: dict[str, int]):
    of_library = abstract.Function(function)
    of_library.set_parameters(parameters)
    assert Indicator.of(name).lookback == of_library.lookback


@pytest.mark.parametrize("name", NAMES)
def test_first_value_stands_behind_the_lookback(name: str, aapl: Columns):
    indicator = Indicator.of(name)
    known = ~np.isnan(values_of(indicator, aapl[:100]))
    assert (known.argmax(axis=0) == indicator.lookback).all()
    assert known[indicator.lookback :].all()
    assert np.isnan(values_of(indicator, aapl[: indicator.lookback])).all()


# -- as much history as is declared is enough -------------------------------------------------


def furthest_apart(indicator: Indicator, bars: Columns, tolerance: float) -> float:
    """Return how far values of windows are from those of the series at most, relative to these."""
    whole, count = values_of(indicator, bars), indicator.warm_up(tolerance)
    assert count < len(bars.close)
    ends = range(count, len(bars.close) + 1, 1 + len(bars.close) // 200)
    of_windows = np.array([values_of(indicator, bars[end - count : end])[-1] for end in ends])
    of_series = whole[[end - 1 for end in ends]]
    assert (np.isnan(of_windows) == np.isnan(of_series)).all()
    part = SMALL.get(indicator.kind, 0.0)
    whole_size = 100.0 if indicator.kind == "rsi" else bars.close[[end - 1 for end in ends]][:, np.newaxis]
    size = np.maximum(np.abs(of_series), part * whole_size)
    apart = (np.abs(of_windows - of_series) / size)[moves_before(indicator, bars.close)[[*ends]]]
    return float(np.nanmax(apart, initial=0.0))


# Of each count of bars whether the close moved within the standstill that the indicator can bear.
def moves_before(indicator: Indicator, close: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    at = np.arange(len(close) + 1)
    moved = np.maximum.accumulate(np.where(np.diff(close, prepend=0.0) != 0, at[1:], 0))
    still = indicator.standstill or len(close)
    return np.append(False, at[1:] - moved <= still)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-8])
@pytest.mark.parametrize("name", NAMES)
def test_declared_history_gives_the_value_of_the_whole_series(name: str, tolerance: float):
    indicator = Indicator.of(name)
    for path in (*EXAMPLES, *SHARED):
        for bars in series_of(path).values():
            assert furthest_apart(indicator, bars, tolerance) <= tolerance


@pytest.mark.parametrize("name", ["ema_50", "rsi_14", "atr_14", "macd_12_26_9"])
def test_a_fifth_of_the_declared_history_is_not_enough(name: str, aapl: Columns):
    indicator = Indicator.of(name)
    few = max(indicator.warm_up(1e-6) // 5, indicator.lookback + 1)
    whole, short = values_of(indicator, aapl), values_of(indicator, aapl[1000 - few : 1000])
    assert not np.allclose(short[-1], whole[999], rtol=1e-6, atol=0.0)


def test_history_of_a_plain_average_is_its_bars():
    for name in ("sma_20", "bollinger_20_2", "vwap_20"):
        assert {Indicator.of(name).warm_up(tolerance) for tolerance in (0.1, 1e-8)} == {20}


def test_closer_tolerance_needs_more_history():
    for name in ("ema_12", "rsi_14", "macd_12_26_9", "atr_14"):
        counts = [Indicator.of(name).warm_up(tolerance) for tolerance in (0.1, 1e-3, 1e-6, 1e-8)]
        assert counts == sorted(set(counts))


# The proof behind `warm_up`: what is not known fades by the declared part with every bar.
@given(st.lists(st.floats(0.01, 1e6), min_size=300, max_size=400), st.integers(2, 40))
def test_what_an_average_does_not_know_fades_as_it_declares(closes: list[float], n: int):
    bars, indicator = make_bars(closes), Indicator.of(f"ema_{n}")
    count = min(indicator.warm_up(0.01), len(closes))
    window, whole = (
        values_of(indicator, bars[len(closes) - count :])[-1, 0],
        values_of(indicator, bars)[-1, 0],
    )
    left = (1 - 2 / (n + 1)) ** (count - n)
    assert abs(window - whole) <= left * (max(closes) - min(closes)) + 1e-9 * max(closes)


# -- odd series -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@given(
    st.lists(
        st.one_of(st.floats(-1e308, 1e308), st.sampled_from([0.0, 1.0, 5e-324, 1e308, -1e308, 1e-300])),
        min_size=1,
        max_size=60,
    )
)
def test_odd_prices_give_numbers_or_nothing(name: str, closes: list[float]):
    found = values_of(Indicator.of(name), make_bars(closes))
    assert found.shape == (len(closes), len(Indicator.of(name).values))
    assert not np.isinf(found).any()
    assert np.isnan(found[: Indicator.of(name).lookback]).all()


@pytest.mark.parametrize("price", [1e-9, 1.0, 97.3, 1e12])
def test_constant_price_is_its_own_average(price: float):
    bars = make_bars([price] * 60)
    for name in ("sma_20", "ema_12", "bollinger_20_2", "vwap_20"):
        assert values_of(Indicator.of(name), bars)[-1] == pytest.approx(price, rel=1e-7)
    assert values_of(Indicator.of("macd"), bars)[-1] == pytest.approx(0.0, abs=price * 1e-9)


def test_vwap_is_the_typical_price_weighted_by_volume():
    found = values_of(Indicator.of("vwap_2"), make_bars([3.0, 6.0, 9.0], [1.0, 3.0, 0.0]))
    assert found[:, 0].tolist() == pytest.approx([float("nan"), (3 + 18) / 4, 6.0], nan_ok=True)


def test_vwap_needs_a_volume_of_every_bar_and_of_one_that_is_not_zero():
    volumes = [1.0, None, 1.0, 1.0, 0.0, 0.0, 2.0]
    found = values_of(Indicator.of("vwap_2"), make_bars([5.0] * 7, volumes))[:, 0]
    assert (~np.isnan(found)).tolist() == [False, False, False, True, True, False, True]


@given(st.lists(st.tuples(st.floats(0.01, 1e6), st.floats(0, 1e9)), min_size=5, max_size=50), st.data())
def test_vwap_knows_nothing_of_what_came_before_its_bars(
    rows: list[tuple[float, float]], data: st.DataObject
):
    bars = make_bars([close for close, _ in rows], [volume for _, volume in rows])
    start = data.draw(st.integers(0, len(rows) - 5))
    whole, window = (values_of(Indicator.of("vwap_5"), some)[:, 0] for some in (bars, bars[start:]))
    assert np.array_equal(whole[start + 4 :], window[4:], equal_nan=True)


# -- names ------------------------------------------------------------------------------------


def test_values_are_named_as_people_write_them():
    assert {
        name: Indicator.of(name).values for name in ("rsi_14", "macd", "macd_5_35_5", "bollinger_20_2")
    } == {
        "rsi_14": ("rsi_14",),
        "macd": ("macd", "macd_signal", "macd_histogram"),
        "macd_5_35_5": ("macd_5_35_5", "macd_5_35_5_signal", "macd_5_35_5_histogram"),
        "bollinger_20_2": ("bollinger_upper", "bollinger_middle", "bollinger_lower"),
    }
    assert Indicator.of("bollinger_20_2.50").values[0] == "bollinger_20_2.5_upper"


def test_equal_indicators_have_one_name_and_are_made_once():
    assert [one.name for one in indicators(("rsi", "rsi_14", "rsi_014", "rsi_14.0", "sma_20"))] == [
        "rsi_14",
        "sma_20",
    ]
    assert [one.name for one in indicators()] == list(DEFAULT)


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("smma_20", "enum", "did you mean 'sma_20'?"),
        ("RSI_14", "enum", "did you mean 'rsi_14'?"),
        ("", "enum", "sma_20, ema_12, rsi_14, macd_12_26_9"),
        ("sma_20\x00", "type", r"'sma_20\x00': sma takes 1 number, as in sma_20"),
        ("sma_٢٠", "type", "sma takes 1 number"),
        ("sma_", "type", "sma takes 1 number"),
        ("sma_-20", "type", "sma takes 1 number"),
        ("sma_1e3", "type", "sma takes 1 number"),
        ("sma_20_30", "type", "sma takes 1 number"),
        ("macd_12_26", "type", "macd takes 3 numbers, as in macd_12_26_9"),
        ("sma_1", "range", "bars are whole, 2 to 5000"),
        ("sma_2.5", "range", "bars are whole, 2 to 5000"),
        ("rsi_5001", "range", "bars are whole, 2 to 5000"),
        ("bollinger_20_0", "range", "standard deviations are 0.1 to 100"),
        ("macd_26_12_9", "range", "the first average is over fewer bars than the second"),
    ],
)
def test_name_that_means_nothing_is_refused(name: str, code: str, says: str):
    with pytest.raises(ConfigError) as error:
        Indicator.of(name)
    assert error.value.code == code
    assert says in str(error.value)


@pytest.mark.parametrize("name", [20, None, ["sma_20"], ("sma_20", "rsi_14"), {"sma": 20}])
def test_what_is_no_text_is_no_name(name: Any):
    with pytest.raises(ConfigError, match="is not the name of an indicator") as error:
        indicators((name,))
    assert error.value.code == "type"


def test_widths_that_differ_have_names_that_differ():
    names = [
        Indicator.of(f"bollinger_20_{width}").name for width in ("99.123456", "99.123457", "2", "2.000001")
    ]
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    "tolerance", [0, -1e-6, 1e-9, 0.2, 1, float("nan"), float("inf"), True, "1e-6", None]
)
def test_tolerance_that_cannot_be_met_is_refused(tolerance: float):
    with pytest.raises(ConfigError, match=r"not a number from 1e-08 to 0\.1"):
        Indicator.of("ema_12").warm_up(tolerance)


def test_missing_library_is_told_by_name(monkeypatch: pytest.MonkeyPatch, aapl: Columns):
    monkeypatch.setitem(__import__("sys").modules, "talib", None)
    with pytest.raises(ConfigError, match=r"pip install 'candlefleet\[indicators\]'"):
        values_of(Indicator.of("sma_20"), aapl)
