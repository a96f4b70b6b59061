"""Examples are built at several moments: what depends on later bars is found, and what is honest passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from destinations.training.engine_lines import engine_lines
from destinations.training.expected import Expected
from destinations.training.known_bars import KnownBars
from destinations.training.later_bars import cuts_of
from destinations.training.leakcheck import Build, LeakCheck
from destinations.training.leaks import Checked
from destinations.training.options import TrainingOptions
from router.batch import PointBatch
from router.errors import ConfigError
from router.schema import FRAME_SCHEMA
from tests.make_training import DAY, START, Values, make_bars, make_examples

Row = dict[str, Any]

OPTIONS = TrainingOptions.of(context_window=5)
BARS = [
    *make_bars(40, skip=(12,)),
    *make_bars(30, source="other", closes=[50 + n / 8 for n in range(30)]),
    *make_bars(35, symbol="IBM", volume=None, start=START + timedelta(hours=6)),
]


def frame_of(bars: list[Values]) -> pl.DataFrame:
    return pl.DataFrame([{"is_realtime": False} | bar for bar in bars], schema=FRAME_SCHEMA)


def checked(
    build: Build, options: TrainingOptions = OPTIONS, bars: list[Values] = BARS, cuts: int = 5, seed: int = 0
) -> Checked:
    known = KnownBars.of(frame_of(bars))
    moments = cuts_of(Expected(known, options), cuts, seed)
    return LeakCheck(known, options, build, moments).run(lambda _: None)


def kinds(found: Checked) -> set[str]:
    return {leak.kind for leak in found.leaks}


def rows_of(batch: PointBatch, options: TrainingOptions) -> list[Row]:
    """Return the examples of the definitions."""
    bars = [point.model_dump() for point in batch]
    return make_examples(bars, options).to_pylist(maps_as_pydicts="strict")


def lines_of(rows: list[Row]) -> dict[str, bytes]:
    return {row["example_id"]: json.dumps(row, default=datetime.isoformat).encode() for row in rows}


def honest(batch: PointBatch, options: TrainingOptions) -> dict[str, bytes]:
    return lines_of(rows_of(batch, options))


def leaky(change: Callable[[list[Row], PointBatch], None]) -> Build:
    """Return a builder that changes the examples of the definitions."""

    def build(batch: PointBatch, options: TrainingOptions) -> dict[str, bytes]:
        rows = rows_of(batch, options)
        change(rows, batch)
        return lines_of(rows)

    return build


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "horizon": {"horizon": 3, "stride": 2},
    "gaps": {"max_gap": 3},
    "return": {"target_column": "next_return_bps"},
    "direction": {"target_column": "direction"},
    "volume": {"target_column": "next_volume", "include_features": ["ohlc"]},
    "quality": {"target_column": "next_data_quality_score"},
    "splits": {"splits": {"train": START + 15 * DAY, "test": None}, "embargo": DAY},
}
ODD = [
    *BARS,
    *make_bars(30, symbol="CL", asset_class="futures", closes=[3.0, 0.0, -37.6] * 10),
    *make_bars(30, symbol="huge", closes=[1e100 + n * 1e99 for n in range(30)]),
    *make_bars(30, symbol="ünï", timeframe="tick"),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("build", [honest, engine_lines])
def test_honest_builder_passes(build: Build, case: str) -> None:
    options = TrainingOptions.of(**{"context_window": 5} | CASES[case])
    found = checked(build, options, ODD)
    assert [str(leak) for leak in found.leaks] == []
    assert found.cuts[-1][1] == len(make_examples(ODD, options))
    assert [examples for _, examples in found.cuts] == sorted(examples for _, examples in found.cuts)


@pytest.mark.parametrize("seed", range(5))
def test_fleets_builder_passes_wherever_the_time_is_cut(seed: int) -> None:
    assert not checked(engine_lines, bars=BARS, seed=seed, cuts=9).leaks


# -- leaky builders -------------------------------------------------------------------------------


def target_of_the_current_row(rows: list[Row], _batch: PointBatch) -> None:
    for row in rows:
        row["target"] = {"next_close": row["current"]["close"]}


def scaler_fitted_on_everything(rows: list[Row], batch: PointBatch) -> None:
    closes = batch.frame["close"]
    for row in rows:
        row["scale"] = {"close_mean": closes.mean(), "close_std": closes.std(ddof=0)}


def centred_moving_average(rows: list[Row], batch: PointBatch) -> None:
    frame = batch.frame.sort("source", "symbol", "timestamp")
    smooth = pl.col("close").rolling_mean(3, center=True, min_samples=1).over("source", "symbol")
    named = frame.select("source", "symbol", "timestamp", smooth)
    closes = {key: close for *key_, close in named.rows() for key in [tuple(key_)]}
    for row in rows:
        for bar in (*row["context"], row["current"]):
            bar["close"] = closes[row["source"], row["symbol"], bar["timestamp"]]


def volume_filled_from_behind(rows: list[Row], batch: PointBatch) -> None:
    newest = batch.frame.sort("timestamp")["volume"].drop_nulls().last()
    for row in rows:
        for bar in (*row["context"], row["current"]):
            bar["volume"] = newest if bar["volume"] is None else bar["volume"]


def context_up_to_the_target(rows: list[Row], batch: PointBatch) -> None:
    later = {(bar.source, bar.symbol, bar.timestamp): bar for bar in batch}
    for row in rows:
        bar = later[row["source"], row["symbol"], row["label_end"] - DAY]
        row["context"].append({name: getattr(bar, name) for name in row["current"]})


def only_the_largest_returns(rows: list[Row], _batch: PointBatch) -> None:
    rows.sort(key=lambda row: row["target"]["next_close"] / row["current"]["close"], reverse=True)
    del rows[10:]


def ids_by_position(rows: list[Row], _batch: PointBatch) -> None:
    for at, row in enumerate(rows):
        row["example_id"] = str(len(rows) - at)


LEAKS = {
    target_of_the_current_row: "own_target",
    scaler_fitted_on_everything: "changed",
    centred_moving_average: "foresight",
    volume_filled_from_behind: "changed",
    context_up_to_the_target: "foresight",
    only_the_largest_returns: "gone",
    ids_by_position: "changed",
}


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_leaky_builder_is_found(leak: Callable[[list[Row], PointBatch], None]) -> None:
    assert LEAKS[leak] in kinds(checked(leaky(leak)))


@pytest.mark.parametrize("target", ["next_close", "next_return_bps", "direction", "next_volume"])
def test_target_that_is_not_of_a_later_bar_is_found(target: str) -> None:
    def own(rows: list[Row], _batch: PointBatch) -> None:
        for row in rows:
            known = "up" if target == "direction" else row["current"]["volume"] or 1.0
            row["target"] = {target: known}

    options = TrainingOptions.of(context_window=5, target_column=target)
    assert kinds(checked(leaky(own), options)) == {"own_target"}


def test_example_that_is_built_before_its_target_is_known_is_found() -> None:
    def build(batch: PointBatch, options: TrainingOptions) -> dict[str, bytes]:
        ours = batch.frame.filter(pl.col("source") == "other").sort("timestamp")
        return {
            str(row["timestamp"]): json.dumps(
                {"as_of": (row["timestamp"] + DAY).isoformat(), "target": row["close"]}
            ).encode()
            for row in ours.iter_rows(named=True)
        }

    assert "early" in kinds(checked(build))


def test_example_that_is_built_twice_is_found() -> None:
    def build(batch: PointBatch, options: TrainingOptions) -> Iterator[tuple[str, bytes]]:
        found = list(honest(batch, options).items())
        yield from [*found, *found[:1]]

    assert kinds(checked(build)) == {"doubled"}


def test_leak_names_the_example_the_moment_and_what_differs() -> None:
    found = checked(leaky(scaler_fitted_on_everything))
    first = found.leaks[0]
    assert (first.kind, first.cut) == ("changed", found.cuts[0][0])
    assert first.examples == found.cuts[0][1]
    assert first.example_id in honest(PointBatch(frame_of(BARS)), OPTIONS)
    assert first.at is not None
    assert '"close_mean": ' in first.before
    assert '"close_mean": ' in first.after
    assert first.before != first.after
    assert f"the first is {first.example_id}" in str(first)


# -- what a builder may do wrong ------------------------------------------------------------------


def broken(batch: PointBatch, options: TrainingOptions) -> dict[str, bytes]:
    raise ZeroDivisionError("no bars")


def nameless(batch: PointBatch, options: TrainingOptions) -> dict[str, bytes]:
    return {"a": b'{"target": 1}'}


def no_lines(batch: PointBatch, options: TrainingOptions) -> Any:
    return [1, 2]


@pytest.mark.parametrize(
    ("build", "code", "says"),
    [
        (broken, "builder.failed", "ZeroDivisionError: no bars"),
        (no_lines, "builder.failed", "TypeError"),
        (nameless, "builder.line", "as_of"),
    ],
)
def test_builder_that_fails_is_told(build: Build, code: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        checked(build)
    assert caught.value.code == code


# -- the moments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5, 9, 1000])
def test_moments_ascend_over_all_series_and_the_last_is_the_end(count: int) -> None:
    expected = Expected(KnownBars.of(frame_of(BARS)), OPTIONS)
    cuts = cuts_of(expected, count, seed=3)
    assert cuts == sorted(set(cuts)) == cuts_of(expected, count, seed=3)
    assert cuts[-1] == expected.bars.frame["end"].max()
    as_of = set(make_examples(BARS, OPTIONS)["as_of"].to_pylist())
    assert set(cuts[:-1]) <= as_of
    assert len(cuts) == min(count, len(as_of) + 1)


@pytest.mark.parametrize("bars", [[], BARS[:3]])
def test_nothing_is_shown_of_bars_without_an_example(bars: list[Values]) -> None:
    found = checked(engine_lines, bars=bars)
    assert (found.leaks, found.under_way) == ((), 0)
    assert not found.proven()


def test_every_honest_check_has_examples_under_way() -> None:
    found = checked(honest)
    assert found.under_way >= len(found.cuts) - 1
    assert found.proven()
