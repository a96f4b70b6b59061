"""What a point may be: every class of bad input, by the number of its line in the list of bad inputs."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from router.check_numbers import NumberText, check_number, shown
from router.checks import DEFAULT, Rules, check_point
from router.errors import ConfigError
from router.schema import TIMEFRAMES, AssetClass
from tests.make import START, make_values

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def now() -> datetime:
    return NOW


RULES = Rules(clock=now)

BASE: dict[str, Any] = {
    "symbol": "BTC/USDT",
    "timeframe": "1h",
    "asset_class": "crypto",
    "timestamp": "2024-01-01T00:00:00Z",
    "open": "42000.1",
    "high": "42100",
    "low": "41900",
    "close": "42050.5",
    "volume": "12.5",
    "source": "exchange-a",
    "data_quality_score": 0.99,
    "is_realtime": False,
}


def findings(changes: dict[str, Any], rules: Rules = RULES) -> list[str]:
    return [f"{code} {field}".strip() for code, field, _ in check_point(BASE | changes, rules).reasons]


def values(changes: dict[str, Any], rules: Rules = RULES) -> dict[str, Any]:
    checked = check_point(BASE | changes, rules)
    assert checked.values is not None, checked.reasons
    return checked.values


REFUSED: list[Any] = [
    ("S001", {"close": math.nan}, ["number.not_finite close"]),
    ("S002", {"open": "NaN"}, ["number.not_finite open"]),
    ("S003", {"low": "-inf"}, ["number.not_finite low"]),
    ("S004", {"volume": math.inf}, ["number.not_finite volume"]),
    ("S004-text", {"volume": "1e999"}, ["number.not_finite volume"]),
    ("S004-int", {"volume": 10**350}, ["number.not_finite volume"]),
    ("S004-decimal", {"volume": Decimal("Infinity")}, ["number.not_finite volume"]),
    ("S004-long-decimal", {"volume": Decimal("1e999999")}, ["number.not_finite volume"]),
    ("S005", {"volume": -1}, ["number.negative volume"]),
    ("S006-crypto", {"low": -40}, ["number.not_positive low"]),
    ("S006-zero", {"low": "0"}, ["number.not_positive low"]),
    ("S007", {"high": 41000}, ["ohlc.high_below_low high"]),
    ("S008", {"close": 43000}, ["ohlc.out_of_range close"]),
    ("S008-both", {"open": 1, "close": "5e4"}, ["ohlc.out_of_range open", "ohlc.out_of_range close"]),
    ("S008-half", {"low": "x", "close": 43000}, ["number.format low", "ohlc.out_of_range close"]),
    ("S009", {"open": True}, ["type open"]),
    ("S009-list", {"open": [1]}, ["type open"]),
    ("S009-bytes", {"open": b"1"}, ["type open"]),
    ("S010", {"close": "4_2050"}, ["number.format close"]),
    ("S011", {"close": "٤٢٠٥٠"}, ["number.format close"]),
    ("S011-wide", {"close": "\uff14\uff12"}, ["number.format close"]),
    ("S012", {"close": "42,050.5"}, ["number.format close"]),
    ("S013", {"close": ""}, ["number.format close"]),
    ("S013-blank", {"close": " 42050"}, ["number.format close"]),
    ("S013-newline", {"close": "42050\n"}, ["number.format close"]),
    ("S013-hex", {"close": "0x10"}, ["number.format close"]),
    ("S013-point", {"close": ".5"}, ["number.format close"]),
    ("S014", {"close": None}, ["required close"]),
    ("S018", {"close": NumberText("1" * 5000)}, ["number.too_long close"]),
    ("S018-int", {"close": 10**5000}, ["number.too_long close"]),
    ("S018-decimal", {"close": Decimal("1" * 5000)}, ["number.too_long close"]),
    ("S019", {"data_quality_score": 1.5}, ["range data_quality_score"]),
    ("S019-below", {"data_quality_score": "-0.1"}, ["range data_quality_score"]),
    ("S021", {"timestamp": "2024-01-01T00:00:00"}, ["timestamp.no_zone timestamp"]),
    ("S021-datetime", {"timestamp": datetime(2024, 1, 1)}, ["timestamp.no_zone timestamp"]),
    ("S022", {"timestamp": "2024-02-30T00:00:00Z"}, ["timestamp.invalid timestamp"]),
    ("S023", {"timestamp": "2024-01-01T24:00:00Z"}, ["timestamp.invalid timestamp"]),
    ("S023-leap", {"timestamp": "2016-12-31T23:59:60Z"}, ["timestamp.invalid timestamp"]),
    ("S024", {"timestamp": "20240101"}, ["timestamp.format timestamp"]),
    ("S024-day", {"timestamp": "2024-01-01"}, ["timestamp.format timestamp"]),
    ("S024-date", {"timestamp": date(2024, 1, 1)}, ["timestamp.format timestamp"]),
    ("S024-script", {"timestamp": "٢٠٢٤-01-01T00:00:00Z"}, ["timestamp.format timestamp"]),
    ("S024-offset", {"timestamp": "2024-01-01T00:00:00+0530"}, ["timestamp.format timestamp"]),
    ("S025", {"timestamp": 1704067200}, ["timestamp.ambiguous_unit timestamp"]),
    ("S025-float", {"timestamp": 1704067200.5}, ["timestamp.ambiguous_unit timestamp"]),
    ("S025-long", {"timestamp": NumberText("1" * 30)}, ["timestamp.ambiguous_unit timestamp"]),
    ("S025-bool", {"timestamp": True}, ["type timestamp"]),
    (
        "S026",
        {"timestamp": "2024-01-01T00:00:00.123456789Z", "timeframe": "tick"},
        ["timestamp.precision timestamp"],
    ),
    ("S027", {"timestamp": "1600-01-01T00:00:00Z"}, ["timestamp.range timestamp"]),
    ("S027-zero", {"timestamp": "0000-01-01T00:00:00Z"}, ["timestamp.invalid timestamp"]),
    ("S027-first", {"timestamp": "0001-01-01T00:00:00+05:00"}, ["timestamp.range timestamp"]),
    (
        "S027-aware",
        {"timestamp": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))},
        ["timestamp.range timestamp"],
    ),
    ("S028", {"timestamp": "2999-01-01T00:00:00Z"}, ["timestamp.range timestamp"]),
    ("S029", {"timestamp": NOW + timedelta(days=2)}, ["timestamp.future timestamp"]),
    ("S031", {"timestamp": "2024-01-01T00:00:00+25:00"}, ["timestamp.invalid timestamp"]),
    ("S031-minutes", {"timestamp": "2024-01-01T00:00:00+05:60"}, ["timestamp.invalid timestamp"]),
    ("S033", {"timestamp": ""}, ["timestamp.format timestamp"]),
    ("S033-none", {"timestamp": None}, ["required timestamp"]),
    ("S035", {"symbol": "../../escaped"}, ["symbol.charset symbol"]),
    ("S036", {"symbol": ".."}, ["symbol.charset symbol"]),
    ("S036-one", {"symbol": "."}, ["symbol.charset symbol"]),
    ("S037", {"symbol": "a\\..\\b"}, ["symbol.charset symbol"]),
    ("S037-blank", {"symbol": "BTC "}, ["symbol.charset symbol"]),
    ("S038", {"symbol": ""}, ["required symbol"]),
    ("S039", {"symbol": "BTC\0USD"}, ["symbol.control symbol"]),
    ("S040", {"symbol": "BTC\nUSD,x=1 1"}, ["symbol.control symbol"]),
    ("S040-line", {"symbol": "BTC\u2028USD"}, ["symbol.control symbol"]),
    ("S041", {"symbol": "\ud800"}, ["symbol.surrogate symbol"]),
    ("S042", {"symbol": "BTC\u200bUSD"}, ["symbol.format_char symbol"]),
    ("S042-order", {"source": "a\u202eb"}, ["symbol.format_char source"]),
    ("S045", {"symbol": "x" * 300}, ["symbol.length symbol"]),
    ("S045-limit", {"symbol": "x" * 129}, ["symbol.length symbol"]),
    ("S045-grows", {"symbol": "\u0958" * 100}, ["symbol.length symbol"]),
    ("S050", {"symbol": 123}, ["type symbol"]),
    ("S050-long", {"symbol": NumberText("1" * 20)}, ["type symbol"]),
    ("S051", {"timeframe": "0m"}, ["timeframe timeframe"]),
    ("S051-case", {"timeframe": "1H"}, ["timeframe timeframe"]),
    ("S052", {"timeframe": "999999999999d"}, ["timeframe timeframe"]),
    ("S053", {"asset_class": "crypt0"}, ["enum asset_class"]),
    ("S053-case", {"asset_class": "CRYPTO"}, ["enum asset_class"]),
    ("S054", {"source": None}, ["required source"]),
    ("S065", {f"x{n}": n for n in range(10_000)}, ["envelope.fields"]),
    ("S067", {"technical_indicators": {"rsi": math.nan}}, ["number.not_finite technical_indicators.rsi"]),
    ("S067-key", {"technical_indicators": {"": 1.0}}, ["required technical_indicators.''"]),
    ("S067-name", {"technical_indicators": {"a\n": 1.0}}, ["symbol.control technical_indicators.'a\\n'"]),
    (
        "S067-twice",
        {"technical_indicators": {"e\u0301": 1.0, "\xe9": 2.0}},
        ["envelope.duplicate_key technical_indicators.\xe9"],
    ),
    ("S067-many", {"technical_indicators": {str(n): n for n in range(257)}}, ["range technical_indicators"]),
    ("S067-shape", {"technical_indicators": [("rsi", 1.0)]}, ["type technical_indicators"]),
    ("flag-number", {"is_realtime": 1}, ["type is_realtime"]),
    ("flag-word", {"is_realtime": "yes"}, ["type is_realtime"]),
]


@pytest.mark.parametrize(("changes", "expected"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_bad_input_is_refused_with_its_code_and_field(changes: dict[str, Any], expected: list[str]) -> None:
    assert findings(changes) == expected


ACCEPTED: list[Any] = [
    (
        "S006",
        {"close": -37.63, "low": -40, "open": -37, "high": -36, "asset_class": "futures"},
        "close",
        -37.63,
    ),
    ("S015", {"volume": None}, "volume", None),
    ("S016", {"volume": 0}, "volume", 0.0),
    ("S017", {"close": "42050.123456789012345678901234567890123456789"}, "close", 42050.12345678901),
    ("S020", {"data_quality_score": 1}, "data_quality_score", 1.0),
    ("S029-day", {"timestamp": NOW + timedelta(days=1)}, "timestamp", NOW + timedelta(days=1)),
    ("S030", {"timestamp": "2024-01-01T05:30:00+05:30"}, "timestamp", START),
    ("S030-aware", {"timestamp": START.astimezone(timezone(timedelta(hours=-3)))}, "timestamp", START),
    ("S030-blank", {"timestamp": "2024-01-01 00:00:00.000+00:00"}, "timestamp", START),
    ("S030-zeros", {"timestamp": "2024-01-01T00:00:00.000000000Z"}, "timestamp", START),
    ("S032", {"timestamp": "2024-01-01T00:00:07Z"}, "timestamp", START + timedelta(seconds=7)),
    ("S034", {"symbol": "BTC/USDT"}, "symbol", "BTC/USDT"),
    ("S043", {"symbol": "e\u0301X"}, "symbol", "\xe9X"),
    ("S044", {"symbol": "\u0412\u0422\u0421"}, "symbol", "\u0412\u0422\u0421"),
    ("S045-limit", {"symbol": "x" * 128}, "symbol", "x" * 128),
    (
        "S046",
        {"symbol": '=HYPERLINK("http://x.invalid","a")'},
        "symbol",
        '=HYPERLINK("http://x.invalid","a")',
    ),
    ("S047", {"symbol": "BTC USD,a=b"}, "symbol", "BTC USD,a=b"),
    ("S049", {"symbol": "{symbol.__class__.__mro__}"}, "symbol", "{symbol.__class__.__mro__}"),
    ("index", {"symbol": "^GSPC"}, "symbol", "^GSPC"),
    ("decimal", {"close": Decimal("42050.5")}, "close", 42050.5),
    ("fraction", {"close": Fraction(84101, 2)}, "close", 42050.5),
    ("float32", {"close": np.float32(42050.5)}, "close", 42050.5),
    ("int64", {"volume": np.int64(7)}, "volume", 7.0),
    ("exponent", {"close": "+4.20505E+4"}, "close", 42050.5),
    ("asset class", {"asset_class": AssetClass.ETF}, "asset_class", AssetClass.ETF),
    ("flag text", {"is_realtime": "True"}, "is_realtime", True),
    ("flag absent", {"is_realtime": None}, "is_realtime", False),
    ("flag numpy", {"is_realtime": np.bool_(True)}, "is_realtime", True),
    ("score absent", {"data_quality_score": None}, "data_quality_score", 1.0),
    (
        "indicators",
        {"technical_indicators": {"rsi": "55", "ema": None}},
        "technical_indicators",
        {"rsi": 55.0},
    ),
    ("unknown fields", {"spread": [1], "note": {"deep": {}}}, "symbol", "BTC/USDT"),
]


@pytest.mark.parametrize(
    ("changes", "field", "value"), [pytest.param(*case[1:], id=case[0]) for case in ACCEPTED]
)
def test_good_input_is_accepted_as_its_typed_value(changes: dict[str, Any], field: str, value: Any) -> None:
    found = values(changes)[field]
    assert found == value
    assert type(found) is type(value)


def test_timestamps_come_out_as_plain_datetimes_in_utc() -> None:
    class Stamp(datetime):
        """What other libraries' timestamps are."""

    found = values({"timestamp": Stamp(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))})["timestamp"]
    assert (type(found), found.tzinfo, found) == (datetime, UTC, START)


