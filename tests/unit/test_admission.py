"""Which rows get in, by whichever door; that their verdicts agree is in test_one_verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas
import polars as pl
import pyarrow as pa
import pytest

from router.admission import Admission, Unreadable, admit
from router.batch import PointBatch
from router.check_numbers import NumberText
from router.errors import DecodeError, Reason
from router.originals import original_text
from router.rules import Rules
from router.schema import COLUMNS, FRAME_SCHEMA, POINT_SCHEMA
from tests.make import START, make_batch, make_frame, make_point, make_values

MANY = 100


def make_rows(rows: int = MANY) -> list[dict[str, Any]]:
    return [make_values(row) for row in range(rows)]


def make_text(rows: int = MANY) -> pl.DataFrame:
    stamps = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        make_frame(rows)
        .drop("technical_indicators")
        .with_columns(stamps, pl.exclude("timestamp").cast(pl.String))
    )


def codes(admission: Admission) -> dict[int, list[str]]:
    return {one.index: [reason.code for reason in one.reasons] for one in admission.refused}


def generated(rows: int) -> Any:
    return (row for row in make_rows(rows))


DOORS: dict[str, Callable[[], Any]] = {
    "batch": lambda: make_batch(MANY),
    "points": lambda: [make_point(**row) for row in make_rows()],
    "mappings": make_rows,
    "few mappings": lambda: make_rows(3),
    "generator": lambda: generated(MANY),
    "mixed": lambda: [make_point(**row) if n % 2 else row for n, row in enumerate(make_rows())],
    "one point": lambda: make_point(),
    "one mapping": lambda: make_values(),
    "frame": lambda: make_frame(MANY),
    "frame in another order": lambda: make_frame(MANY).select(reversed(COLUMNS)).with_columns(other=1),
    "lazy frame": lambda: make_frame(MANY).lazy(),
    "frame of text": make_text,
    "frame of categories": lambda: make_frame(MANY).with_columns(
        pl.col("symbol", "source").cast(pl.Categorical)
    ),
    "frame of enums": lambda: make_frame(MANY).with_columns(pl.col("timeframe").cast(pl.Enum(["1m", "1h"]))),
    "milliseconds": lambda: make_frame(MANY).with_columns(pl.col("timestamp").dt.cast_time_unit("ms")),
    "nanoseconds": lambda: make_frame(MANY).with_columns(pl.col("timestamp").dt.cast_time_unit("ns")),
    "another zone": lambda: make_frame(MANY).with_columns(
        pl.col("timestamp").dt.convert_time_zone("Asia/Tokyo")
    ),
    "decimals": lambda: make_frame(MANY).with_columns(pl.col("open", "close").cast(pl.Decimal(20, 4))),
    "narrow floats": lambda: make_frame(MANY).with_columns(pl.col("volume").cast(pl.Float32)),
    "arrow table": lambda: make_batch(MANY).table,
    "arrow record batch": lambda: make_batch(MANY).table.combine_chunks().to_batches()[0],
}


@pytest.mark.parametrize("door", DOORS)
def test_valid_points_are_admitted_through_every_door(door: str) -> None:
    admission = admit(DOORS[door]())
    assert admission.refused == ()
    assert admission.notes == {}
    assert list(admission.batch) == list(make_batch(len(admission.batch)))
    assert admission.batch.frame.schema == FRAME_SCHEMA
    assert admission.batch.table.schema == POINT_SCHEMA


def test_a_batch_is_admitted_as_it_is() -> None:
    batch = make_batch()
    assert admit(batch).batch is batch


@pytest.mark.parametrize("door", ["few", "many", "frame", "text"])
def test_refused_points_keep_their_position_and_the_others_their_order(door: str) -> None:
    rows = make_rows(5 if door == "few" else MANY)
    rows[1]["close"], rows[3]["symbol"] = None, ""
    frame = pl.DataFrame(rows, schema=FRAME_SCHEMA)
    texts = frame.drop("technical_indicators").with_columns(
        pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%:z"), pl.exclude("timestamp").cast(pl.String)
    )
    admission = admit(
        {"few": rows, "many": rows, "frame": frame, "text": texts}[door], where="line {}".format
    )
    assert codes(admission) == {1: ["required"], 3: ["required"]}
    assert [one.where for one in admission.refused] == ["line 1", "line 3"]
    assert admission.batch.to_dicts() == [row for n, row in enumerate(rows) if n not in (1, 3)]


def test_rows_that_only_the_slow_check_accepts_stand_in_their_places() -> None:
    rows: list[dict[str, Any]] = make_rows()
    rows[2] |= {"volume": Decimal("1.25"), "symbol": "e\u0301"}
    rows[50] |= {"timestamp": rows[50]["timestamp"].isoformat()}
    admission = admit(rows)
    assert len(admission.batch) == MANY
    assert admission.batch[2] == make_point(**make_values(2) | {"volume": 1.25, "symbol": "\xe9"})
    assert admission.batch[50] == make_point(**make_values(50))


def test_original_of_a_refused_point_is_json_with_all_its_fields() -> None:
    given = make_values() | {"close": math.nan, "low": 10**5000, "extra": [Decimal("1.10"), object]}
    original = json.loads(admit([given]).refused[0].original, parse_float=str)
    assert original["close"] == "nan"
    assert original["timestamp"] == "2024-01-01T00:00:00+00:00"
    assert original["extra"] == ["1.10", "<class 'object'>"]
    assert int(original["low"], 16) == 10**5000
    assert list(original) == list(given)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NumberText("1" * 5000), "1" * 5000),
        ({"a\n": "\ud800"}, '{"a\\n": "\\ud800"}'),
        ({1: True, None: None}, '{"0x1": true, "None": null}'),
        (-math.inf, '"-inf"'),
        (Decimal("sNaN"), '"sNaN"'),
        (date(2024, 1, 1), '"2024-01-01"'),
        ([np.int64(7), np.float32(1.5), np.bool_(True), "a\nb"], '[7, 1.5, true, "a\\nb"]'),
        (b"\xff", "\"b'\\\\xff'\""),
    ],
)
def test_originals_are_json_whatever_they_were(value: Any, text: str) -> None:
    assert original_text(value) == text
    json.loads(original_text(value), parse_int=str)


def test_originals_nested_without_end_are_cut() -> None:
    tree: list[Any] = []
    tree.append(tree)
    assert len(original_text(tree)) < 200


def test_what_is_no_point_among_points_is_refused_alone() -> None:
    unreadable = Unreadable("x,y", (Reason("csv.columns", "", "has 2 cells"),))
    admission = admit([make_values(), 5, unreadable, *make_rows(), [1]])
    assert codes(admission) == {1: ["envelope.shape"], 2: ["csv.columns"], 103: ["envelope.shape"]}
    assert [one.original for one in admission.refused] == ["5", "x,y", "[1]"]


@pytest.mark.parametrize("points", [5, None, "text", b"bytes"])
def test_what_holds_no_points_at_all_is_an_error_of_the_caller(points: Any) -> None:
    with pytest.raises(TypeError, match="holds no points"):
        admit(points)


@pytest.mark.parametrize(
    "points", [[], pl.DataFrame(), make_frame(0), POINT_SCHEMA.empty_table()], ids=range(4)
)
def test_nothing_is_admitted_as_an_empty_batch(points: Any) -> None:
    assert admit(points).batch == PointBatch(make_frame(0))


COLUMN_CASES: list[Any] = [
    ("bools for prices", pl.col("is_realtime").alias("close"), "type"),
    ("numbers for names", pl.lit(5).alias("symbol"), "type"),
    ("null for a name", pl.lit(None, pl.String).alias("source"), "required"),
    ("null prices", pl.lit(None, pl.Float64).alias("low"), "required"),
    ("infinite prices", pl.lit(math.inf).alias("high"), "number.not_finite"),
    ("naive timestamps", pl.col("timestamp").dt.replace_time_zone(None), "timestamp.no_zone"),
    ("days", pl.col("timestamp").dt.date(), "timestamp.format"),
    ("counts", pl.col("timestamp").to_physical(), "timestamp.ambiguous_unit"),
    (
        "too fine",
        (pl.col("timestamp").dt.cast_time_unit("ns") + pl.duration(nanoseconds=1)),
        "timestamp.precision",
    ),
    ("far away", pl.lit(2**62).cast(pl.Datetime("ms", "UTC")).alias("timestamp"), "timestamp.range"),
    ("longest ago", pl.lit(-(2**63)).cast(pl.Datetime("ms", "UTC")).alias("timestamp"), "timestamp.range"),
    ("long ago", pl.lit(-(2**62)).cast(pl.Datetime("us", "UTC")).alias("timestamp"), "timestamp.range"),
    ("future", pl.lit(datetime(2200, 1, 1, tzinfo=UTC)).alias("timestamp"), "timestamp.future"),
    ("numbers for flags", pl.lit(1).alias("is_realtime"), "type"),
    ("a null indicator map", pl.lit("{}").alias("technical_indicators"), "type"),
    ("a wide frame", [pl.lit(n).alias(f"x{n}") for n in range(52)], "envelope.fields"),
]


@pytest.mark.parametrize(("change", "code"), [pytest.param(*case[1:], id=case[0]) for case in COLUMN_CASES])
def test_a_bad_column_refuses_every_row_with_its_code(change: Any, code: str) -> None:
    admission = admit(make_frame(3).with_columns(change))
    assert codes(admission) == {row: [code] for row in range(3)}


def test_missing_columns_are_their_defaults_or_reasons() -> None:
    optional = ["volume", "data_quality_score", "is_realtime", "technical_indicators"]
    assert admit(make_frame(1).drop(optional)).batch[0].model_dump(include={*optional}) == {
        "volume": None,
        "data_quality_score": 1.0,
        "is_realtime": False,
        "technical_indicators": None,
    }
    assert codes(admit(make_frame(2).drop("open", "source"))) == {
        key: ["required", "required"] for key in range(2)
    }


def test_nulls_in_optional_columns_are_their_defaults() -> None:
    frame = make_frame(3).with_columns(
        volume=pl.Series([1.0, None, 2.0]),
        data_quality_score=pl.Series([0.5, None, 1.0]),
        is_realtime=pl.Series([True, None, False]),
    )
    batch = admit(frame).batch
    assert batch.frame["volume"].to_list() == [1.0, None, 2.0]
    assert batch.frame["data_quality_score"].to_list() == [0.5, 1.0, 1.0]
    assert batch.frame["is_realtime"].to_list() == [True, False, False]


def test_a_zone_of_the_rules_holds_for_naive_columns() -> None:
    local = pl.Series([datetime(2024, 1, 1, 1), datetime(2023, 10, 29, 2, 30), None])
    admission = admit(make_frame(3).with_columns(timestamp=local), Rules(zone="Europe/Berlin"))
    assert codes(admission) == {1: ["timestamp.invalid"], 2: ["required"]}
    assert admission.batch[0].timestamp == START


@pytest.mark.parametrize("kind", [pl.Int64, pl.UInt64, pl.String])
@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_a_unit_of_the_rules_makes_columns_of_integers_timestamps(unit: str, factor: int, kind: Any) -> None:
    counts = pl.Series([1704067200 * factor, 0]).cast(kind)
    admission = admit(make_frame(2).with_columns(timestamp=counts), Rules(timestamp_unit=unit))
    assert [point.timestamp for point in admission.batch] == [START, datetime(1970, 1, 1, tzinfo=UTC)]


def test_text_timestamps_of_every_accepted_form_are_one_moment() -> None:
    forms = [
        "2024-01-01T00:00:00Z",
        "2024-01-01 00:00:00+00:00",
        "2024-01-01T05:30:00.000+05:30",
        "2023-12-31T23:00:00.000000-01:00",
    ]
    admission = admit(make_frame(4).with_columns(timestamp=pl.Series(forms)))
    assert {point.timestamp for point in admission.batch} == {START}


def test_text_timestamps_of_a_thousand_fractions_are_admitted_too() -> None:
    stamps = [START + timedelta(microseconds=n) for n in range(1500)]
    frame = make_frame(1500, timeframe="tick").with_columns(
        timestamp=pl.Series([f"{stamp:%Y-%m-%dT%H:%M:%S.%fZ}" for stamp in stamps])
    )
    assert [point.timestamp for point in admit(frame).batch] == stamps


INDICATOR_CASES: list[Any] = [
    ("map", [[("rsi", 55.0)], None, [("ema", 1.0), ("rsi", 2.0)]], {}),
    ("infinite", [[("rsi", math.inf)], None, [("rsi", 1.0)]], {0: ["number.not_finite"]}),
    ("bad name", [[("a\0", 1.0)], [], [("rsi", 1.0)]], {0: ["symbol.control"]}),
    ("name twice", [[("rsi", 1.0), ("rsi", 2.0)], [], None], {0: ["type"]}),
    ("too many", [[(f"x{n}", 1.0) for n in range(257)], [], None], {0: ["range"]}),
]


@pytest.mark.parametrize(
    ("maps", "refused"), [pytest.param(*case[1:], id=case[0]) for case in INDICATOR_CASES]
)
def test_maps_of_indicators_are_checked_within(maps: Any, refused: dict[int, list[str]]) -> None:
    table = make_batch(3).table
    position = table.schema.get_field_index("technical_indicators")
    admission = admit(
        table.set_column(position, "technical_indicators", pa.array(maps, POINT_SCHEMA.types[position]))
    )
    assert codes(admission) == refused
    kept = [None if one is None else dict(one) for row, one in enumerate(maps) if row not in refused]
    assert [point.technical_indicators for point in admission.batch] == kept


def test_indicators_absent_from_a_struct_are_left_out() -> None:
    indicators = pl.Series(
        "technical_indicators",
        [{"rsi": 55.0, "ema": None}, None],
        dtype=pl.Struct({"rsi": pl.Float64, "ema": pl.Float64}),
    )
    batch = admit(make_frame(2).with_columns(indicators)).batch
    assert [point.technical_indicators for point in batch] == [{"rsi": 55.0}, None]


def test_indicators_of_many_mappings_are_admitted() -> None:
    rows = [
        row | {"technical_indicators": {"rsi": 1.0 * n} if n % 2 else None}
        for n, row in enumerate(make_rows())
    ]
    assert admit(rows).batch.to_dicts() == rows


@pytest.mark.parametrize("few", [True, False])
def test_notes_are_counted_by_source(few: bool) -> None:
    rows: list[dict[str, Any]] = make_rows(4 if few else MANY)
    rows[0] |= {"volume": "0.1234567890123456789", "timeframe": "5m"}
    rows[1] |= {"timeframe": "5m"}
    rows[2] |= {"timeframe": "1h", "source": "b"}
    rows[3] |= {"timeframe": "1h", "close": None}
    assert admit(rows).notes == {"exchange-a": {"rounded": 1, "misaligned": 1}, "b": {"misaligned": 1}}


def test_long_digits_in_columns_are_noted_as_in_single_points() -> None:
    texts = make_text(3).with_columns(
        volume=pl.Series(["1.00000000000000000000", "0.1234567890123456789", "123456789012345678"])
    )
    assert admit(texts).notes == {"exchange-a": {"rounded": 2}}
    counts = make_frame(2).with_columns(volume=pl.Series([10**17, 123456789012345678]))
    assert admit(counts).notes == {"exchange-a": {"rounded": 1}}


def test_prices_below_zero_are_admitted_for_futures_alone() -> None:
    frame = make_frame(2, open=-37.0, high=-36.0, low=-40.0, close=-37.63)
    admission = admit(frame.with_columns(asset_class=pl.Series(["futures", "crypto"])))
    assert codes(admission) == {1: ["number.not_positive"] * 4}
    assert admission.batch[0].close == -37.63


def test_a_lone_surrogate_costs_only_its_own_row() -> None:
    rows = make_rows()
    rows[7]["symbol"] = "\ud800"
    admission = admit(rows)
    assert codes(admission) == {7: ["symbol.surrogate"]}
    assert len(admission.batch) == MANY - 1


def test_values_of_mixed_types_in_one_field_are_each_judged_by_their_own() -> None:
    rows: list[dict[str, Any]] = make_rows()
    rows[0] |= {"open": 42_000, "volume": True, "timestamp": START.astimezone(timezone(timedelta(hours=1)))}
    rows[1] |= {"volume": np.int64(7), "is_realtime": "true"}
    rows[2] |= {"volume": NumberText("7")}
    admission = admit(rows)
    assert codes(admission) == {0: ["type"]}
    assert [point.volume for point in admission.batch[:2]] == [7.0, 7.0]


def test_a_table_with_one_name_twice_is_no_table_of_points() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["open", "open"])
    with pytest.raises(DecodeError) as caught:
        admit(twice)
    assert caught.value.code == "envelope.shape"


def test_frames_of_pandas_are_admitted_and_their_nan_is_absent() -> None:
    frame = pandas.DataFrame(make_rows(3)).drop(columns="technical_indicators")
    frame.loc[1, "volume"] = frame.loc[2, "close"] = math.nan
    admission = admit(frame.set_index("timestamp"))
    assert codes(admission) == {2: ["required"]}
    assert list(admission.batch) == [make_point(), make_point(**make_values(1, volume=None))]


def test_frames_of_pandas_that_mix_types_are_judged_by_the_row() -> None:
    frame = pandas.DataFrame(make_rows(5)).astype({"close": object, "timestamp": object})
    frame.loc[0, "close"], frame.loc[1, "close"] = "x", pandas.NA
    frame.loc[2, "timestamp"] = pandas.NaT
    frame.loc[3, "timestamp"] = pandas.Timestamp("2024-01-01T00:00:00.000000001Z")
    refused = codes(admit(frame))
    assert refused == {0: ["number.format"], 1: ["required"], 2: ["required"], 3: ["timestamp.precision"]}
