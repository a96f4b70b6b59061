from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destinations.csv_file import CSV_COLUMNS, CSV_HEADER, CSVDestination, encode_csv
from destinations.records import LEDGER_NAME
from router.batch import PointBatch
from router.errors import ConfigError
from tests.contract.reading import data_files, read_csv, rows_of, unpacked
from tests.make import START, as_batch, make_batch, make_frame, make_point, make_values

floats = st.floats(allow_nan=False, allow_infinity=False)


def encoded(**values: Any) -> list[str]:
    """Return the cells of one point whose columns hold exactly these values, checked or not."""
    columns = [pl.Series(name, [value], make_frame(1).schema[name]) for name, value in values.items()]
    return next(csv.reader(io.StringIO(encode_csv(make_frame(1).with_columns(columns)).decode())))


def cell(name: str, value: Any) -> str:
    return encoded(**{name: value})[CSV_COLUMNS.index(name)]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[CSVDestination]:
    destination = CSVDestination(tmp_path, durability="process")
    yield destination
    destination.close()


# -- bytes --------------------------------------------------------------------------------------


def test_csv_header_names_the_eleven_columns_in_order():
    assert CSV_HEADER == (
        b"timestamp,open,high,low,close,volume,symbol,asset_class,timeframe,source,data_quality_score\n"
    )


def test_csv_line_holds_one_point():
    assert encode_csv(make_frame(1)) == (
        b"2024-01-01T00:00:00+00:00,42000.0,42001.5,41998.75,42000.5,12.5,BTC/USDT,crypto,1m,exchange-a,0.99\n"
    )


def test_csv_of_no_points_is_nothing():
    assert encode_csv(make_frame(0)) == b""


def test_csv_tells_an_absent_volume_from_zero():
    assert [cell("volume", volume) for volume in (None, 0.0, -0.0)] == ["", "0.0", "-0.0"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1e16, "10000000000000000.0"),
        (1e22, "10000000000000000000000.0"),
        (1.2345678901234568e17, "123456789012345680.0"),
        (9999999999999998.0, "9999999999999998.0"),
        (1e-5, "0.00001"),
        (9.9e-6, "0.0000099"),
        (1e-7, "0.0000001"),
        (-1.5e-7, "-0.00000015"),
        (0.1 + 0.2, "0.30000000000000004"),
        (42000.0, "42000.0"),
    ],
)
def test_csv_number_is_the_shortest_text_without_an_exponent(number: float, text: str):
    assert cell("close", number) == text


@settings(deadline=None)
@given(number=floats)
def test_csv_number_reads_back_equal(number: float):
    text = cell("volume", number)
    assert "e" not in text.lower()
    assert float(text) == number


@settings(deadline=None)
@given(one=floats | st.none(), other=floats | st.none())
def test_csv_line_does_not_depend_on_its_neighbours(one: float | None, other: float | None):
    alone = [
        encode_csv(make_frame(1, volume=12.5).with_columns(volume=pl.lit(v, pl.Float64)))
        for v in (one, other)
    ]
    together = make_frame(1)[[0, 0]].with_columns(pl.Series("volume", [one, other], pl.Float64))
    assert encode_csv(together) == b"".join(alone)


def test_csv_timestamp_shows_microseconds_only_where_there_are_some():
    stamps = [START, START.replace(microsecond=1500), START.replace(second=1)]
    frame = make_frame(3).with_columns(pl.Series("timestamp", stamps, pl.Datetime("us", "UTC")))
    shown = [line.split(",")[0] for line in encode_csv(frame).decode().splitlines()]
    assert shown == [stamp.isoformat() for stamp in stamps]