def test_timestamps_finer_than_a_microsecond_are_refused_whoever_made_them() -> None:
    class Stamp(datetime):
        """What other libraries' timestamps are."""

        nanosecond = 5

    assert findings({"timestamp": Stamp(2024, 1, 1, tzinfo=UTC)}) == ["timestamp.precision timestamp"]


def test_every_reason_is_listed_in_the_order_of_the_fields_and_those_between_fields_last() -> None:
    changes = {"volume": -1, "open": "x", "high": 1, "symbol": "a\\\n", "timestamp": "now", "source": None}
    assert findings(changes) == [
        "timestamp.format timestamp",
        "number.format open",
        "number.negative volume",
        "symbol.control symbol",
        "symbol.charset symbol",
        "required source",
        "ohlc.high_below_low high",
    ]


def test_an_empty_point_lists_every_field_that_has_no_default() -> None:
    codes = {(reason.code, reason.field) for reason in check_point({}).reasons}
    fields = ["timestamp", "open", "high", "low", "close", "symbol", "asset_class", "timeframe", "source"]
    assert codes == {("required", field) for field in fields}


def test_the_sign_of_prices_is_judged_only_where_the_asset_class_is_known() -> None:
    assert findings({"asset_class": "futuress", "low": -1}) == ["enum asset_class"]


