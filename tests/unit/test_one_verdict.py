"""Whatever comes, and by whichever door: the model, `check_point` and the columns say the same of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from router.admission import Admission, admit
from router.check_numbers import NumberText
from router.checks import check_point
from router.points import NormalizedDataPoint
from router.schema import FRAME_SCHEMA, PRICES, TEXTS, TIMEFRAMES, AssetClass
from tests.make import make_values

Row = dict[str, Any]

NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1e308, 5e-324, 1.0, 42_000.0, 41_998.75, 42_001.5, float(2**53)]),
    st.floats(width=64),
    st.floats(41_998.75, 42_001.5),
)
MOMENTS = st.one_of(
    st.sampled_from(
        [
            datetime(1677, 9, 21, 0, 12, 43, 145224, tzinfo=UTC),
            datetime(1677, 9, 21, 0, 12, 43, 145225, tzinfo=UTC),
            datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC),
            datetime(2262, 4, 11, 23, 47, 16, 854776, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime.max.replace(tzinfo=UTC),
            datetime.min.replace(tzinfo=UTC),
        ]
    ),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(datetime(2000, 1, 1), datetime(2020, 1, 1), timezones=st.just(UTC)),
)
NAMES = st.one_of(
    st.sampled_from(
        ["BTC/USDT", "btc/usdt", ".", "..", "a/../b", "a\\b", "", " ", "a ", "=A1", "{x}", "e\u0301"]
    ),
    st.sampled_from(
        ["x" * 128, "x" * 129, "\u0958" * 43, "\u0412", "a\u200b", "a\0", "a\n", "\u2028", "\ufdfa"]
    ),
    st.text(max_size=6),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Cf", "Zs", "Mn"]), max_size=3),
)
WORDS = st.one_of(
    st.sampled_from([*TIMEFRAMES, *(member.value for member in AssetClass), "CRYPTO", "1H", "1D", ""]), NAMES
)
NUMBER_TEXTS = st.one_of(
    NUMBERS.map(repr),
    st.sampled_from(
        ["", "42000", "+42000", "4.2e4", "4.2E+4", "42_000", "42,000", " 42000", "42000 ", "0x1"]
    ),
    st.sampled_from(
        ["٤٢٠٠٠", "nan", "-Infinity", "inf", "1e999", "1e-999", ".5", "5.", "1.e1", "1e", "--1", "1\n"]
    ),
    st.sampled_from(
        ["42000.000000000000000001", "42000." + "0" * 30, "1" * 18, "1" * 401, "9007199254740993"]
    ),
    st.from_regex(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,2})?", fullmatch=True),
)
TAILS = [
    "Z",
    "",
    "+00:00",
    "+05:30",
    "-23:59",
    "+24:00",
    "+25:00",
    "z",
    ".5Z",
    ".123456Z",
    ".1234567Z",
    ".1230000Z",
]
MOMENT_TEXTS = st.one_of(
    st.builds(
        lambda moment, tail: moment.replace(tzinfo=None).isoformat()[:19] + tail,
        MOMENTS,
        st.sampled_from(TAILS),
    ),
    st.builds(lambda moment: str(moment.replace(microsecond=0)), MOMENTS),
    st.sampled_from(
        ["2024-02-30T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:60Z", "20240101", "2024-01-01"]
    ),
    st.sampled_from(
        ["0000-01-01T00:00:00Z", "2024-1-01T00:00:000Z", "+2024-1-01T00:00:00Z", "2024- 1-01T00:00:00Z"]
    ),
    st.sampled_from(
        ["1704067200", "", "now", "٢٠٢٤-01-01T00:00:00Z", "2024-01-01t00:00:00Z", "2024-01-01  00:00:00Z"]
    ),
)
FLAG_TEXTS = st.sampled_from(["true", "False", "TRUE", "1", "yes", "tRUE", ""])
WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**17, 10**17 - 1, 10**400, -(10**5000), 2**63, 2**64]),
    st.decimals(),
    st.sampled_from(
        [Decimal("1.23456789012345678901"), Decimal("sNaN"), NumberText("1" * 30), NumberText("1.5")]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.binary(max_size=2),
    st.just(timedelta(1)),
    st.builds(
        lambda moment: moment.astimezone(timezone(timedelta(hours=7))),
        st.datetimes(datetime(2000, 1, 1), datetime(2020, 1, 1), timezones=st.just(UTC)),
    ),
    st.datetimes(datetime(2000, 1, 1), datetime(2020, 1, 1)),
)
INDICATORS = st.dictionaries(NAMES, st.one_of(st.none(), NUMBERS), max_size=3)

TYPED = {
    "timestamp": MOMENTS,
    **dict.fromkeys((*PRICES, "volume", "data_quality_score"), NUMBERS),
    "symbol": NAMES,
    "source": NAMES,
    "asset_class": WORDS,
    "timeframe": WORDS,
    "is_realtime": st.booleans(),
    "technical_indicators": INDICATORS,
}
TEXT = {
    "timestamp": MOMENT_TEXTS,
    **dict.fromkeys((*PRICES, "volume", "data_quality_score"), NUMBER_TEXTS),
    **{name: TYPED[name] for name in TEXTS},
    "is_realtime": FLAG_TEXTS,
    "technical_indicators": st.just("{}"),
}
ANYTHING = {name: st.one_of(WILD, TYPED[name], TEXT[name]) for name in TYPED}
GOOD_TEXT = {
    name: None if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
    for name, value in make_values().items()
}


def rows_of(fields: dict[str, st.SearchStrategy[Any]], good: Row) -> st.SearchStrategy[list[Row]]:
    """Draw rows that are good but for up to three fields, so that not all of them fail for everything."""
    change = st.sampled_from(sorted(fields)).flatmap(
        lambda name: st.tuples(st.just(name), st.none() | fields[name])
    )
    return st.lists(
        st.lists(change, max_size=3).map(lambda changes: good | dict(changes)), min_size=1, max_size=8
    )


def verdicts(admission: Admission, count: int) -> list[Any]:
    """Return, row by row, the admitted values or the codes and fields of the reasons."""
    refused = {one.index: [(r.code, r.field) for r in one.reasons] for one in admission.refused}
    admitted = iter(admission.batch.to_dicts())
    return [refused[row] if row in refused else next(admitted) for row in range(count)]


def expected(rows: Sequence[Row]) -> list[Any]:
    checked = [check_point(row) for row in rows]
    return [[(r.code, r.field) for r in one.reasons] if one.values is None else one.values for one in checked]


def noted(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for checked in map(check_point, rows):
        for note in checked.notes:
            of_source = counts.setdefault((checked.values or {})["source"], {})
            of_source[note] = of_source.get(note, 0) + 1
    return counts


def is_text(value: Any) -> bool:
    return not isinstance(value, str) or not any("\ud800" <= character <= "\udfff" for character in value)


def fits_a_frame(row: Row) -> bool:
    return all(map(is_text, row.values())) and all(map(is_text, row["technical_indicators"] or ()))


@settings(max_examples=60, deadline=None)
@given(rows_of(ANYTHING, make_values()))
def test_the_model_says_what_check_point_says(rows: list[Row]) -> None:
    for row, verdict in zip(rows, expected(rows), strict=True):
        try:
            assert NormalizedDataPoint(**row).__dict__ == verdict
        except ValidationError as error:
            lines = error.errors()
            assert [(line["type"], ".".join(map(str, line["loc"]))) for line in lines] == verdict


@pytest.mark.parametrize("others", [0, 64], ids=["few", "many"])
@settings(max_examples=60, deadline=None)
@given(rows_of(ANYTHING, make_values()))
def test_mappings_are_admitted_as_check_point_says(others: int, rows: list[Row]) -> None:
    rows = rows + [make_values(row) for row in range(others)]
    admission = admit(rows)
    assert verdicts(admission, len(rows)) == expected(rows)
    assert admission.notes == noted(rows)


@settings(max_examples=100, deadline=None)
@given(rows_of(TYPED, make_values()))
def test_a_typed_frame_is_admitted_as_check_point_says(rows: list[Row]) -> None:
    rows = [row for row in rows if fits_a_frame(row)]
    admission = admit(pl.DataFrame(rows, schema=FRAME_SCHEMA))
    assert verdicts(admission, len(rows)) == expected(rows)
    assert admission.notes == noted(rows)
    assert admission.batch.frame.schema == FRAME_SCHEMA


@settings(max_examples=100, deadline=None)
@given(rows_of(TEXT, GOOD_TEXT))
def test_a_frame_of_text_is_admitted_as_check_point_says(rows: list[Row]) -> None:
    rows = [row for row in rows if all(map(is_text, row.values()))]
    admission = admit(pl.DataFrame(rows, schema=dict.fromkeys(FRAME_SCHEMA, pl.String)))
    assert verdicts(admission, len(rows)) == expected(rows)
    assert admission.notes == noted(rows)
