"""Timestamps, however they are written, become the start of a bar in UTC, or say why not."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.admission import Unreadable, admit
from router.bar_starts import BarStarts
from router.check_times import check_timestamp
from router.columns import read_timestamps
from router.errors import ConfigError, PointError
from router.files import read_bars
from router.layout import Layout
from router.rules import FOLDS, Rules
from tests.make import make_values

HEADER = "time,o,h,l,c\n"


def make_csv(*timestamps: Any) -> io.BytesIO:
    return io.BytesIO((HEADER + "".join(f"{start},1,2,1,2\n" for start in timestamps)).encode())


def make_layout(timeframe: str = "1h", **said: Any) -> Layout:
    constants = {"symbol": "X", "timeframe": timeframe, "asset_class": "crypto", "source": "s"}
    return Layout(constants=constants, **said)


def starts(*timestamps: Any, timeframe: str = "1h", **said: Any) -> list[str]:
    """Return the starts of the bars of a file, and in their places the codes of those refused."""
    found: list[str] = []
    for chunk in read_bars(make_csv(*timestamps), layout=make_layout(timeframe, **said)):
        admission = admit(chunk.rows)
        refused = {one.index: one.reasons[0].code for one in admission.refused}
        admitted = (point.timestamp.isoformat() for point in admission.batch)
        found += [refused[row] if row in refused else next(admitted) for row in range(len(chunk))]
    return [text.replace("+00:00", "Z") for text in found]


def fault(*timestamps: Any, **said: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        starts(*timestamps, **said)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "unit"),
    [("1704067200", "s"), ("1704067200000", "ms"), ("1704067200000000", "us"), ("1704067200000000000", "ns")],
)
def test_numbers_of_evident_size_need_no_unit_and_what_was_understood_is_told(
    written: str, unit: str
) -> None:
    assert starts(written, f"{written}.0") == ["2024-01-01T00:00:00Z"] * 2
    (chunk,) = read_bars(make_csv(written), layout=make_layout())
    names = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
    assert chunk.understood.time == f"{names[unit]} since 1970, by their size; open of the bar"


@pytest.mark.parametrize("number", ["0", "17040672", "20240131", "202401310930", "-5", "20240131093000000"])
def test_other_numbers_need_a_unit(number: str) -> None:
    assert fault(number) == (
        f"stream: {number} does not tell by its size what it counts since 1970; "
        "give --unit s, ms, us or ns, and write days as 2024-01-31 [timestamp.ambiguous_unit]"
    )


def test_a_unit_that_is_given_holds_for_every_number() -> None:
    assert starts("0", "1704067200", "-3600", unit="s") == [
        "1970-01-01T00:00:00Z",
        "2024-01-01T00:00:00Z",
        "1969-12-31T23:00:00Z",
    ]


def test_a_number_of_another_size_than_the_others_is_refused_alone() -> None:
    found = starts("1704067200000", "1704070800", "1704070800000", "x")
    assert found == [
        "2024-01-01T00:00:00Z",
        "timestamp.ambiguous_unit",
        "2024-01-01T01:00:00Z",
        "timestamp.format",
    ]


def test_numbers_behind_a_first_chunk_without_any_are_read() -> None:
    stream = io.BytesIO(b"\n" * 20_000 + b'{"t": 1704067200, "o": 1, "h": 2, "l": 1, "c": 2}\n')
    (chunk,) = read_bars(stream, "ndjson", layout=make_layout())
    assert len(admit(chunk.rows).batch) == 1


def test_timestamps_without_a_zone_need_one() -> None:
    assert fault("2024-01-01 00:00:00") == (
        "stream: '2024-01-01 00:00:00' names no zone: write it as 2024-01-01T00:00:00Z or with an offset "
        "such as +05:30; if that holds for the whole file, give its zone, as in --tz UTC [timestamp.no_zone]"
    )
    assert starts("2024-01-01 00:00:00", zone="America/New_York") == ["2024-01-01T05:00:00Z"]


def test_one_timestamp_without_a_zone_is_refused_alone() -> None:
    assert starts("2024-01-01T00:00:00Z", "2024-01-01T01:00:00") == [
        "2024-01-01T00:00:00Z",
        "timestamp.no_zone",
    ]


def test_a_zone_that_is_given_changes_no_timestamp_that_names_one() -> None:
    assert starts("2024-07-01T12:00:00Z", "2024-07-01T12:00:00", zone="Europe/Berlin") == [
        "2024-07-01T12:00:00Z",
        "2024-07-01T10:00:00Z",
    ]


def test_seconds_may_be_left_out() -> None:
    assert starts("2024-01-01 09:30Z", "2024-01-01T09:30+01:00") == [
        "2024-01-01T09:30:00Z",
        "2024-01-01T08:30:00Z",
    ]
    assert starts("2024-01-01 09:30", "2024-01-01 09:30:01", zone="UTC") == [
        "2024-01-01T09:30:00Z",
        "2024-01-01T09:30:01Z",
    ]


def test_local_times_that_come_twice_or_never_are_refused_or_told_apart_by_fold() -> None:
    twice, never = "2024-10-27 02:30:00", "2024-03-31 02:30:00"
    zone = "Europe/Berlin"
    assert starts(twice, never, zone=zone) == ["timestamp.invalid"] * 2
    assert starts(twice, never, zone=zone, fold="earlier") == ["2024-10-27T00:30:00Z", "timestamp.invalid"]
    assert starts(twice, never, zone=zone, fold="later") == ["2024-10-27T01:30:00Z", "timestamp.invalid"]


@pytest.mark.parametrize("timeframe", ["1d", "3d", "1w", "1M", "3M", "1y"])
def test_days_are_midnight_utc_for_bars_of_a_day_or_longer_whatever_the_zone(timeframe: str) -> None:
    assert starts("2024-01-01", timeframe=timeframe) == ["2024-01-01T00:00:00Z"]
    assert starts("2024-01-01", timeframe=timeframe, zone="Asia/Tokyo") == ["2024-01-01T00:00:00Z"]


@pytest.mark.parametrize("timeframe", ["12h", "1m", "tick"])
def test_days_are_not_enough_for_shorter_bars(timeframe: str) -> None:
    assert fault("2024-01-01", timeframe=timeframe) == (
        "stream: '2024-01-01' is a day: only bars of 1d, 3d, 1w, 1M, 3M, 1y can do without the time; "
        "give the time too, or another --timeframe [timestamp.day]"
    )


@pytest.mark.parametrize(
    ("timeframe", "close", "start"),
    [
        ("1m", "2024-01-01T00:00:00Z", "2023-12-31T23:59:00Z"),
        ("4h", "2024-01-01T04:00:00Z", "2024-01-01T00:00:00Z"),
        ("tick", "2024-01-01T04:00:00Z", "2024-01-01T04:00:00Z"),
        ("1d", "2024-03-01", "2024-02-29T00:00:00Z"),
        ("3d", "2024-03-01", "2024-02-27T00:00:00Z"),
        ("1w", "2024-01-08", "2024-01-01T00:00:00Z"),
        ("1M", "2024-03-01", "2024-02-01T00:00:00Z"),
        ("1M", "2024-02-29", "2024-02-01T00:00:00Z"),
        ("1M", "2024-01-31", "2024-01-01T00:00:00Z"),
        ("1M", "2024-03-30", "2024-02-29T00:00:00Z"),
        ("3M", "2024-03-31", "2024-01-01T00:00:00Z"),
        ("3M", "2024-01-01", "2023-10-01T00:00:00Z"),
        ("1y", "2024-12-31", "2024-01-01T00:00:00Z"),
        ("1y", "2024-01-01", "2023-01-01T00:00:00Z"),
    ],
)
def test_a_close_is_one_timeframe_behind_the_start_by_the_calendar(
    timeframe: str, close: str, start: str
) -> None:
    assert starts(close, timeframe=timeframe, stamp="close") == [start]


def test_days_and_months_of_a_zone_are_not_all_of_one_length() -> None:
    close = "2024-04-01 00:00:00"  # an hour was left out the day before
    said = {"zone": "Europe/Berlin", "stamp": "close"}
    assert starts(close, timeframe="1d", **said) == ["2024-03-30T23:00:00Z"]
    assert starts(close, timeframe="1M", **said) == ["2024-02-29T23:00:00Z"]


def test_every_other_reason_is_told_with_that_of_the_timestamp() -> None:
    stream = io.BytesIO(b"time,o,h,l,c\n2024-01-01,1,2,1,x\n2024-01-01T00:00:00Z,1,2,1,2\n")
    (chunk,) = read_bars(stream, layout=make_layout())
    (refused,) = admit(chunk.rows, where=chunk.where).refused
    assert refused.where == "stream:2"
    assert [reason.code for reason in refused.reasons] == ["timestamp.day", "number.format"]
    assert '"timestamp": "2024-01-01"' in refused.original


# -- the column and the row say the same ---------------------------------------------------------

MOMENTS = st.datetimes(datetime(1975, 1, 1), datetime(2024, 12, 31)) | st.sampled_from(
    [
        datetime(2024, 3, 31, 2, 30),
        datetime(2024, 10, 27, 2, 30),
        datetime(2024, 10, 27, 3),
        datetime(2024, 2, 29),
    ]
)
TEXTS = st.one_of(
    st.builds(
        lambda m, tail: f"{m:%Y-%m-%d %H:%M:%S}{tail}", MOMENTS, st.sampled_from(["", "Z", "+02:00", ".5"])
    ),
    st.builds(lambda m, tail: f"{m:%Y-%m-%dT%H:%M}{tail}", MOMENTS, st.sampled_from(["", "Z", "-05:00"])),
    MOMENTS.map(lambda m: f"{m:%Y-%m-%d}"),
    st.builds(
        lambda m, per: str(int(m.timestamp()) * per), MOMENTS, st.sampled_from([1, 1000, 10**6, 10**9])
    ),
    st.sampled_from(["", "x", "2024-13-01", "2024-01-01 24:00", "1704067200.0", "1.5", "-1", "9" * 30]),
)
TYPED = st.one_of(
    st.lists(TEXTS | st.none(), min_size=1, max_size=5),
    st.lists(MOMENTS, min_size=1, max_size=5),
    st.lists(MOMENTS.map(lambda m: m.replace(tzinfo=UTC)), min_size=1, max_size=5),
    st.lists(st.dates(date(2000, 1, 1), date(2020, 1, 1)) | st.none(), min_size=1, max_size=5),
    st.lists(st.integers(0, 2**62) | st.integers(10**9, 2 * 10**9), min_size=1, max_size=5),
    st.lists(st.floats(0, 2e12) | st.integers(10**12, 2 * 10**12).map(float), min_size=1, max_size=5),
)
LAYOUTS = st.builds(
    Layout,
    zone=st.sampled_from([None, "UTC", "Europe/Berlin"]),
    fold=st.sampled_from([None, *FOLDS]),
    unit=st.sampled_from([None, "s", "ms"]),
    stamp=st.sampled_from(["open", "close"]),
)


@settings(max_examples=300, deadline=None)
@given(TYPED, LAYOUTS, st.sampled_from(["1m", "1h", "1d", "1w", "1M", "tick", "7x"]))
def test_a_column_is_read_as_its_values_are_one_by_one(
    values: list[Any], layout: Layout, timeframe: str
) -> None:
    rows = [make_values(timestamp=value, timeframe=timeframe) for value in values]
    found = BarStarts(layout, values).in_frame(pl.DataFrame(rows))
    expected = BarStarts(layout, values).in_rows(rows)
    assert verdicts(found) == verdicts(expected)


def verdicts(rows: Any) -> list[Any]:
    """Return what admission says of each row in turn: its start, or the codes of its reasons."""
    listed = rows.to_dicts() if isinstance(rows, pl.DataFrame) else rows
    return [
        [reason.code for reason in row.reasons] if isinstance(row, Unreadable) else outcome(row)
        for row in listed
    ]


def outcome(row: dict[str, Any]) -> Any:
    admission = admit([row])
    if admission.refused:
        return [reason.code for reason in admission.refused[0].reasons]
    return admission.batch[0].timestamp


@settings(max_examples=200, deadline=None)
@given(
    st.lists(TEXTS | st.none(), min_size=1, max_size=6),
    st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York"]),
    st.sampled_from([None, *FOLDS]),
)
def test_text_is_localised_by_the_column_as_one_by_one(texts: list[Any], zone: Any, fold: Any) -> None:
    rules = Rules(zone=zone, fold=fold)
    values, sure = read_timestamps(pl.Series(texts, dtype=pl.String), rules)
    for text, value, is_sure in zip(texts, values, sure, strict=True):
        if is_sure:
            assert value == check_timestamp(text, "timestamp", rules)
        elif isinstance(text, str) and len(text) >= 19 and text[4] == "-" and zone is not None:
            with pytest.raises(PointError):
                check_timestamp(text, "timestamp", rules)


def test_a_bar_that_lies_ahead_is_refused_by_its_start() -> None:
    ahead = datetime.now(UTC) + timedelta(days=3)
    assert starts(ahead.isoformat()) == ["timestamp.future"]
    assert starts((ahead + timedelta(days=7)).isoformat(), timeframe="1w", stamp="close") == [
        "timestamp.future"
    ]
    assert starts(ahead.date().isoformat(), timeframe="1w", stamp="close") == [
        f"{ahead.date() - timedelta(days=7)}T00:00:00Z"
    ]


@pytest.mark.parametrize(
    ("written", "timeframe", "start"),
    [
        (1704067259999, "1m", "2024-01-01T00:00:00Z"),
        (1704067259999999, "1m", "2024-01-01T00:00:00Z"),
        ("2024-01-01T23:59:59.999Z", "1d", "2024-01-01T00:00:00Z"),
        ("2024-02-29T23:59:59.999999Z", "1M", "2024-02-01T00:00:00Z"),
        ("2024-01-01T00:00:59.5Z", "1m", "2023-12-31T23:59:59.500000Z"),
    ],
)
def test_the_last_tick_of_a_bar_is_its_close(written: Any, timeframe: str, start: str) -> None:
    assert starts(written, timeframe=timeframe, stamp="close") == [start]
    assert starts(written, "", timeframe=timeframe, stamp="close")[0] == start