@pytest.mark.parametrize("start", list("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
def test_csv_guards_text_that_a_spreadsheet_would_run(start: str):
    formula = f'{start}HYPERLINK("http://x.invalid","a")'
    cells = encoded(symbol=formula, source=formula)
    assert [cells[CSV_COLUMNS.index(name)] for name in ("symbol", "source")] == [f"'{formula}"] * 2


def test_csv_guard_touches_no_other_text_and_no_number():
    frame = pl.concat([make_frame(1, ["^GSPC"]), make_frame(1, ["BTC-USD"]), make_frame(1, ["@A"])])
    frame = frame.with_columns(close=pl.lit(-1.5))
    symbols = [line.split(",")[6] for line in encode_csv(frame).decode().splitlines()]
    assert symbols == ["^GSPC", "BTC-USD", "'@A"]
    assert b",-1.5," in encode_csv(frame)


def test_csv_guard_may_be_turned_off(tmp_path: Path):
    destination = CSVDestination(tmp_path, durability="process", guard_formulas=False)
    destination.write_batch(make_batch(1, ["=A1"]))
    destination.close()
    assert [row.symbol for row in read_csv(tmp_path)] == ["=A1"]


@pytest.mark.parametrize("text", ['a"b', "a,b", "a\nb", "a\rb", "", " a ", "é", "'a"])
def test_csv_text_reads_back_equal_with_two_parsers(text: str):
    data = CSV_HEADER + encode_csv(make_frame(2).with_columns(symbol=pl.lit(text)))
    with io.StringIO(data.decode(), newline="") as lines:
        assert [row["symbol"] for row in csv.DictReader(lines)] == [text, text]
    assert pl.read_csv(data)["symbol"].to_list() == [text, text]


# -- files --------------------------------------------------------------------------------------


def test_csv_files_are_named_after_symbol_timeframe_and_utc_day(files: CSVDestination, tmp_path: Path):
    in_new_york = timezone(timedelta(hours=-5))
    files.write(make_point(timestamp=datetime(2024, 1, 1, 23, 30, tzinfo=in_new_york)))
    files.write(make_point(timestamp=datetime(2024, 1, 2, 23, 59, tzinfo=UTC)))
    files.write(make_point(timestamp=datetime(2024, 1, 3, tzinfo=UTC)))
    names = [file.name for file in data_files(tmp_path)]
    assert names == ["BTC%2FUSDT_1m_20240102.csv", "BTC%2FUSDT_1m_20240103.csv"]


@pytest.mark.parametrize("symbol", ["../../escaped", "/etc/passwd", "..", "a\0b", "a/../../b", "."])
def test_csv_files_stay_under_their_root_whatever_the_symbol(tmp_path: Path, symbol: str):
    destination = CSVDestination(tmp_path / "root", durability="process")
    destination.write_batch(as_batch(make_frame(1).with_columns(symbol=pl.lit(symbol))))
    destination.close()
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert len(data_files(tmp_path / "root")) == 1


def test_csv_pattern_without_a_timeframe_keeps_every_line_whole(tmp_path: Path):
    destination = CSVDestination(tmp_path, "{symbol}.csv", durability="process")
    batches = [make_batch(40, timeframe=timeframe, timestamp=START) for timeframe in ("1m", "1h", "1d")]
    for batch in batches * 2:
        destination.write_batch(batch)
    destination.close()
    assert read_csv(tmp_path) == [row for batch in batches for row in rows_of(batch)]


def test_csv_columns_joined_by_an_underscore_are_two_files(files: CSVDestination, tmp_path: Path):
    for symbol, timeframe in (("A_1h", "1d"), ("A", "1h")):
        files.write(make_point(symbol=symbol, timeframe=timeframe, timestamp=START))
    assert len(data_files(tmp_path)) == 2


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", ".gz"), ("bz2", ".bz2"), ("zstd", ".zst")])
def test_csv_compressed_file_grows_over_restarts(tmp_path: Path, compression: str, suffix: str):
    batch = make_batch(6)
    for start in (0, 3):
        destination = CSVDestination(tmp_path, compression=compression, durability="process")
        destination.write_batch(batch.slice(start, start + 3))
        destination.close()
    (file,) = data_files(tmp_path)
    assert file.name == f"BTC%2FUSDT_1m_20240101.csv{suffix}"
    assert unpacked(file) == CSV_HEADER + encode_csv(batch.frame)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_csv_compressed_file_is_read_by_polars(tmp_path: Path, compression: str):
    batch = make_batch(6)
    destination = CSVDestination(tmp_path, compression=compression, durability="process")
    for start in (0, 3):
        destination.write_batch(batch.slice(start, start + 3))
    destination.close()
    (file,) = data_files(tmp_path)
    assert pl.read_csv(file)["close"].to_list() == batch.frame["close"].to_list()


def test_csv_suffix_of_a_compression_is_not_added_twice(tmp_path: Path):
    destination = CSVDestination(tmp_path, "{symbol}.csv.gz", compression="gzip")
    assert destination.pattern.text == "{symbol}.csv.gz"


def test_csv_without_headers_holds_points_only(tmp_path: Path):
    destination = CSVDestination(tmp_path, "all.csv", include_headers=False, durability="process")
    batch = make_batch(2)
    destination.write_batch(batch)
    destination.close()
    assert (tmp_path / "all.csv").read_bytes() == encode_csv(batch.frame)


def test_csv_header_is_written_to_a_file_that_a_crash_left_empty(tmp_path: Path):
    (tmp_path / "all.csv").touch()
    destination = CSVDestination(tmp_path, "all.csv", durability="process")
    destination.write_batch(make_batch(1))
    destination.close()
    assert (tmp_path / "all.csv").read_bytes() == CSV_HEADER + encode_csv(make_frame(1))


def test_csv_without_append_erases_nothing_over_restarts(tmp_path: Path):
    batch = make_batch(4)
    (tmp_path / "all.csv").write_bytes(b"theirs")
    for start in (0, 2):
        destination = CSVDestination(tmp_path, "all.csv", append=False, durability="process")
        destination.write_batch(batch.slice(start, start + 2))
        destination.close()
    assert (tmp_path / "all.csv").read_bytes() == CSV_HEADER + encode_csv(batch.frame)
    assert (tmp_path / "all.csv~1").read_bytes() == b"theirs"


def test_csv_texts_with_newlines_of_their_own_reach_their_files_whole(tmp_path: Path):
    values = [make_values(row, symbol="AB"[row % 2]) for row in range(4)]
    frame = PointBatch.of([make_point(**value) for value in values]).frame.with_columns(source=pl.lit("a\nb"))
    destination = CSVDestination(tmp_path, "{symbol}.csv", durability="process")
    destination.write_batch(as_batch(frame))
    destination.close()
    for symbol in "AB":
        mine = encode_csv(frame.filter(pl.col("symbol") == symbol))
        assert (tmp_path / f"{symbol}.csv").read_bytes() == CSV_HEADER + mine


def test_csv_destination_touches_nothing_before_it_is_opened(tmp_path: Path):
    CSVDestination(tmp_path / "root")
    assert list(tmp_path.iterdir()) == []


def test_csv_destination_opens_itself_at_the_first_write(tmp_path: Path):
    with_ledger = CSVDestination(tmp_path / "root", durability="process")
    with_ledger.write(make_point())
    with_ledger.close()
    assert (tmp_path / "root" / LEDGER_NAME).exists()


@pytest.mark.parametrize(
    ("options", "code", "where"),
    [
        ({"compression": "zip"}, "enum", "compression"),
        ({"durability": "none"}, "enum", "durability"),
        ({"filename_pattern": "{symbol.__class__}_{date}.csv"}, "pattern.field", "filename_pattern"),
    ],
)
def test_csv_destination_refuses_an_option_it_does_not_know(
    tmp_path: Path, options: dict[str, Any], code: str, where: str
):
    with pytest.raises(ConfigError) as refusal:
        CSVDestination(tmp_path, **options)
    assert (refusal.value.code, refusal.value.where) == (code, where)