def test_messages_name_what_would_be_right() -> None:
    reasons = check_point(BASE | {"asset_class": "crypt0", "timeframe": "1H"}).reasons
    assert all(known in reasons[0].message for known in AssetClass)
    assert all(known in reasons[1].message for known in TIMEFRAMES)


@pytest.mark.parametrize(
    "value", ["\n" * 9, "\ud800", "x" * 10_000, 10**9_999, [[0] * 1000], object()], ids=range(6)
)
def test_messages_show_any_value_as_one_short_printable_line(value: Any) -> None:
    assert len(shown(value)) <= 61
    assert shown(value).isprintable()


def test_values_whose_own_text_fails_are_refused_like_others() -> None:
    class Hostile:
        """An object that nobody can look at."""

        def __repr__(self) -> str:
            raise RuntimeError

    assert findings({"open": Hostile()}) == ["type open"]


@pytest.mark.parametrize(
    ("number", "noted"),
    [
        ("12345678901234567", False),
        ("123456789012345678", True),
        (123456789012345678, True),
        (0.1, False),
        ("0.10000000000000000000", False),
        ("1e-30", False),
        (Decimal("1.23456789012345678"), True),
        (10**18, False),
        (NumberText("1.234567890123456789"), True),
        (np.int64(123456789012345678), True),
    ],
)
def test_numbers_of_more_than_17_digits_are_noted_as_rounded(number: Any, noted: bool) -> None:
    assert check_point(BASE | {"volume": number}).notes == (("rounded",) if noted else ())


