"""A training set is compared with its bars: what is leaky, lost or doubled is found and named."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destinations.training.examples import examples_of
from destinations.training.finalize import finalize, recipe_of
from destinations.training.known_bars import KnownBars
from destinations.training.mismatches import Verified
from destinations.training.options import TrainingOptions
from destinations.training.parts import TrainingParts
from destinations.training.raw_shards import RawShards
from destinations.training.tables import ExampleTable
from destinations.training.verify import Verifier, verify, written
from router.errors import ConfigError
from router.placing import place
from router.schema import FRAME_SCHEMA
from router.series import History, SeriesPolicy
from tests.make_training import DAY, START, Values, make_bars, make_examples, split_of, write_dataset

Rows = list[tuple[str, Values]]

OPTIONS = TrainingOptions.of(
    context_window=5, splits={"train": START + 20 * DAY, "test": None}, embargo=timedelta(days=1)
)
BARS = [
    *make_bars(30, skip=(12,)),
    *make_bars(25, source="other", closes=[50 + n / 8 for n in range(25)]),
    *make_bars(15, symbol="IBM", volume=None, closes=[100.0 if n % 9 < 6 else 60.0 for n in range(15)]),
]


def frame_of(bars: Sequence[Values]) -> pl.DataFrame:
    """Return bars as a frame, in their order."""
    return pl.DataFrame([{"is_realtime": False} | bar for bar in bars], schema=FRAME_SCHEMA)


def rows_of(bars: Sequence[Values], options: TrainingOptions = OPTIONS) -> Rows:
    """Return the examples of bars, each with its split."""
    rows = make_examples(bars, options).to_pylist(maps_as_pydicts="strict")
    return [(split_of(row, options), row) for row in rows]


def verified(
    rows: Rows,
    bars: Sequence[Values] = BARS,
    options: TrainingOptions = OPTIONS,
    allowed_lateness: float = 0.0,
    at_once: int = 7,
) -> Verified:
    """Return what comes of comparing examples with bars, some at a time, in their order."""
    verifier = Verifier(KnownBars.of(frame_of(bars), allowed_lateness), options)
    for start in range(0, len(rows), at_once):
        splits, some = zip(*rows[start : start + at_once], strict=True)
        verifier.take(pl.Series(splits), pa.Table.from_pylist(list(some), options.schema()))
    return verifier.verified()


def found(result: Verified) -> set[tuple[str, str]]:
    """Return the ids and the columns of what is wrong or missing."""
    return {(one.example_id, one.column) for one in result.mismatches}


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "window_of_two": {"context_window": 2},
    "horizon": {"horizon": 3},
    "stride": {"stride": 4},
    "gap_allowed": {"max_gap": 2},
    "prices_only": {"include_features": ["ohlc"]},
    "indicators": {"include_features": ["volume", "technical_indicators"]},
    "return": {"target_column": "next_return_bps"},
    "direction": {"target_column": "direction"},
    "volume": {"target_column": "next_volume"},
    "splits": {"splits": {"train": START + 15 * DAY, "middle": START + 20 * DAY, "test": None}},
    "no_last_split": {"splits": {"train": START + 15 * DAY, "test": START + 20 * DAY}},
    "everything": {"horizon": 2, "stride": 3, "max_gap": 1, "embargo": 86_400.0},
}
MORE = [
    *BARS,
    *make_bars(12, symbol="CL", asset_class="futures", timeframe="1M", closes=[3.0, 0.0, -37.6] * 4),
    *make_bars(12, symbol="ünï\n'", timeframe="tick", technical_indicators={"sma": 1.5, "rsi": 2.0}),
    *make_bars(12, symbol="huge", timeframe="1m", closes=[1e300 + n * 1e299 for n in range(12)]),
]


@pytest.mark.parametrize("case", CASES)
def test_examples_of_the_definitions_are_proven(case: str) -> None:
    options = TrainingOptions.of(**{"context_window": 5} | CASES[case])
    rows = rows_of(MORE, options)
    result = verified(rows, MORE, options)
    assert [str(one) for one in result.mismatches] == []
    assert result.proven()
    assert sum(result.examples.values()) == result.expected == len(rows) > 0
    assert result.examples == {split: [s for s, _ in rows].count(split) for split, _ in rows}


def test_no_example_of_no_bars_is_proven() -> None:
    assert verified([], []).proven()


# -- leaks ----------------------------------------------------------------------------------------


def to_current(rows: Rows) -> None:
    for _, row in rows:
        row["target"] = {"next_close": row["current"]["close"]}


def into_the_future(rows: Rows) -> None:
    _, row = rows[3]
    later = rows[4][1]["current"]
    row["context"] = [*row["context"][1:], later]


def interleaved(rows: Rows) -> None:
    ours = next(row for _, row in rows if row["source"] == "quandl_wiki")
    theirs = next(row for _, row in rows if row["source"] == "other" and row["as_of"] == ours["as_of"])
    ours["context"][1::2] = theirs["context"][1::2]


def scaled_by_the_current(rows: Rows) -> None:
    _, row = rows[2]
    closes = pl.Series([*(bar["close"] for bar in row["context"]), row["current"]["close"]])
    row["scale"] = {"close_mean": closes.mean(), "close_std": closes.std(ddof=0)}


def of_another_split(rows: Rows) -> None:
    at = next(at for at, (split, _) in enumerate(rows) if split == "test")
    rows[at] = ("train", rows[at][1])


def not_purged(rows: Rows) -> None:
    at = next(at for at, (split, _) in enumerate(rows) if split == "purged")
    rows[at] = ("test", rows[at][1])


def without_volume(rows: Rows) -> None:
    rows[5][1]["context"][2]["volume"] = None


def invented_volume(rows: Rows) -> None:
    next(row for _, row in rows if row["symbol"] == "IBM")["current"]["volume"] = 0.0


def off_by_one(rows: Rows) -> None:
    for bar in rows[6][1]["context"]:
        bar["timestamp"] += DAY


def seen_too_early(rows: Rows) -> None:
    rows[1][1]["as_of"] -= DAY


def jump_unsaid(rows: Rows) -> None:
    next(row for _, row in rows if "context_jump" in row["flags"])["flags"].remove("context_jump")


LEAKS: dict[str, tuple[Callable[[Rows], None], str]] = {
    "the target is of the current bar": (to_current, "target.next_close"),
    "the context goes on to the bar of the target": (into_the_future, "context[0].timestamp"),
    "two sources are interleaved": (interleaved, "context[1].open"),
    "the scale is fitted on the current bar too": (scaled_by_the_current, "scale.close_mean"),
    "an example of the test is in the training": (of_another_split, "split"),
    "an example across the boundary is kept": (not_purged, "split"),
    "a volume is lost": (without_volume, "context[2].volume"),
    "a volume is invented": (invented_volume, "current.volume"),
    "timestamps are off by one bar": (off_by_one, "context[0].timestamp"),
    "it says to be of an earlier moment": (seen_too_early, "as_of"),
    "a jump is not said": (jump_unsaid, "flags"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_leak_is_found_and_named(leak: str) -> None:
    rows = copy.deepcopy(rows_of(BARS))
    change, column = LEAKS[leak]
    change(rows)
    changed = {
        one["example_id"]
        for (split, one), before in zip(rows, rows_of(BARS), strict=True)
        if (split, one) != before
    }
    result = verified(rows)
    assert not result.proven()
    assert result.wrong == len(changed) > 0
    assert {(name, column) for name in changed} <= found(result)
    assert {one.example_id for one in result.mismatches} == changed


def test_window_over_a_gap_is_found() -> None:
    loose = rows_of(BARS, TrainingOptions.of(context_window=5, max_gap=1, splits={"train": None}))
    over = [row for _, row in loose if "context_gap" in row["flags"] and "label_gap" not in row["flags"]]
    result = verified([*rows_of(BARS), *((split_of(row, OPTIONS), row) for row in over)])
    assert {one.column for one in result.mismatches} == {"context"}
    assert result.wrong == len(over) == 4
    assert "1 bars are missing between 2024-01-12" in result.mismatches[0].bars
    assert "max_gap is 0" in str(result.mismatches[0])


def test_target_from_over_a_gap_is_found() -> None:
    loose = rows_of(BARS, TrainingOptions.of(context_window=5, max_gap=1, splits={"train": None}))
    over = [row for _, row in loose if "label_gap" in row["flags"]]
    result = verified([*rows_of(BARS), *((split_of(row, OPTIONS), row) for row in over)])
    assert [(one.column, one.example_id) for one in result.mismatches] == [("target", over[0]["example_id"])]


def test_context_of_another_length_is_found() -> None:
    rows = copy.deepcopy(rows_of(BARS))
    del rows[4][1]["context"][0]
    (one,) = verified(rows).mismatches
    assert (one.column, one.written, one.bars) == ("context", "3 bars long", "4 bars long")


def test_example_before_its_series_is_long_enough_is_found() -> None:
    short = rows_of(BARS, TrainingOptions.of(context_window=3, splits={"train": None}))
    result = verified([*rows_of(BARS), ("train", short[0][1])])
    assert {one.column for one in result.mismatches} == {"context"}
    assert "only 2 bars before it" in result.mismatches[0].bars


def test_example_beside_the_stride_is_found() -> None:
    options = TrainingOptions.of(context_window=5, stride=3)
    every = [row for _, row in rows_of(BARS, TrainingOptions.of(context_window=5))]
    result = verified([*rows_of(BARS, options), ("train", every[1])], options=options)
    assert [one.column for one in result.mismatches] == ["example_id"]
    assert "every 3." in result.mismatches[0].bars


# -- which examples there are ---------------------------------------------------------------------


def test_missing_example_is_named_by_its_bar() -> None:
    rows = rows_of(BARS)
    split, gone = rows.pop(9)
    result = verified(rows)
    (one,) = result.mismatches
    assert (result.missing, result.wrong) == (1, 0)
    assert (one.example_id, one.split) == ("", split)
    assert (one.source, one.symbol, one.timeframe) == (gone["source"], gone["symbol"], gone["timeframe"])
    assert one.timestamp == gone["current"]["timestamp"]
    assert not result.proven()
    assert result.proven(partial=True)


@pytest.mark.parametrize("at_once", [1, 1000])
def test_example_that_is_there_under_two_ids_is_found(at_once: int) -> None:
    rows = rows_of(BARS)
    split, row = rows[7]
    result = verified([*rows, (split, row | {"example_id": "again"})], at_once=at_once)
    assert found(result) == {("again", "example_id")}


@pytest.mark.parametrize("at_once", [1, 1000])
def test_example_that_was_written_twice_is_found(at_once: int) -> None:
    rows = rows_of(BARS)
    result = verified([*rows, rows[7]], at_once=at_once)
    assert found(result) == {(rows[7][1]["example_id"], "example_id")}
    assert sum(result.examples.values()) == len(rows)


def test_two_examples_of_one_id_are_found() -> None:
    rows = copy.deepcopy(rows_of(BARS))
    rows[3][1]["example_id"] = rows[8][1]["example_id"]
    result = verified(rows)
    assert {one.timestamp for one in result.mismatches} == {
        rows[n][1]["current"]["timestamp"] for n in (3, 8)
    }
    assert not result.proven()


@pytest.mark.parametrize("name", ["", None])
def test_example_without_an_id_is_found(name: str | None) -> None:
    rows = copy.deepcopy(rows_of(BARS))
    rows[3][1]["example_id"] = name
    assert [one.column for one in verified(rows).mismatches] == ["example_id"]


@pytest.mark.parametrize(
    ("change", "column"), [({"symbol": "XYZ"}, "source"), ({"timestamp": START - DAY}, "current.timestamp")]
)
def test_example_of_unknown_bars_is_found(change: Values, column: str) -> None:
    rows = copy.deepcopy(rows_of(BARS))
    if "timestamp" in change:
        rows[0][1]["current"] |= change
    else:
        rows[0][1].update(change)
    result = verified(rows)
    assert (rows[0][1]["example_id"], column) in found(result)
    assert (result.wrong, result.missing) == (1, 1)


# -- bars that came late, or again ----------------------------------------------------------------


def test_late_bar_is_in_no_example() -> None:
    bars = make_bars(20)
    *kept, last = bars
    early = bars[9]
    sent = [*(bar for bar in kept if bar is not early), early, last]
    result = verified(rows_of([bar for bar in bars if bar is not early]), sent)
    assert result.proven()
    assert result.bars.late == 1


def test_late_bar_within_what_is_allowed_takes_its_place() -> None:
    bars = make_bars(20)
    sent = [*bars[:9], bars[10], bars[9], *bars[11:]]
    result = verified(rows_of(bars[:-1]), sent, allowed_lateness=DAY.total_seconds())
    assert result.proven()
    assert (result.bars.late, result.bars.open) == (0, 1)


def test_bar_that_may_still_change_gives_no_example() -> None:
    bars = make_bars(20)
    sent = [*bars[:-1], bars[-1] | {"is_realtime": True}]
    assert verified(rows_of(bars[:-1]), sent).proven()
    result = verified(rows_of(bars), sent)
    assert "can change no more" in result.mismatches[0].bars


def test_provisional_bar_is_replaced_without_a_revision() -> None:
    bars = make_bars(20)
    sent = [*bars[:-1], bars[-1] | {"is_realtime": True, "close": 1.0}, bars[-1]]
    result = verified(rows_of(bars), sent)
    assert result.proven()
    assert (result.bars.replaced, result.revisions) == (1, 0)


def revised(bars: Sequence[Values], **change: Any) -> tuple[list[Values], Rows]:
    """Return bars whose tenth is sent, and then as it is; and their examples, those of before it too."""
    was = bars[9] | change
    before = [(split, row) for split, row in rows_of([*bars[:9], was])]
    rows = rows_of(bars)
    ours = next(row for _, row in rows if row["current"]["timestamp"] == bars[8]["timestamp"])
    ours["flags"].append("revised")
    return [*bars[:9], was, *bars[9:]], [*before, *rows[len(before) - 1 :]]


def test_example_that_was_written_anew_for_a_revision_counts_instead() -> None:
    sent, rows = revised(make_bars(20), close=99.0)
    assert verified(rows, sent).proven()
    assert verified(rows, sent, at_once=1).proven()


def test_revision_that_is_not_said_is_found() -> None:
    sent, rows = revised(make_bars(20), close=99.0)
    named = next(row for _, row in rows if "revised" in row["flags"])
    named["flags"].clear()
    assert (named["example_id"], "flags") in found(verified(rows, sent))


def test_example_of_before_a_revision_is_found_if_no_later_one_came() -> None:
    sent, rows = revised(make_bars(20), close=99.0)
    rows = [(split, row) for split, row in rows if "revised" not in row["flags"]]
    result = verified(rows, sent)
    assert {one.column for one in result.mismatches} == {"target.next_close", "flags"}


def test_revision_that_files_do_not_show_is_counted() -> None:
    rows = copy.deepcopy(rows_of(BARS))
    rows[3][1]["flags"].append("revised")
    result = verified(rows)
    assert result.proven()
    assert result.revisions == 1


def test_bar_that_is_sent_again_as_it_was_is_no_revision() -> None:
    bars = make_bars(20)
    assert verified(rows_of(bars), [bar for one in bars for bar in (one, one)]).proven()


# -- indicators -----------------------------------------------------------------------------------


def test_indicators_of_bars_are_compared_and_others_counted() -> None:
    options = TrainingOptions.of(context_window=3, include_features=["technical_indicators"])
    bars = [
        bar | {"technical_indicators": {"sma": float(n)} if n else None} for n, bar in enumerate(make_bars(6))
    ]
    rows = rows_of(bars, options)
    for _, row in rows:
        for bar in (*row["context"], row["current"]):
            bar["indicators"] = (bar["indicators"] or {}) | {"rsi": 50.0}
    result = verified(rows, bars, options)
    assert result.proven()
    assert (result.indicators, result.unknown_indicators) == (8, 9)
    rows[1][1]["context"][1]["indicators"]["sma"] += 1
    rows[2][1]["current"]["indicators"].pop("sma")
    assert {one.column for one in verified(rows, bars, options).mismatches} == {
        "context[1].indicators",
        "current.indicators",
    }


# -- finished -------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
@pytest.mark.parametrize("of_bars", [None, {"sma": 1.5}])
def test_finished_shards_are_compared_without_the_purged(
    format_: str, of_bars: dict[str, float] | None, tmp_path: Path
) -> None:
    bars = [bar | {"technical_indicators": of_bars} for bar in BARS]
    options = TrainingOptions.of(
        context_window=5,
        include_features=["ohlcv", "technical_indicators"],
        splits={"train": START + 20 * DAY, "test": None},
    )
    folder = write_dataset(tmp_path / "set", make_examples(bars, options), options)
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts, format=format_), lambda _: None)
    for purged, batches in ((True, written(parts)), (False, RawShards.of(folder).batches())):
        result = verify(
            Verifier(KnownBars.of(frame_of(bars)), options, purged=purged), batches, lambda _: None
        )
        assert [str(one) for one in result.mismatches] == []
        assert (result.missing, sum(result.examples.values())) == (0, result.expected)
        assert ("purged" in result.examples) is purged
        assert bool(result.indicators) is (of_bars is not None)


def test_shards_in_another_style_cannot_be_compared(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", make_examples(BARS, OPTIONS), OPTIONS)
    with pytest.raises(ConfigError, match="is not finished in style raw: `candlefleet dataset finalize`"):
        RawShards.of(folder)
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts, style="series"), lambda _: None)
    with pytest.raises(ConfigError, match="but in style series"):
        RawShards.of(folder)


def test_shard_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", make_examples(BARS, OPTIONS), OPTIONS)
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts), lambda _: None)
    next((folder / "data").iterdir()).unlink()
    with pytest.raises(ConfigError, match="is gone"):
        list(RawShards.of(folder).batches())


# -- anything at all ------------------------------------------------------------------------------

ROWS = rows_of(BARS[:29])


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the numbers and the times of an example are."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in inner:
            yield from numbers(one, (*path, name))
    elif isinstance(value, float | datetime):
        yield path


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["nudged", "doubled", "lost"]))
def test_number_that_is_changed_anywhere_is_found(seed: int, how: str) -> None:
    rows, chance = copy.deepcopy(ROWS), random.Random(seed)
    _, row = chance.choice(rows)
    *path, last = chance.choice(list(numbers(row)))
    holder: Any = row
    for name in path:
        holder = holder[name]
    value = holder[last]
    if isinstance(value, datetime):
        holder[last] = value + (timedelta(microseconds=1) if how == "nudged" else DAY)
    elif how == "lost" and (last == "volume" or "target" in path):
        holder[last] = None
    else:
        holder[last] = value * (1 + 1e-9) + 1e-9 if how == "nudged" else value * 2 + 1
    result = verified(rows, BARS[:29])
    assert row["example_id"] in {one.example_id for one in result.mismatches}
    assert not result.proven(partial=True)


# -- beside the fleet's engine --------------------------------------------------------------------

ARRIVALS = st.lists(
    st.tuples(st.sampled_from("AB"), st.integers(0, 14), st.integers(0, 2), st.booleans()), max_size=60
)


@settings(deadline=None, max_examples=60)
@given(ARRIVALS, st.sampled_from([0, 2]), st.integers(1, 9), st.integers(0, 2))
def test_what_the_fleet_makes_of_bars_in_any_order_is_proven(
    arrivals: list[tuple[str, int, int, bool]], lateness: int, size: int, max_gap: int
) -> None:
    options = TrainingOptions.of(context_window=2, max_gap=max_gap)
    bars = [
        make_bars(15, symbol=symbol)[day] | {"close": 100.0 + change, "high": 110.0, "is_realtime": realtime}
        for symbol, day, change, realtime in arrivals
    ]
    frame, days = frame_of(bars), lateness * DAY
    verifier = Verifier(KnownBars.of(frame, days.total_seconds()), options)
    policy = SeriesPolicy(options.span, round(days.total_seconds() * 1e6), max_gap)
    history = History.empty()
    for start in range(0, len(frame), size):
        placed = place(history, frame[start : start + size], policy)
        examples = examples_of(placed, options)
        table = ExampleTable(examples, options).take(np.arange(len(examples)))
        verifier.take(examples.said["split"], table)
        history = placed.after()
    result = verifier.verified()
    assert [str(one) for one in result.mismatches] == []
    assert (result.missing, result.revisions) == (0, 0)
    assert result.bars.late + result.bars.replaced + result.bars.open + len(result.bars) == len(bars)
