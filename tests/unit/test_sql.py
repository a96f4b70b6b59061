"""SQL text becomes a Polars expression that reads a point's columns, and nothing else."""

from datetime import UTC, datetime

import polars as pl
import pytest

from router.batch import PointBatch
from router.errors import ConditionError
from router.points import NormalizedDataPoint
from router.schema import TIMEFRAMES
from router.sql import translate

BASE = {
    "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
    "open": 10.0,
    "high": 20.0,
    "low": 5.0,
    "close": 15.0,
    "volume": 4.0,
    "symbol": "BTC/USDT",
    "asset_class": "crypto",
    "timeframe": "1d",
    "source": "exchange-a",
    "data_quality_score": 0.9,
    "technical_indicators": {"rsi": 71.0},
}
ABSENT = {"volume": None, "technical_indicators": None}


def verdict(text: str, **changes: object) -> bool | None:
    batch = PointBatch.of([NormalizedDataPoint(**{**BASE, **changes})])
    return batch.frame.select("symbol", found=translate(text))["found"].item()


@pytest.mark.parametrize(
    "text",
    [
        "close > 10",
        "close >= 15 and close <= 15 and close = 15 and close == 15",
        "close <> 10 and close != 10",
        "not close < 10",
        "close < 10 or open = 10",
        "false or true",
        "close > -1 and -close < 0",
        "close between 15 and 16",
        "close not between 16 and 17",
        "(close - open) * 2 + 1 = 11",
        "(high - low) / open = 1.5",
        "close % 10 = 5",
        "symbol = 'BTC/USDT'",
        "source <> 'it''s'",
        "symbol in ('ETH/USDT', 'BTC/USDT')",
        "symbol not in ('ETH/USDT')",
        "close in (1, -2, 15)",
        "symbol like 'BTC%'",
        "symbol like '_TC/USD_'",
        "symbol not like '%.%'",
        "symbol ilike 'btc/%'",
        "source like 'exchange-_'",
        "lower(symbol) = 'btc/usdt' and upper(source) = 'EXCHANGE-A'",
        "abs(open - close) = 5",
        "coalesce(volume, 0) = 4",
        "volume is not null",
        "is_realtime is not true",
        "is_realtime = false",
        "is_realtime = 0",
        "not is_realtime",
        "timestamp = '2024-01-01'",
        "timestamp >= '2023-12-31 23:59:59.999999'",
        "timestamp = '2024-01-01T05:30:00+05:30'",
        "timestamp between '2024-01-01' and '2024-01-01T00:00Z'",
        "timestamp in ('2024-01-01')",
        "'2023-01-01' < timestamp",
        "technical_indicators['rsi'] > 70",
        "technical_indicators['macd'] is null",
        '"close" > 10',
        "close > 10 -- a comment",
    ],
)
def test_text_is_true_of_the_point(text):
    assert verdict(text) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("volume > 1", None),
        ("not volume > 1", None),
        ("volume > 1 or close > 10", True),
        ("volume > 1 and close > 10", None),
        ("volume > 1 and close < 10", False),
        ("volume in (4)", None),
        ("volume is null", True),
        ("coalesce(volume, 0) = 0", True),
        ("technical_indicators['rsi'] > 70", None),
        ("technical_indicators is null", True),
    ],
)
def test_absent_value_is_neither_true_nor_false(text, expected):
    assert verdict(text, **ABSENT) is expected


@pytest.mark.parametrize("text", ["close / volume > 1", "close % volume = 0", "volume / volume > 1"])
def test_division_by_zero_is_null(text):
    assert verdict(text, volume=0.0) is None


def test_pattern_takes_everything_but_its_two_signs_literally():
    assert verdict("symbol like '[a].*%'", symbol="[a].*x\u00e9") is True
    assert verdict("symbol like 'a.c'", symbol="abc") is False


