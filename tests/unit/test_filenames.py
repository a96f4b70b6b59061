from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.filenames import AnyName, FilenamePattern, FilePlace
from destinations.patterns import FIELDS, LONGEST_VALUE, encode_value
from router.batch import PointBatch
from router.errors import ConfigError
from tests.make import make_frame, make_point

BAR = {
    "symbol": "BTC/USDT",
    "timeframe": "1h",
    "date": "20240101",
    "asset_class": "crypto",
    "source": "exchange-a",
}

#: Patterns of every kind: one field of free text, two, one of them twice, folders, long separators.
PATTERNS = [
    "{symbol}_{timeframe}_{date}.csv",
    "{symbol}_{source}.csv",
    "{source}/{symbol}_{date}.csv",
    "{symbol}/{symbol}_{timeframe}.csv",
    "{date}-{symbol}-x_{timeframe}.{source}_{asset_class}",
    "{symbol}_{symbol}_{timeframe}",
    "{timeframe}_2024_{symbol}_1_{source}1.csv",
    "{symbol}",
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("ab_./-%~é1", max_size=200)


def name_of(pattern: str, **changes: str) -> str:
    return FilenamePattern(pattern).name(BAR | changes)


def code_of(pattern: str) -> str:
    with pytest.raises(ConfigError) as refusal:
        FilenamePattern(pattern)
    assert refusal.value.where == "filename_pattern"
    return refusal.value.code


def test_name_takes_the_value_of_every_field():
    pattern = "{source}/{asset_class}/{symbol}_{timeframe}_{date}.csv"
    assert name_of(pattern, symbol="AAPL") == "exchange-a/crypto/AAPL_1h_20240101.csv"


@pytest.mark.parametrize(
    ("symbol", "encoded"),
    [
        ("BTC/USDT", "BTC%2FUSDT"),
        ("../../escaped", "%2E.%2F..%2Fescaped"),
        ("..", "%2E."),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        ("a\\b", "a%5Cb"),
        ("a\0b", "a%00b"),
        ("a~b", "a%7Eb"),
        ("a%2Fb", "a%252Fb"),
        ("é", "%C3%A9"),
        ("", "%"),
        ("A_B", "A_B"),
        ("BRK.B", "BRK.B"),
        ("{symbol.__class__.__mro__}", "%7Bsymbol.__class__.__mro__%7D"),
    ],
)
def test_name_encodes_whatever_is_not_plain(symbol: str, encoded: str):
    assert name_of("{symbol}.csv", symbol=symbol) == f"{encoded}.csv"


def test_name_keeps_two_fields_of_free_text_apart():
    assert name_of("{source}_{symbol}", source="a_b", symbol="c") == "a%5Fb_c"
    assert name_of("{source}_{symbol}", source="a", symbol="b_c") == "a_b%5Fc"


def test_name_keeps_separators_readable_where_nothing_can_be_mistaken():
    assert name_of("{source}/{symbol}_{date}.csv", symbol="A_B") == "exchange-a/A_B_20240101.csv"


def test_name_cuts_a_long_value_and_adds_its_fingerprint():
    one, other = name_of("{symbol}", symbol="A" * 300), name_of("{symbol}", symbol="A" * 301)
    assert len(one) == len(other) == LONGEST_VALUE
    assert one != other
    assert "~" in one


@pytest.mark.parametrize("pattern", PATTERNS)
def test_name_fits_a_file_system_whatever_the_values(pattern: str):
    name = FilenamePattern(f"{pattern}.gz").name(BAR | {"symbol": "é" * 300, "source": "/" * 300})
    assert max(len(part) for part in name.split("/")) <= 255


@pytest.mark.parametrize("pattern", PATTERNS)
@given(one=st.tuples(*[texts] * len(FIELDS)), other=st.tuples(*[texts] * len(FIELDS)))
def test_names_of_different_values_differ(pattern: str, one: tuple[str, ...], other: tuple[str, ...]):
    names = FilenamePattern(pattern)
    first, second = (dict(zip(FIELDS, values, strict=True)) for values in (one, other))
    if any(first[field] != second[field] for field in names.fields):
        assert names.name(first) != names.name(second)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(values=st.tuples(*[texts] * len(FIELDS)), data=st.data())
def test_names_of_values_that_share_their_pieces_differ(
    pattern: str, values: tuple[str, ...], data: st.DataObject
):
    names = FilenamePattern(pattern)
    pieces = [*(piece for text in values for piece in text.split("_")), "_", ""]
    joined = st.lists(st.sampled_from(pieces), max_size=3).map("_".join)
    first = {field: data.draw(joined) for field in FIELDS}
    second = {field: data.draw(joined) for field in FIELDS}
    if any(first[field] != second[field] for field in names.fields):
        assert names.name(first) != names.name(second)


@given(text=texts)
def test_encoded_value_is_one_plain_component(text: str):
    encoded = encode_value(text)
    assert encoded.isascii()
    assert not set(encoded) & set("/\\\0{} ")
    assert encoded[0] != "."


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("{symbol.__class__}_{date}.csv", "pattern.field"),
        ("{symbol[0]}.csv", "pattern.field"),
        ("{date:%Y}.csv", "pattern.field"),
        ("{}.csv", "pattern.field"),
        ("{symbl}.csv", "pattern.field"),
        ("{symbol", "pattern.syntax"),
        ("symbol}", "pattern.syntax"),
        ("{{symbol}}", "pattern.syntax"),
        ("{symbol}%2F.csv", "pattern.syntax"),
        ("{symbol}~1", "pattern.syntax"),
        ("../{symbol}.csv", "pattern.path"),
        ("a/../{symbol}.csv", "pattern.path"),
        ("/{symbol}.csv", "pattern.path"),
        ("{symbol}\\x.csv", "pattern.path"),
        ("{symbol}\0.csv", "pattern.path"),
        ("{symbol}\n.csv", "pattern.path"),
        ("a//{symbol}.csv", "pattern.path"),
        ("{symbol}/", "pattern.path"),
        ("", "pattern.path"),
        (".{symbol}", "pattern.path"),
        ("x" * 250 + "{date}", "pattern.path"),
        ("x" * 200 + "{symbol}", "pattern.path"),
        ("{symbol}{date}.csv", "pattern.ambiguous"),
        ("{symbol}x_{date}.csv", "pattern.ambiguous"),
    ],
)
def test_pattern_is_refused(pattern: str, code: str):
    assert code_of(pattern) == code


