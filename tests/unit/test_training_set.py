"""The examples that a destination writes, beside those that the definitions give a loop at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from destinations import LLMTrainingDatasetDestination
from destinations.training.destination import example_lines
from destinations.training.options import PARTS, PURGED, SETTINGS, TrainingOptions
from router.delivery import DirectDelivery
from router.errors import ConfigError
from router.matching import match
from router.route import Route
from router.schema import FRAME_SCHEMA
from router.table import RouteTable
from tests.make import as_batch
from tests.make_training import DAY, START, make_bars, make_examples, split_of

Bars = list[dict[str, Any]]


def frame_of(bars: Bars) -> pl.DataFrame:
    return pl.DataFrame(
        [bar | {"is_realtime": bar.get("is_realtime", False)} for bar in bars], schema=FRAME_SCHEMA
    )


def lines_of(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the split and the content of every line under a dataset's folder, in the order of writing."""
    files = sorted((folder / PARTS).rglob("part-*.jsonl"), key=lambda file: file.name)
    return [
        (file.parent.name.removeprefix("split="), json.loads(line))
        for file in files
        for line in file.read_text().splitlines()
    ]


def rows_of(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the same of Parquet parts, as JSON has it."""
    files = sorted((folder / PARTS).rglob("part-*.parquet"), key=lambda file: file.name)
    return [
        (file.parent.name.removeprefix("split="), as_json(row))
        for file in files
        for row in pq.ParquetFile(file).read().to_pylist(maps_as_pydicts="strict")
    ]


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(row, default=datetime.isoformat))
    return found


READ = {"jsonl": lines_of, "parquet": rows_of}


def expected(bars: Bars, options: TrainingOptions) -> list[tuple[str, dict[str, Any]]]:
    rows = make_examples(bars, options).to_pylist(maps_as_pydicts="strict")
    return [(split_of(row, options), as_json(row)) for row in rows]


def compared(found: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Return examples in an order of their own, without what each maker says in its own way."""
    plain = []
    for split, row in found:
        scale = {name: round(value, 9) for name, value in row["scale"].items()}
        plain.append((split, row | {"scale": scale, "example_id": "", "route_version": ""}))
    return sorted(
        plain, key=lambda pair: (pair[1]["source"], pair[1]["symbol"], pair[1]["timeframe"], pair[1]["as_of"])
    )


@pytest.fixture
def delivery() -> Iterator[DirectDelivery]:
    found = DirectDelivery()
    yield found
    found.close()


def deliver(
    delivery: DirectDelivery,
    destination: LLMTrainingDatasetDestination,
    bars: Bars,
    size: int = 7,
    **policy: Any,
) -> list[dict[str, Any]]:
    """Deliver bars in their order, some at a time; return what failed."""
    table = RouteTable([Route(route_id="llm", condition="true", destination=destination, **policy)])
    frame, errors = frame_of(bars), []
    for start in range(0, len(frame), size):
        batch = as_batch(frame[start : start + size])
        errors += delivery.deliver(batch, match(table, batch), table, {})
    return errors


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "window_of_two": {"context_window": 2},
    "horizon": {"horizon": 3},
    "stride": {"stride": 4},
    "gap_allowed": {"max_gap": 2},
    "no_volume": {"include_features": ["ohlc"]},
    "indicators": {"include_features": ["ohlcv", "technical_indicators"]},
    "return": {"target_column": "next_return_bps"},
    "direction": {"target_column": "direction"},
    "volume": {"target_column": "next_volume"},
    "splits": {
        "splits": {"train": START + 20 * DAY, "validation": START + 30 * DAY, "test": None},
        "embargo": timedelta(days=2),
    },
    "everything": {
        "horizon": 2,
        "stride": 3,
        "max_gap": 1,
        "target_column": "next_return_bps",
        "splits": {"train": START + 15 * DAY, "test": START + 35 * DAY},
    },
}
BARS = sorted(
    [
        *make_bars(45, skip=(9, 20, 21), technical_indicators={"sma": 1.5, "ünï": 2.0}),
        *make_bars(40, symbol="IBM", volume=None, closes=[100.0 if n % 9 < 6 else 60.0 for n in range(40)]),
        *make_bars(31, source="other", start=START + timedelta(hours=5)),
        *make_bars(12, symbol="CL", asset_class="futures", timeframe="1M", closes=[3.0, 0.0, -37.6] * 4),
    ],
    key=lambda bar: bar["timestamp"],
)


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
@pytest.mark.parametrize("case", CASES)
def test_examples_are_those_of_the_definitions(
    case: str, format_: str, tmp_path: Path, delivery: DirectDelivery
) -> None:
    given = {"context_window": 5, "format": format_} | CASES[case]
    options = TrainingOptions.of(**given)
    destination = LLMTrainingDatasetDestination(tmp_path / "set", durability="process", **given)
    assert not deliver(delivery, destination, BARS)
    found = READ[format_](tmp_path / "set")
    assert compared(found) == compared(expected(BARS, options))
    assert len({row["example_id"] for _, row in found}) == len(found)
    assert TrainingOptions.from_json((tmp_path / "set" / SETTINGS).read_text()) == options


