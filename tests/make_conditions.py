"""Random conditions, and random points near what they compare with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from router.points import NormalizedDataPoint
from router.schema import NEGATIVE_PRICES, PRICES, TIMEFRAMES, AssetClass

NUMBERS = ["-3", "-1", "0", "0.5", "1", "1.5", "2", "10"]
SYMBOLS = ["AAPL", "BTC/USDT", "a", "B"]
DAYS = ["2024-01-01", "2024-01-02T00:00:00Z", "1970-01-01"]
WORDS = {
    "timeframe": ["1d", "1h", "1m", "tick"],
    "asset_class": ["crypto", "equity", "futures"],
    "symbol": SYMBOLS,
    "source": ["x", "y"],
}
OPERATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
numeric = st.sampled_from([*PRICES, "volume", "data_quality_score", "technical_indicators['rsi']"])
number = st.sampled_from(NUMBERS)


def quoted(text: str) -> str:
    return f"'{text}'"


def about(column: str) -> st.SearchStrategy[str]:
    """Draw a clause that compares a column of text with some of its words."""
    words = st.sampled_from(WORDS[column]).map(quoted)
    return st.one_of(
        st.builds(f"{column} {{}} {{}}".format, st.sampled_from(["=", "<>", "<", ">="]), words),
        st.builds(
            f"{column} {{}} ({{}})".format,
            st.sampled_from(["in", "not in"]),
            st.lists(words, min_size=1, max_size=3).map(", ".join),
        ),
        st.builds(f"{column} like {{}}".format, st.sampled_from(["'%a%'", "'1_'", "'A%'", "'%T'"])),
        st.builds(f"lower({column}) = {{}}".format, words),
    )


simple = st.one_of(
    st.builds("{} {} {}".format, numeric, OPERATORS, number),
    st.builds("{} {} {}".format, number, OPERATORS, numeric),
    st.builds("{} between {} and {}".format, numeric, number, number),
    st.builds("{} in ({}, {})".format, numeric, number, number),
    st.builds("{} is null".format, numeric),
    st.builds("{} is not null".format, numeric),
    st.builds("coalesce({}, {}) {} {}".format, numeric, number, OPERATORS, number),
    st.builds("abs({}) {} {}".format, numeric, OPERATORS, number),
    st.builds("-{} {} {}".format, numeric, OPERATORS, number),
    st.builds("timestamp {} {}".format, OPERATORS, st.sampled_from(DAYS).map(quoted)),
    st.sampled_from(["is_realtime", "is_realtime is not true", "is_realtime = 0", "true", "false"]),
    *map(about, WORDS),
)
tangled = st.one_of(
    st.builds("{} {} {}".format, numeric, OPERATORS, numeric),
    st.builds("{} - {} {} {}".format, numeric, numeric, OPERATORS, number),
    st.builds("{} / {} {} {}".format, numeric, numeric, OPERATORS, number),
    st.builds("{} % {} = {}".format, numeric, number, number),
)


def conditions(clauses: st.SearchStrategy[str], most: int = 6) -> st.SearchStrategy[str]:
    """Draw conditions made of some clauses, with AND, OR, NOT and parentheses."""
    return st.recursive(
        clauses,
        lambda inner: st.one_of(
            st.builds("{} and {}".format, inner, inner),
            st.builds("({}) or {}".format, inner, inner),
            st.builds("({}) and ({})".format, inner, inner),
            st.builds("not ({})".format, inner),
        ),
        max_leaves=most,
    )


def _near(number: str) -> list[float]:
    return [float(number) - 0.25, float(number), float(number) + 0.25]


_VALUES = sorted({value for text in NUMBERS for value in _near(text)})


@st.composite
def points(draw: st.DrawFn) -> NormalizedDataPoint:
    """Draw a valid point whose values lie at, and on both sides of, what conditions compare with."""
    asset_class = draw(st.sampled_from(list(AssetClass)))
    lowest = -10.0 if asset_class in NEGATIVE_PRICES else 1e-9
    prices = sorted(
        draw(st.lists(st.sampled_from([v for v in _VALUES if v >= lowest]), min_size=4, max_size=4))
    )
    first, last = draw(st.sampled_from([(1, 2), (2, 1)]))
    day = datetime.fromisoformat(draw(st.sampled_from(DAYS))[:10]).replace(tzinfo=UTC)
    rsi: dict[str, Any] = draw(
        st.fixed_dictionaries({}, optional={"rsi": st.sampled_from(_VALUES), "macd": st.just(1.0)})
    )
    return NormalizedDataPoint(
        timestamp=day + timedelta(microseconds=draw(st.sampled_from([-1, 0, 1]))),
        low=prices[0],
        open=prices[first],
        close=prices[last],
        high=prices[3],
        volume=draw(st.none() | st.sampled_from([v for v in _VALUES if v >= 0])),
        symbol=draw(st.sampled_from([*SYMBOLS, "AB", "xaT"])),
        asset_class=asset_class,
        timeframe=draw(st.sampled_from(list(TIMEFRAMES))),
        source=draw(st.sampled_from([*WORDS["source"], "z"])),
        data_quality_score=draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        is_realtime=draw(st.booleans()),
        technical_indicators=rsi or None,
    )