def test_rounded_indicators_are_noted_too() -> None:
    assert check_point(BASE | {"technical_indicators": {"x": "0.123456789012345678"}}).notes == ("rounded",)


def test_exact_sources_refuse_what_others_round() -> None:
    exact = Rules(exact_sources=frozenset({"exchange-a"}), clock=now)
    long = {"close": "42050.123456789012345678", "volume": "1.0000000000000000001"}
    assert findings(long, exact) == ["number.precision close", "number.precision volume"]
    assert findings(long | {"source": "exchange-b"}, exact) == []


@pytest.mark.parametrize(
    ("timeframe", "start", "noted"),
    [
        ("1h", "00:00:07", True),
        ("1h", "05:00:00", False),
        ("45m", "00:45:00", False),
        ("45m", "01:00:00", True),
        ("1s", "00:00:07", False),
        ("1d", "05:00:00", False),
        ("1w", "05:00:00", False),
        ("tick", "00:00:07", False),
    ],
)
def test_intraday_bars_off_their_grid_are_noted_and_accepted(timeframe: str, start: str, noted: bool) -> None:
    checked = check_point(BASE | {"timeframe": timeframe, "timestamp": f"2024-01-01T{start}Z"})
    assert checked.values is not None
    assert checked.notes == (("misaligned",) if noted else ())