@pytest.mark.parametrize("size", [1, 13, 1000])
def test_examples_are_the_same_bytes_however_the_bars_are_cut(
    size: int, tmp_path: Path, delivery: DirectDelivery
) -> None:
    destination = LLMTrainingDatasetDestination(tmp_path, context_window=6, durability="process")
    deliver(delivery, destination, BARS, size)
    files = sorted((tmp_path / PARTS).rglob("*.jsonl"), key=lambda file: file.name)
    whole = example_lines(as_batch(frame_of(BARS)), destination.options)
    found = b"".join(file.read_bytes() for file in files).replace(_version(files), b'""').splitlines()
    assert found == list(whole.values())


def _version(files: Sequence[Path]) -> bytes:
    return json.dumps(json.loads(files[0].read_text().splitlines()[0])["route_version"]).encode()


def test_every_run_without_a_gap_has_as_many_examples_as_its_bars_allow(tmp_path: Path) -> None:
    bars = make_bars(60, skip=(10, 30))
    found = example_lines(as_batch(frame_of(bars)), TrainingOptions.of(context_window=5, horizon=2))
    assert len(found) == sum(run - 5 + 1 - 2 for run in (10, 19, 29))


def test_the_end_of_the_stream_writes_nothing(tmp_path: Path, delivery: DirectDelivery) -> None:
    destination = LLMTrainingDatasetDestination(tmp_path, context_window=5, durability="process")
    deliver(delivery, destination, make_bars(9))
    before = lines_of(tmp_path)
    destination.close()
    assert lines_of(tmp_path) == before
    assert len(before) == 4


def test_the_target_is_in_no_bar_of_its_example() -> None:
    bars = make_bars(30, closes=[float(100 + n) for n in range(30)])
    for line in example_lines(as_batch(frame_of(bars)), TrainingOptions.of(context_window=5)).values():
        row = json.loads(line)
        closes = [bar["close"] for bar in (*row["context"], row["current"])]
        assert row["target"]["next_close"] == closes[-1] + 1
        assert row["target"]["next_close"] not in closes
        assert row["as_of"] <= row["label_start"] < row["label_end"]


def test_a_late_bar_is_an_error_of_its_own_and_in_no_example(
    tmp_path: Path, delivery: DirectDelivery
) -> None:
    bars = make_bars(12)
    late = [*bars[:6], *bars[7:9], bars[6], *bars[9:]]
    destination = LLMTrainingDatasetDestination(tmp_path, context_window=3, durability="process")
    errors = deliver(delivery, destination, late, 4)
    assert [(entry["type"], entry["rows"]) for entry in errors] == [("late_error", [0])]
    assert compared(lines_of(tmp_path)) == compared(expected([*bars[:6], *bars[7:]], destination.options))


def test_a_late_bar_within_the_allowed_lateness_is_in_its_place(
    tmp_path: Path, delivery: DirectDelivery
) -> None:
    bars = make_bars(12)
    late = [*bars[:6], *bars[7:9], bars[6], *bars[9:]]
    destination = LLMTrainingDatasetDestination(tmp_path, context_window=3, durability="process")
    assert not deliver(delivery, destination, late, 4, allowed_lateness=2 * 86_400)
    assert compared(lines_of(tmp_path)) == compared(expected(bars[:10], destination.options))


def test_only_the_final_bar_of_a_live_series_is_in_examples(tmp_path: Path, delivery: DirectDelivery) -> None:
    bars = [bar | {"is_realtime": True} for bar in make_bars(9)]
    live = [one for bar in bars for one in (bar | {"close": bar["close"] + 0.25}, bar)]
    destination = LLMTrainingDatasetDestination(tmp_path, context_window=3, durability="process")
    assert not deliver(delivery, destination, live, 5)
    assert compared(lines_of(tmp_path)) == compared(expected(bars[:-1], destination.options))


def test_a_bar_revised_after_its_example_was_written_gives_it_anew_under_its_id(
    tmp_path: Path, delivery: DirectDelivery
) -> None:
    bars = make_bars(7)
    revised = bars[4] | {"close": bars[4]["close"] + 0.25}
    destination = LLMTrainingDatasetDestination(tmp_path, context_window=3, durability="process")
    assert not deliver(delivery, destination, [*bars[:5], revised, *bars[5:]], 3)
    found = [row for _, row in lines_of(tmp_path)]
    assert [row["flags"] for row in found] == [[], [], ["revised"], [], []]
    assert found[1]["example_id"] == found[2]["example_id"]
    newest = {row["example_id"]: ("train", row | {"flags": []}) for row in found}
    as_it_is = [*bars[:4], revised, *bars[5:]]
    assert compared(list(newest.values())) == compared(expected(as_it_is, destination.options))