SYNTAX = [
    ("", "empty"),
    ("   ", "empty"),
    ("close >", "cannot be read near '>'"),
    ("close > 1)", "cannot be read near"),
    ("timeframe = '1d", "quote is not closed"),
    ("__import__('os').system('id')", "not one of the declared operators"),
    ("close > 9**9**9", "cannot be read near"),
    ("close > 1e999", "larger than any number"),
    ("close ^ 2 > 1", "not one of the declared operators"),
    ("symbol || 'a' = 'b'", "not one of the declared operators"),
    ("close between symmetric 1 and 2", "not one of the declared operators"),
    ("1 < close < 3", "comparisons do not chain"),
    ("volume = null", "write IS NULL"),
    ("volume in (null)", "write IS NULL"),
    ("symbol in ()", "list after IN is empty"),
    ("symbol in (source)", "only literals"),
    ("symbol like source", "only literals"),
    ("p.close > 1", "by its name alone"),
    ("technical_indicators.rsi > 1", "technical_indicators['rsi']"),
    ("technical_indicators[0] > 1", "only technical_indicators['name'] takes brackets"),
    ("symbol['a'] = 1", "only technical_indicators['name'] takes brackets"),
    ("close > ?", "not one of the declared operators"),
    ("close > :limit", "not one of the declared operators"),
    ("*", "not one of the declared operators"),
]
FORBIDDEN = [
    ("symbol IN (SELECT a FROM read_csv('x.csv'))", "'SELECT' has no place"),
    ("close > (select max(close) from points)", "'select' has no place"),
    ("exists (select 1)", "has no place"),
    ("select 1", "has no place"),
    ("close > 1; drop table points", "';' has no place"),
    ("close > 1;", "';' has no place"),
    ("drop table points", "has no place"),
    ("with a as (select 1) select 2", "has no place"),
    ("read_csv('x.csv') > 1", "read_csv is not declared"),
    ("cast(close as int) > 1", "cast is not declared"),
    ("close::int > 1", "cast is not declared"),
    ("timestamp > date '2024-01-01'", "a time is text, as in timestamp >= '2024-01-01'"),
    ("case when close > 1 then true end", "case is not declared"),
    ("current_user = 'x'", "current_user is not declared"),
    ("power(9, 9) > close", "is not declared"),
]
UNKNOWN = [
    ("tmeframe == '1d'", "did you mean 'timeframe'"),
    ("CLOSE > 1", "did you mean 'close'"),
    ('close > "abc"', "text stands in single quotes"),
    ('"clsoe" > 1', "did you mean 'close'"),
    ("symbol = AAPL", "no field 'AAPL' (text stands in single quotes)"),
    ("symbol in (OPEN, SOL)", "no field 'OPEN' (text stands in single quotes)"),
    ("timeframe = daily", "no field 'daily' (text stands in single quotes)"),
    ("zzz is null", "no field 'zzz'"),
]
VALUES = [
    ("asset_class = 'crypt0'", "did you mean 'crypto'"),
    ("timeframe in ('1h', '1D')", "did you mean '1d'"),
]
TYPES = [
    ("close > 'abc'", "close is a number and 'abc' is text"),
    ("symbol > 3", "symbol is text and 3 is a number"),
    ("symbol in ('a', 1)", "1 is a number"),
    ("symbol like 3", "3 is a number"),
    ("close like 'a'", "close is a number"),
    ("is_realtime = 'true'", "is_realtime is true or false and 'true' is text"),
    ("coalesce(volume, 'a') > 1", "volume is a number and 'a' is text"),
    ("timestamp > 5", "timestamp is a time and 5 is a number"),
    ("timestamp > symbol", "symbol is text"),
    ("timestamp > 'yesterday'", "not an ISO date or time"),
    ("timestamp > '20240101'", "not an ISO date or time"),
    ("timestamp > '2024-02-30'", "not an ISO date or time"),
    ("timestamp > '0001-01-01T00:00+10:00'", "not an ISO date or time"),
]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        *((text, "condition.syntax", message) for text, message in SYNTAX),
        *((text, "condition.forbidden", message) for text, message in FORBIDDEN),
        *((text, "condition.unknown_field", message) for text, message in UNKNOWN),
        *((text, "condition.unknown_value", message) for text, message in VALUES),
        *((text, "condition.type", message) for text, message in TYPES),
    ],
)
def test_text_is_refused_with_its_code_and_the_reason(text, code, message):
    with pytest.raises(ConditionError) as refusal:
        translate(text)
    assert refusal.value.code == code
    assert message in refusal.value.message


def test_mistakes_in_several_clauses_are_said_at_once():
    with pytest.raises(ConditionError) as refusal:
        translate("volum > 1 and (foo(close) > 1 or close = 'abc') and not volum > 2 and timeframe = '1D'")
    assert refusal.value.code == "condition.unknown_field"
    assert refusal.value.message == (
        "a point has no field 'volum' (did you mean 'volume'?); "
        "foo is not declared; functions are abs, coalesce, lower, upper; "
        "close is a number and 'abc' is text; "
        "no timeframe is '1D' (did you mean '1d'?); known: " + ", ".join(TIMEFRAMES)
    )


@pytest.mark.parametrize(
    "text", ["close > 10 -- and volume > 1\n", "close > 10 -- rising and\n", "close > 1 --or close < 0"]
)
def test_comment_that_takes_clauses_away_is_refused(text):
    with pytest.raises(
        ConditionError, match=r"takes clauses away here: write /\* … \*/ \[condition\.syntax\]"
    ):
        translate(text)


@pytest.mark.parametrize(
    "text",
    ["close > 10 -- rising and\n and volume > 1", "close > 10 /* or not */", "close > 10 -- an ordinary one"],
)
def test_comment_that_takes_nothing_away_may_stand(text):
    assert verdict(text) is True


def test_file_named_in_a_condition_is_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("a\nBTC/USDT\n")
    monkeypatch.setattr(pl, "sql_expr", None)
    monkeypatch.setattr(pl, "SQLContext", None)
    with pytest.raises(ConditionError, match=r"condition\.forbidden"):
        translate("symbol IN (SELECT a FROM read_csv('x.csv'))")


def test_long_chain_of_alternatives_is_evaluated():
    assert verdict(" or ".join(f"close = {n}" for n in range(70))) is True