def test_pattern_with_a_misspelt_field_names_the_nearest_and_all_others():
    with pytest.raises(ConfigError, match=r"did you mean 'symbol'") as refusal:
        FilenamePattern("{symbl}.csv")
    assert all(field in refusal.value.message for field in FIELDS)


def test_split_brings_the_rows_of_a_file_together_in_their_order():
    frame = make_frame(6, ["A", "B"])
    together, files = FilenamePattern("{symbol}.csv").split(frame)
    assert [(file.name, file.rows) for file in files] == [("A.csv", 3), ("B.csv", 3)]
    assert together["symbol"].to_list() == ["A", "A", "A", "B", "B", "B"]
    assert together.equals(frame.sort("symbol", maintain_order=True))


def test_split_leaves_a_frame_alone_that_is_in_order():
    frame = make_frame(3)
    assert FilenamePattern("{symbol}.csv").split(frame)[0] is frame
    assert FilenamePattern("all.csv").split(frame)[0] is frame


def test_split_tells_apart_what_a_joined_key_would_not():
    frame = pl.concat([make_frame(1, ["A_B"], timeframe="1h"), make_frame(1, ["A"], source="B_1h")])
    _, files = FilenamePattern("{symbol}_{source}.csv").split(frame)
    assert len({file.name for file in files}) == 2