def test_rows_written_again_in_another_cutting_leave_every_example_once(tmp_path: Path) -> None:
    destination = LLMTrainingDatasetDestination(tmp_path, context_window=4, durability="process")
    batch = as_batch(frame_of(make_bars(30)))
    destination.open()
    destination.write_batch(batch.slice(0, 20))
    destination.write_batch(batch)
    destination.write_batch(batch.slice(0, 11))
    assert destination.holds(batch).all()
    destination.close()
    found = [row["example_id"] for _, row in lines_of(tmp_path)]
    assert len(found) == len(set(found)) == 30 - 4


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_prices_of_any_size_have_a_scale(size: float) -> None:
    closes = [(100 + n % 3) * size for n in range(9)]
    bars = [
        bar | dict.fromkeys(("open", "high", "low", "close"), closes[n]) for n, bar in enumerate(make_bars(9))
    ]
    for line in example_lines(as_batch(frame_of(bars)), TrainingOptions.of(context_window=4)).values():
        scale = json.loads(line)["scale"]
        assert scale["close_mean"] == pytest.approx(101 * size)
        assert scale["close_std"] == pytest.approx((2 / 3) ** 0.5 * size)


def test_a_set_that_was_written_without_being_opened_says_what_it_is(tmp_path: Path) -> None:
    destination = LLMTrainingDatasetDestination(tmp_path / "set", context_window=4, durability="process")
    destination.write_batch(as_batch(frame_of(make_bars(9))))
    destination.close()
    assert TrainingOptions.from_json((tmp_path / "set" / SETTINGS).read_text()) == destination.options


def test_parquet_parts_have_the_one_schema(tmp_path: Path, delivery: DirectDelivery) -> None:
    destination = LLMTrainingDatasetDestination(tmp_path, "parquet", 3, ["technical_indicators"])
    deliver(delivery, destination, make_bars(9, volume=None))
    (part, *_) = (tmp_path / PARTS).rglob("*.parquet")
    assert pq.read_schema(part).equals(destination.options.schema())
    assert pq.ParquetFile(part).read().schema.field("context").type.value_type == destination.options.bar()


def test_purged_examples_are_kept_apart(tmp_path: Path, delivery: DirectDelivery) -> None:
    destination = LLMTrainingDatasetDestination(
        tmp_path, context_window=5, splits={"train": START + 10 * DAY, "test": None}, durability="process"
    )
    deliver(delivery, destination, make_bars(30))
    found = [split for split, _ in lines_of(tmp_path)]
    assert (found.count("train"), found.count(PURGED), found.count("test")) == (5, 6, 14)


@pytest.mark.parametrize(
    ("given", "code", "where"),
    [
        ({"context_window": 1}, "range", "context_window"),
        ({"context_window": "many"}, "range", "context_window"),
        ({"target_column": "close"}, "target.leak", "target_column"),
        ({"target_column": "next_clse"}, "enum", "target_column"),
        ({"format": "csv"}, "enum", "format"),
        ({"include_features": ["ohlvc"]}, "enum", "include_features"),
        ({"stride": 0}, "range", "stride"),
        ({"horizon": 0}, "range", "horizon"),
        ({"max_gap": -1}, "range", "max_gap"),
        ({"splits": {"train": None, "test": None}}, "dataset.splits", "splits"),
        ({"splits": {"../x": None}}, "dataset.splits", "splits"),
        ({"splits": {"train": "soon"}}, "dataset.splits", "splits"),
        ({"embargo": -1}, "range", "embargo"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_opened(
    given: dict[str, Any], code: str, where: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        LLMTrainingDatasetDestination(tmp_path / "set", **given)
    assert (refusal.value.code, refusal.value.where) == (code, where)
    assert not (tmp_path / "set").exists()


def test_a_dataset_goes_on_with_the_options_it_was_begun_with(tmp_path: Path) -> None:
    LLMTrainingDatasetDestination(tmp_path, context_window=5).check()
    with pytest.raises(ConfigError, match="begun as") as refusal:
        LLMTrainingDatasetDestination(tmp_path, context_window=6).open()
    assert refusal.value.code == "dataset.layout"


def test_schema_is_that_of_the_rows() -> None:
    options = TrainingOptions.of(context_window=3)
    assert make_examples(make_bars(5), options).schema == options.schema()
    assert pa.types.is_list(options.schema().field("context").type)