BERLIN = Rules(zone="Europe/Berlin", clock=now)


def test_a_zone_of_the_rules_holds_for_timestamps_that_name_none() -> None:
    for stamp in ("2024-01-01T01:00:00", datetime(2024, 1, 1, 1), "2024-01-01T00:00:00Z"):
        assert values({"timestamp": stamp}, BERLIN)["timestamp"] == START


@pytest.mark.parametrize("stamp", ["2024-03-31T02:30:00", "2023-10-29T02:30:00"], ids=["never", "twice"])
def test_local_times_that_are_no_single_moment_are_refused(stamp: str) -> None:
    assert findings({"timestamp": stamp}, BERLIN) == ["timestamp.invalid timestamp"]


def test_local_times_at_the_ends_of_the_calendar_are_out_of_range() -> None:
    assert findings({"timestamp": "0001-01-01T00:00:00"}, BERLIN) == ["timestamp.range timestamp"]


@pytest.mark.parametrize(
    ("unit", "stamp"),
    [
        ("s", 1704067200),
        ("ms", 1704067200000),
        ("us", 1704067200000000),
        ("ns", 1704067200000000000),
        ("s", "1704067200"),
        ("ns", NumberText("1704067200000000000")),
    ],
)
def test_a_unit_of_the_rules_makes_integers_timestamps(unit: str, stamp: Any) -> None:
    assert values({"timestamp": stamp}, Rules(timestamp_unit=unit, clock=now))["timestamp"] == START


@pytest.mark.parametrize(
    ("unit", "stamp", "code"),
    [
        ("s", 1.5, "format"),
        ("ns", 1704067200000000001, "precision"),
        ("s", 10**20, "range"),
        ("ms", True, "type"),
        ("s", 10**26, "format"),
        ("s", -(10**11), "range"),
    ],
)
def test_numbers_that_are_no_timestamps_are_refused_in_any_unit(unit: str, stamp: Any, code: str) -> None:
    code = code if code == "type" else f"timestamp.{code}"
    assert findings({"timestamp": stamp}, Rules(timestamp_unit=unit, clock=now)) == [f"{code} timestamp"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"zone": "Mars/Olympus"},
        {"zone": "../etc/passwd"},
        {"timestamp_unit": "h"},
        {"max_skew": timedelta(-1)},
    ],
)
def test_rules_that_cannot_be_used_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Rules(**arguments)


def test_the_clock_is_asked_again_as_time_passes() -> None:
    moments = iter([NOW, NOW + timedelta(days=5)])
    rules = Rules(clock=lambda: next(moments))
    late = {"timestamp": NOW + timedelta(days=2)}
    assert findings(late, rules) == ["timestamp.future timestamp"]
    assert findings(late, rules) == []


def test_the_default_rules_use_the_real_clock() -> None:
    tomorrow = datetime.now(UTC) + timedelta(hours=23)
    assert check_point(make_values(timestamp=tomorrow), DEFAULT).values is not None
    assert check_point(make_values(timestamp=tomorrow + timedelta(hours=2)), DEFAULT).values is None


def test_text_becomes_the_nearest_float() -> None:
    for text in ("0.1", "9007199254740993", "2.2250738585072014e-308", "5e-324", "1.7976931348623157e308"):
        assert check_number(text, "x") == float(text)
