"""Bars of Databento: frames, arrays, JSON and record objects."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import Admission, PointBatch, admit, from_databento
from router.errors import ConfigError, DecodeError

START = datetime(2022, 6, 10, 14, 30, tzinfo=UTC)
NS = 1_654_871_400_000_000_000
MINUTE = 60_000_000_000
UNDEFINED_PRICE = 2**63 - 1
UNDEFINED_TIMESTAMP = 2**64 - 1
DTYPE = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),
        *((name, "<i8") for name in ("open", "high", "low", "close")),
        ("volume", "<u8"),
    ]
)
SYMBOLS = {5482: "ESM2", 3403: "ESU2"}
PRICES = {
    "open": 3_913_750_000_000,
    "high": 3_914_250_000_000,
    "low": 3_913_000_000_000,
    "close": 3_914_000_000_000,
}


def make_values(minute: int = 0, **changes: Any) -> dict[str, Any]:
    head = {
        "length": 14,
        "rtype": 33,
        "publisher_id": 1,
        "instrument_id": 5482,
        "ts_event": NS + minute * MINUTE,
    }
    return {**head, **PRICES, "volume": 1_234, **changes}


def make_array(*rows: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array([tuple(row[name] for name in DTYPE.names or ()) for row in rows], dtype=DTYPE)


def make_frame(
    *rows: dict[str, Any], price_type: str = "float", pretty_ts: bool = True, **symbols: Any
) -> Any:
    """Return what `DBNStore.to_df` gives."""
    frame = pandas.DataFrame(make_array(*rows)).drop(columns="length")
    names = list(PRICES)
    if price_type == "float":
        frame[names] = frame[names].replace(UNDEFINED_PRICE, np.nan) / 1e9
    elif price_type == "decimal":
        frame[names] = frame[names].astype(object).map(lambda number: Decimal(number) / 1_000_000_000)
    if pretty_ts:
        frame["ts_event"] = pandas.to_datetime(frame["ts_event"], utc=True, errors="coerce")
    return frame.assign(**symbols).set_index("ts_event")


def make_json(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a line of Databento's JSON, in which 64-bit integers are text."""
    head = {name: row[name] for name in ("rtype", "publisher_id", "instrument_id")}
    values = {name: str(row[name]) for name in (*PRICES, "volume")}
    return {"hd": {"ts_event": str(row["ts_event"]), **head}, **values, **changes}


def admitted(records: Any, **changes: Any) -> Admission:
    return admit(from_databento(records, **{"asset_class": "futures", "symbols": SYMBOLS, **changes}))


def codes(admission: Admission) -> dict[int, list[str]]:
    return {one.index: [reason.code for reason in one.reasons] for one in admission.refused}


ROWS = [make_values(), make_values(1, instrument_id=3403)]


class Store:
    """As `DBNStore` is asked for a frame."""

    def to_df(self, price_type: str = "float") -> Any:
        return make_frame(*ROWS, price_type=price_type, symbol=["ESM2", "ESU2"])