def test_split_names_files_after_the_utc_day():
    late_in_new_york = datetime(2024, 1, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    points = [make_point(timestamp=late_in_new_york), make_point(timestamp=datetime(2024, 1, 1, tzinfo=UTC))]
    _, files = FilenamePattern("{date}").split(PointBatch.of(points).frame)
    assert [file.name for file in files] == ["20240102", "20240101"]


# -- two patterns ----------------------------------------------------------------------------------


def overlap(one: str, other: str, roots: tuple[str, str] = ("out", "out")) -> bool:
    places = [
        FilePlace(Path(root), FilenamePattern(text)) for root, text in zip(roots, (one, other), strict=True)
    ]
    answers = {places[0].overlaps(places[1]), places[1].overlaps(places[0])}
    assert len(answers) == 1
    return answers.pop()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{symbol}_1d.csv", "{symbol}_1d.jsonl"),
        ("{symbol}_1d.csv", "{symbol}_1h.csv"),
        ("daily/{symbol}.csv", "hourly/{symbol}.csv"),
        ("daily_{symbol}.csv", "hourly_{symbol}.csv"),
        ("{symbol}.csv", "{source}/{symbol}.csv"),
        ("{date}.csv", "{date}_{symbol}.csv"),
        ("{date}.csv", "all.csv"),
        ("{date}/x.csv", "{date}1/x.csv"),
        ("{symbol}.csv", "all bars.csv"),
        ("{symbol}_{timeframe}.csv", "{symbol}.csv.gz"),
    ],
)
def test_patterns_that_never_give_one_name_are_told_apart(one, other):
    assert not overlap(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{symbol}.csv", "{symbol}.csv"),
        ("{symbol}.csv", "{source}.csv"),
        ("{symbol}.csv", "all.csv"),
        ("{symbol}.csv", "{date}.csv"),
        ("{symbol}_{timeframe}.csv", "{symbol}.csv"),
        ("{symbol}_{date}.csv", "{symbol}_{timeframe}_{date}.csv"),
        ("{symbol}", "{symbol}.csv"),
        ("{source}/{symbol}.csv", "binance/{symbol}.csv"),
    ],
)
def test_patterns_that_may_give_one_name_overlap(one, other):
    assert overlap(one, other)


def test_root_of_one_may_be_a_folder_of_the_other():
    assert overlap("daily/{symbol}.csv", "{symbol}.csv", roots=("out", "out/daily"))
    assert overlap("{source}/{symbol}.csv", "{symbol}.csv", roots=("out", "out/kraken"))
    assert not overlap("daily/{symbol}.csv", "{symbol}.csv", roots=("out", "out/hourly"))


@pytest.mark.parametrize(
    ("folder", "root", "pattern", "expected"),
    [
        ("out", "out", "{symbol}.csv", True),
        ("out", "out/csv", "{symbol}.csv", True),
        ("out/日本", "out", "日本/{symbol}.csv", True),
        ("out/bars", "out", "{source}/{symbol}.csv", True),
        ("out/bars", "out", "{symbol}.csv", False),
        ("out/bars", "out/bars2", "{symbol}.csv", False),
        ("out", "elsewhere", "{symbol}.csv", False),
    ],
)
def test_folder_that_is_owned_whole_overlaps_with_whatever_may_lie_in_it(folder, root, pattern, expected):
    whole, files = FilePlace(Path(folder), AnyName()), FilePlace(Path(root), FilenamePattern(pattern))
    assert whole.overlaps(files) is files.overlaps(whole) is expected


def test_folders_that_are_owned_whole_overlap_where_one_holds_the_other():
    assert FilePlace(Path("out"), AnyName()).overlaps(FilePlace(Path("out/bars"), AnyName()))
    assert not FilePlace(Path("out/a"), AnyName()).overlaps(FilePlace(Path("out/b"), AnyName()))


@given(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS), texts, texts)
def test_patterns_that_gave_one_name_overlap(one, other, symbol, source):
    changes = {"symbol": symbol, "source": source}
    name = FilenamePattern(one).name(BAR | changes)
    assert overlap(one, one)
    if "%" not in name and "~" not in name and "/" not in name and not name.startswith("."):
        assert overlap(one, name)
    if name == FilenamePattern(other).name(BAR | changes):
        assert overlap(one, other)