DOORS: dict[str, Any] = {
    "store": Store,
    "array": lambda: make_array(*ROWS),
    "array of two dimensions": lambda: make_array(*ROWS).reshape(2, 1),
    "float frame": lambda: make_frame(*ROWS),
    "fixed frame": lambda: make_frame(*ROWS, price_type="fixed"),
    "decimal frame": lambda: make_frame(*ROWS, price_type="decimal"),
    "frame of integers": lambda: make_frame(*ROWS, price_type="fixed", pretty_ts=False),
    "frame with symbols": lambda: make_frame(*ROWS, symbol=["ESM2", "ESU2"]),
    "polars frame": lambda: pl.from_pandas(make_frame(*ROWS).reset_index()),
    "rows of an array": lambda: list(make_array(*ROWS)),
    "mappings": lambda: ROWS,
    "json": lambda: [make_json(row) for row in ROWS],
    "pretty json": lambda: [
        make_json(row, **{name: f"{PRICES[name] / 1e9:.9f}" for name in PRICES}) for row in ROWS
    ],
    "objects": lambda: [SimpleNamespace(**row) for row in ROWS],
    "objects with a header": lambda: (
        SimpleNamespace(hd=SimpleNamespace(**row), **{name: row[name] for name in (*PRICES, "volume")})
        for row in ROWS
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_records_of_every_shape_are_the_same_points(door: str) -> None:
    admission = admitted(DOORS[door]())
    assert codes(admission) == {}
    first, second = admission.batch
    assert (first.open, first.high, first.low, first.close) == (3913.75, 3914.25, 3913.0, 3914.0)
    assert (first.volume, first.timestamp, first.timeframe) == (1234.0, START, "1m")
    assert [first.symbol, second.symbol] == ["ESM2", "ESU2"]
    assert first.source == "databento"


def test_one_record_alone_is_one_point() -> None:
    assert len(admitted(make_values()).batch) == 1
    assert len(admitted(SimpleNamespace(**make_values())).batch) == 1


@pytest.mark.parametrize("rtype", [32, "32", "ohlcv-1s", "OHLCV_1S", "RType.OHLCV_1S"])
def test_the_record_type_says_the_timeframe(rtype: Any) -> None:
    assert admitted([make_values(rtype=rtype)]).batch[0].timeframe == "1s"


@pytest.mark.parametrize(("rtype", "timeframe"), [(32, "1s"), (33, "1m"), (34, "1h"), (35, "1d")])
def test_every_record_type_of_bars_is_known(rtype: int, timeframe: str) -> None:
    row = make_values(rtype=rtype, ts_event=19_000 * 86_400_000_000_000)
    for records in ([row], make_array(row)):
        assert admitted(records).batch[0].timeframe == timeframe


def test_another_record_type_is_refused_unless_the_timeframe_is_given() -> None:
    row = make_values(rtype=36)
    for records in ([row], make_array(row)):
        refused = admitted(records).refused[0]
        assert "'rtype 36' is not one of" in refused.reasons[0].message
        assert admitted(records, timeframe="1d").batch[0].timeframe == "1d"


def test_undefined_prices_and_timestamps_are_missing() -> None:
    rows = [
        make_values(close=UNDEFINED_PRICE),
        make_values(ts_event=UNDEFINED_TIMESTAMP),
        make_values(),
    ]
    doors = (rows, make_array(*rows), [make_json(row) for row in rows], make_frame(*rows))
    for records in doors:
        admission = admitted(records)
        assert codes(admission) == {0: ["required"], 1: ["required"]}
        assert [one.reasons[0].field for one in admission.refused] == ["close", "timestamp"]


def test_an_instrument_without_a_symbol_is_refused_alone() -> None:
    rows = [make_values(instrument_id=7), make_values()]
    for records in (rows, make_array(*rows), make_frame(*rows), make_frame(*rows, symbol=["", "ESM2"])):
        assert codes(admitted(records)) == {0: ["required"]}


def test_a_symbol_given_holds_for_every_record() -> None:
    for records in (ROWS, make_array(*ROWS), make_frame(*ROWS)):
        assert {point.symbol for point in admitted(records, symbol="ES").batch} == {"ES"}


def test_a_moment_finer_than_a_microsecond_is_refused() -> None:
    row = make_values(ts_event=NS + 1)
    for records in ([row], make_array(row), make_frame(row)):
        assert codes(admitted(records)) == {0: ["timestamp.precision"]}


@pytest.mark.parametrize(
    "record", [5, None, object(), {}, {"hd": 5}, SimpleNamespace(stype_out_symbol="ESM2")]
)
def test_a_record_that_is_no_bar_is_refused_alone(record: Any) -> None:
    admission = admitted([make_values(), record])
    assert codes(admission) == {1: ["envelope.shape"]}
    assert len(admission.batch) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [({"open": "x"}, "number.format"), ({"open": True}, "type"), ({"volume": -1}, "number.negative")],
)
def test_a_malformed_value_is_refused_alone(change: dict[str, Any], code: str) -> None:
    assert codes(admitted([make_values(**change), make_values(1)])) == {0: [code]}


def test_frames_of_other_schemas_are_refused_with_what_they_lack() -> None:
    with pytest.raises(DecodeError, match="no bars of Databento: no column open, high, low, close"):
        admitted(make_frame(*ROWS).drop(columns=list(PRICES)))
    with pytest.raises(ConfigError, match="'stock' is not one of crypto"):
        admitted(ROWS, asset_class="stock")


def test_nothing_is_no_points() -> None:
    for records in ([], make_array(), make_frame(), np.empty((0, 1), dtype=DTYPE)):
        assert len(admitted(records).batch) == 0


FIXED = st.one_of(st.integers(1, 2**53), st.integers(1, 2**63 - 2), st.integers(1, 10**6))


@settings(deadline=None)
@given(st.lists(FIXED, min_size=1, max_size=20))
def test_a_fixed_point_price_is_the_float_nearest_to_its_decimal(numbers: list[int]) -> None:
    rows = [make_values(n, **dict.fromkeys(PRICES, number)) for n, number in enumerate(numbers)]
    nearest = [float(Decimal(number).scaleb(-9)) for number in numbers]
    for records in (rows, make_array(*rows), [make_json(row) for row in rows]):
        admission = admitted(records)
        assert codes(admission) == {}
        assert admission.batch.frame["close"].to_list() == nearest


@settings(deadline=None)
@given(st.integers(-(2**63), -1))
def test_a_negative_price_is_exact_too(number: int) -> None:
    row = make_values(**dict.fromkeys(PRICES, number))
    for records in ([row], make_array(row)):
        assert [point.low for point in admitted(records).batch] == [float(Decimal(number).scaleb(-9))]


def test_more_digits_than_a_float_holds_are_counted_as_rounded() -> None:
    row = make_values(**dict.fromkeys(PRICES, 2**62 + 1))
    plain = make_values(1)
    for records in ([row, plain], make_array(row, plain)):
        assert admitted(records).notes == {"databento": {"rounded": 1}}


def test_a_batch_of_many_records_is_read_by_the_column() -> None:
    rows = [make_values(minute) for minute in range(1_000)]
    assert isinstance(from_databento(make_array(*rows), asset_class="futures", symbol="ES"), pl.DataFrame)
    batch = admitted(make_array(*rows)).batch
    assert batch == PointBatch(admitted(rows).batch.frame)
