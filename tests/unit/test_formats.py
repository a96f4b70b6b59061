"""The same bars are the same points, whatever file they lie in; and what is damaged says so."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.admission import admit
from router.errors import ConfigError, DecodeError
from router.files import Chunk, read_bars
from router.layout import Layout
from router.sources import HEAD
from tests.make import make_frame

LAYOUT = Layout(constants={"symbol": "BTC/USD", "timeframe": "1m", "asset_class": "crypto", "source": "tv"})
FIELDS = ["timestamp", "open", "high", "low", "close", "volume"]


def bars(rows: int, step: float = 0.25) -> pl.DataFrame:
    """Return bars as files hold them: six columns, milliseconds, prices of few digits."""
    frame = make_frame(rows, symbols=["BTC/USD"], source="tv", data_quality_score=1.0)
    return frame.select(
        pl.col("timestamp").dt.timestamp("ms"),
        *(pl.col(name) * step for name in FIELDS[1:]),
    )


def ndjson(frame: pl.DataFrame) -> bytes:
    return frame.write_ndjson().encode()


def ohlcv(frame: pl.DataFrame) -> bytes:
    return json.dumps({"ohlcv": frame.rows()}, indent=4).encode()


def json_rows(frame: pl.DataFrame) -> bytes:
    return json.dumps(frame.rows()).encode()


def json_objects(frame: pl.DataFrame) -> bytes:
    return json.dumps(frame.to_dicts()).encode()


def json_columns(frame: pl.DataFrame) -> bytes:
    return json.dumps(frame.to_dict(as_series=False)).encode()


def csv(frame: pl.DataFrame) -> bytes:
    return frame.write_csv().encode()


def quoted_csv(frame: pl.DataFrame) -> bytes:
    return frame.write_csv(quote_style="always").encode()


def parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    pa.parquet.write_table(frame.to_arrow(), file, row_group_size=7)
    return file.getvalue()


def arrow_file(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_file(file, frame.to_arrow().schema) as writer:
        writer.write_table(frame.to_arrow(), max_chunksize=7)
    return file.getvalue()


def arrow_stream(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, frame.to_arrow().schema) as writer:
        writer.write_table(frame.to_arrow(), max_chunksize=7)
    return file.getvalue()


def arrow_table(table: pa.Table) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def feather(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    pa.feather.write_feather(frame.to_arrow(), file, compression="zstd")
    return file.getvalue()


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


WRITERS: dict[str, Callable[[pl.DataFrame], bytes]] = {
    "ndjson": ndjson,
    "ohlcv.json": ohlcv,
    "rows.json": json_rows,
    "objects.json": json_objects,
    "columns.json": json_columns,
    "csv": csv,
    "quoted.csv": quoted_csv,
    "parquet": parquet,
    "arrow": arrow_file,
    "arrows": arrow_stream,
    "feather": feather,
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstd,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def named(data: bytes, name: str) -> io.BytesIO:
    stream = io.BytesIO(data)
    stream.name = name
    return stream


def read(data: bytes, name: str = "", **options: Any) -> list[Chunk]:
    return list(read_bars(named(data, name) if name else io.BytesIO(data), layout=LAYOUT, **options))


def points(chunks: list[Chunk]) -> pl.DataFrame:
    return pl.concat([admit(chunk.rows).batch.frame for chunk in chunks])


def expected(frame: pl.DataFrame) -> pl.DataFrame:
    whole = frame.with_columns(
        pl.col("timestamp").cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC")),
        *(pl.lit(value).alias(name) for name, value in LAYOUT.constants.items()),
    )
    return admit(whole).batch.frame


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 40), step=st.sampled_from([0.25, 0.1, 1 / 3, 1e-9, 1e9]), chunk=st.integers(1, 50))
def test_the_same_bars_are_the_same_points_in_every_format(
    form: str, rows: int, step: float, chunk: int
) -> None:
    frame = bars(rows, step)
    chunks = read(WRITERS[form](frame), f"bars.{form}", chunk=chunk)
    assert points(chunks).equals(expected(frame))
    header = form.startswith(("csv", "quoted"))  # whose first line names the columns
    numbers = [number for chunk in chunks for number in chunk.lines]
    assert numbers == list(range(1 + header, rows + 1 + header))


@pytest.mark.parametrize("form", WRITERS)
def test_formats_are_told_by_content_where_there_is_no_name(form: str) -> None:
    frame = bars(3)
    assert points(read(WRITERS[form](frame))).equals(expected(frame))


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("form", ["csv", "ndjson", "ohlcv.json", "parquet", "arrows"])
def test_files_may_be_packed(form: str, packer: str, tmp_path: Path) -> None:
    path = tmp_path / f"bars.{form}.{packer}"
    path.write_bytes(PACKERS[packer](WRITERS[form](bars(30))))
    (chunk,) = read_bars(path, layout=LAYOUT)
    assert admit(chunk.rows).batch.frame.equals(expected(bars(30)))
    assert chunk.bytes_read == chunk.bytes_total == path.stat().st_size
    assert chunk.understood.format.partition(" in ")[2] in ("gzip", "zstd", "bz2", "xz")


def test_a_name_may_lie_about_packing_and_about_tables() -> None:
    frame = bars(3)
    assert points(read(csv(frame), "bars.csv.gz")).equals(expected(frame))
    assert points(read(gzip.compress(csv(frame)), "bars.csv")).equals(expected(frame))
    assert points(read(parquet(frame), "bars.csv")).equals(expected(frame))


def test_lines_of_json_may_be_called_json() -> None:
    assert points(read(ndjson(bars(3)), "bars.json")).equals(expected(bars(3)))


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_what_stands_before_damage_is_read_and_the_damage_is_told(form: str, packer: str) -> None:
    frame = bars(20_000)
    packed = PACKERS[packer](WRITERS[form](frame))
    found: list[Chunk] = []
    with pytest.raises(DecodeError) as caught:
        found.extend(
            read_bars(
                named(packed[: len(packed) * 9 // 10], f"bars.{form}.{packer}"), chunk=500, layout=LAYOUT
            )
        )
    assert caught.value.code == "envelope.compression"
    assert f"bars.{form}.{packer}: is damaged" in caught.value.message
    assert f"everything up to bars.{form}.{packer}:{found[-1].lines[-1]} was read" in caught.value.message
    whole = points(found)
    assert 5_000 < len(whole) < 20_000
    assert whole.equals(expected(frame)[: len(whole)]), "no line that was cut short is among them"


@pytest.mark.parametrize("packer", ["gz", "zst", "xz"])
def test_a_bomb_is_not_unpacked_to_its_end(packer: str) -> None:
    packed = PACKERS[packer](csv(bars(3)) + b"0" * (100 << 20))
    found: list[Chunk] = []
    with pytest.raises(DecodeError, match="grows more than 500 times") as caught:
        found.extend(read_bars(named(packed, f"bars.csv.{packer}"), layout=LAYOUT))
    assert caught.value.code == "envelope.size"
    (chunk,) = found
    assert [refused.where for refused in admit(chunk.rows, where=chunk.where).refused] == [
        f"bars.csv.{packer}:5"
    ]
    assert len(admit(chunk.rows).batch) == 3


@pytest.mark.parametrize(
    ("form", "cut", "read_before"), [("parquet", 30, 0), ("arrow", 200, 0), ("arrows", 200, 7)]
)
def test_a_table_cut_short_says_so_after_what_could_be_read(form: str, cut: int, read_before: int) -> None:
    found: list[Chunk] = []
    with pytest.raises(DecodeError, match=f"bars.{form}: cannot be read: ") as caught:
        found.extend(read_bars(named(WRITERS[form](bars(20))[:-cut], f"bars.{form}"), layout=LAYOUT))
    assert caught.value.code == "envelope.table"
    assert sum(map(len, found)) >= read_before


def test_a_damaged_page_costs_what_stands_behind_it() -> None:
    data = bytearray(parquet(bars(20_000)))
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    found: list[Chunk] = []
    with pytest.raises(DecodeError, match=r"everything up to bars\.parquet row \d+ was read"):
        found.extend(read_bars(named(bytes(data), "bars.parquet"), chunk=100, layout=LAYOUT))
    whole = points(found)
    assert whole.equals(expected(bars(20_000))[: len(whole)])


def test_rows_of_tables_are_numbered_and_refused_alone() -> None:
    frame = bars(5).with_columns(
        close=pl.when(pl.col("close") == bars(5)["close"][3]).then(1e9).otherwise("close")
    )
    (chunk,) = read(parquet(frame), "bars.parquet")
    (refused,) = admit(chunk.rows, where=chunk.where).refused
    assert refused.where == "bars.parquet row 4"
    assert refused.reasons[0].code == "ohlc.out_of_range"


def test_columns_that_are_not_needed_are_not_read_from_tables() -> None:
    wide = bars(3).with_columns(**{f"feature {n}": pl.lit([b"x"]) for n in range(100)})
    assert points(read(parquet(wide))).equals(expected(bars(3)))
    assert read(parquet(wide))[0].understood.unused[0] == "feature 0"


def test_dictionaries_dates_and_zones_of_other_libraries_are_read() -> None:
    frame = bars(3).with_columns(
        pl.col("timestamp").cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone("America/New_York"),
        pl.col("close").cast(pl.Float32),
        symbol=pl.lit("BTC/USD", dtype=pl.Categorical),
    )
    assert points(read(parquet(frame))).equals(expected(bars(3)))


MOMENTS = ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]
MIDNIGHTS = pa.array([datetime.fromisoformat(text) for text in MOMENTS], pa.timestamp("us", "UTC"))


@pytest.mark.parametrize(
    "column",
    [
        *(MIDNIGHTS.cast(pa.timestamp(unit, "+05:30"), safe=False) for unit in ("s", "ms", "us", "ns")),
        MIDNIGHTS.cast(pa.timestamp("ns", "Asia/Kolkata")),
        MIDNIGHTS.cast(pa.date32()),
        MIDNIGHTS.cast(pa.date64()),
        MIDNIGHTS.cast(pa.timestamp("s")).cast(pa.int64()).cast(pa.decimal128(38, 0)),
        MIDNIGHTS.cast(pa.timestamp("s")).cast(pa.int64()).cast(pa.decimal256(40, 2)),
        pa.array(MOMENTS).dictionary_encode(),
        pa.array([text[:10] for text in MOMENTS]).dictionary_encode(),
        pa.array([text.removesuffix("Z") + "+00:00" for text in MOMENTS], pa.string_view()),
    ],
    ids=lambda column: str(column.type).partition("<")[0],
)
def test_timestamps_of_tables_are_read_whatever_their_type(column: pa.Array) -> None:
    prices = pa.array([Decimal("1.10"), Decimal("1.10")], pa.decimal256(40, 2))
    named = dict.fromkeys(("open", "high", "low", "close"), prices)
    layout = Layout(constants=dict(LAYOUT.constants, timeframe="1d"))
    (chunk,) = read_bars(io.BytesIO(arrow_table(pa.table({"timestamp": column, **named}))), layout=layout)
    batch = admit(chunk.rows).batch
    assert batch.frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_list() == MOMENTS
    assert batch.frame["close"].to_list() == [1.1, 1.1]
    assert chunk.understood.time.partition(";")[0] in TIMES


TIMES = ("with their zone", "days, as midnight UTC", "seconds since 1970, by their size")


@pytest.mark.parametrize("columns", [{}, {"open": "open"}], ids=["found", "named"])
def test_a_column_that_is_there_twice_can_be_no_field(columns: dict[str, str]) -> None:
    table = bars(3).to_arrow()
    layout = Layout(columns=columns, constants=LAYOUT.constants)
    data = arrow_table(table.append_column("open", table["open"]))
    with pytest.raises(ConfigError, match="has the column 'open' twice: rename one of them"):
        list(read_bars(io.BytesIO(data), layout=layout))


@pytest.mark.parametrize("write", [parquet, arrow_file, arrow_stream], ids=lambda write: write.__name__)
def test_a_table_damaged_anywhere_is_told_or_read(write: Callable[[pl.DataFrame], bytes]) -> None:
    whole = write(
        bars(8).with_columns(ticker=pl.lit("BTC/USD"), timestamp=pl.Series(["2024-01-01 00:00"] * 8))
    )
    layout = Layout(constants=LAYOUT.constants, zone="UTC")
    for at in range(8, len(whole), 3):
        damaged = io.BytesIO(whole[:at] + bytes([whole[at] ^ 0xAD]) + whole[at + 1 :])
        with contextlib.suppress(ConfigError, DecodeError):
            for chunk in read_bars(damaged, layout=layout):
                admit(chunk.rows)


def test_text_of_a_table_that_is_no_text_is_damage() -> None:
    table = pa.table(dict.fromkeys(("timestamp", "open", "high", "low", "close"), NO_TEXT))
    with pytest.raises(DecodeError, match="Invalid UTF8"):
        read(arrow_table(table))


NO_TEXT = pa.StringArray.from_buffers(1, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xc3("))


def test_what_stands_behind_a_stream_of_arrow_is_not_left_out_without_a_word() -> None:
    chunks = read_bars(io.BytesIO(arrow_stream(bars(5)) * 2), layout=LAYOUT)
    assert len(next(chunks)) == 5
    with pytest.raises(DecodeError, match=r"stream ends before the file does: .*up to stream row 5 was read"):
        next(chunks)


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"PARE" + bytes(20), "bars.parquet", "is encrypted: write it without encryption"),
        (b"PK\x03\x04" + b"\1" * 20, "bars.csv", "is a zip archive or a spreadsheet: unpack it"),
        (b"\x04\x22\x4d\x18" + bytes(20), "bars.csv.lz4", "is packed as lz4: unpack it"),
        (gzip.compress(gzip.compress(csv(bars(3)))), "bars.csv.gz", "is packed twice: unpack it once"),
        (parquet(pl.DataFrame()), "bars.parquet", "as in --map timestamp=COLUMN (it has none)"),
    ],
    ids=["encrypted", "zip", "lz4", "twice", "no columns"],
)
def test_files_of_other_kinds_say_what_to_do(data: bytes, name: str, words: str) -> None:
    with pytest.raises((ConfigError, DecodeError)) as caught:
        read(data, name)
    assert words in caught.value.message


@pytest.mark.parametrize("data", [b"", csv(bars(3))], ids=["nothing", "CSV"])
def test_what_is_no_table_is_not_read_as_one(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        read(data, "bars.parquet")
    assert str(caught.value) == (
        "bars.parquet: cannot be read: its content is neither Parquet nor Arrow IPC [envelope.table]"
    )


@pytest.mark.parametrize(
    "write", [parquet, arrow_file, arrow_stream, feather], ids=lambda write: write.__name__
)
def test_whole_points_come_back_with_their_indicators(write: Callable[[pl.DataFrame], bytes]) -> None:
    frame = make_frame(20, technical_indicators={"rsi": 51.5})
    (chunk,) = read_bars(io.BytesIO(write(frame)))
    assert admit(chunk.rows).batch.frame.equals(frame)
    assert chunk.understood.is_plain


def test_an_old_feather_file_is_told_to_be_written_anew() -> None:
    with pytest.raises(DecodeError, match="Feather of version 1: write it as version 2"):
        read(b"FEA1" + bytes(100))


def test_a_large_document_is_refused_before_it_fills_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.read_json.MAX_DOCUMENT", 2**20)
    with pytest.raises(
        DecodeError, match=r"over 1 MiB, .* write a point on each line \(NDJSON\), or Parquet"
    ):
        read(b"[" + b" " * 2**20 + b"]", "bars.json")


@pytest.mark.parametrize(
    ("document", "error", "words"),
    [
        ("5", ConfigError, "holds no bars: write a list of points"),
        ('{"foo": 1}', ConfigError, "holds no list of rows (it has foo): write a list of points"),
        ('{"a": [[1]], "b": [[2]]}', ConfigError, "holds several lists of rows (a, b): send each alone"),
        (
            '{"bars": {"AAPL": [{"t": 1}], "MSFT": [{"t": 1}]}}',
            ConfigError,
            "holds several lists of rows (bars.AAPL, bars.MSFT): send each alone, with its --symbol",
        ),
        ('{"open": [1, 2], "close": [1]}', ConfigError, "not of one length: open 2, close 1"),
        ('[{"a": 1, "a": 2}]', DecodeError, "'a' is given twice"),
        ("[{", DecodeError, "not JSON at line 1, column 3"),
        ("", DecodeError, "empty"),
    ],
)
def test_a_document_without_bars_says_what_it_lacks(document: str, error: Any, words: str) -> None:
    with pytest.raises(error) as caught:
        read(document.encode(), format="json")
    assert words in caught.value.message


def test_rows_without_names_have_five_or_six_values() -> None:
    start = 1_704_067_200_000
    rows = [[start, 1, 2, 1, 2, 5], [start, 1, 2, 1, 2], [start, 1], [start, 1, 2, 1, 2, 5, 6], "x", None, {}]
    (chunk,) = read(json.dumps(rows).encode())
    admission = admit(chunk.rows)
    assert [point.volume for point in admission.batch] == [5, None]
    assert [one.reasons[0].code for one in admission.refused] == [
        *["json.row"] * 2,
        *["envelope.shape"] * 2,
        "required",
    ]


ROW = [1_704_067_200, 1.0, 2.0, 0.5, 1.5, 7.0]
OBJECT = dict(zip("tohlcv", ROW, strict=True))
KLINE = [1_704_067_200_000, *map(str, ROW[1:]), 1_704_067_259_999, "10", 3, "5", "5", "0"]


@pytest.mark.parametrize(
    "answer",
    [
        [KLINE],
        {"symbol": "AAPL", "bars": [OBJECT], "next_page_token": None},
        {"bars": {"AAPL": [{**OBJECT, "n": 3, "vw": 1.2}]}, "next_page_token": None},
        {"ticker": "AAPL", "resultsCount": 1, "results": [{**OBJECT, "n": 3}], "status": "OK"},
        {"s": "ok", **{name: [value] for name, value in OBJECT.items()}},
        {"data": {"pair": "BTC/USD", "ohlc": [OBJECT]}},
        {"retCode": 0, "result": {"category": "spot", "list": [ROW]}, "time": 1},
        {"error": [], "result": {"XXBTZUSD": [ROW], "last": 1}},
    ],
    ids=["Binance", "Alpaca", "Alpaca, by symbol", "Polygon", "UDF", "Bitstamp", "lists", "no errors"],
)
@pytest.mark.parametrize("indent", [None, 1], ids=["one line", "many"])
def test_rows_are_found_in_the_answers_of_exchanges(answer: Any, indent: int | None) -> None:
    (chunk,) = read(json.dumps(answer, indent=indent).encode(), "answer.json")
    (point,) = admit(chunk.rows).batch
    assert point.timestamp.isoformat() == "2024-01-01T00:00:00+00:00"
    assert (point.open, point.high, point.low, point.close, point.volume) == tuple(ROW[1:])


KRAKEN = {"error": [], "result": {"XXBTZUSD": [[*ROW[:5], 1.2, 7.0, 3]], "last": 1_704_067_200}}
COINBASE = [[1_704_067_200, 0.5, 2.0, 1.0, 1.5, 7.0]]


@pytest.mark.parametrize(
    ("answer", "columns"),
    [
        (KRAKEN, {"timestamp": "1", "open": "2", "high": "3", "low": "4", "close": "5", "volume": "7"}),
        (COINBASE, {"low": "2", "high": "3", "open": "4"}),
    ],
    ids=["Kraken", "Coinbase"],
)
def test_values_without_names_are_named_by_their_position(answer: Any, columns: dict[str, str]) -> None:
    layout = Layout(columns=columns, constants=LAYOUT.constants)
    (chunk,) = read_bars(io.BytesIO(json.dumps(answer).encode()), layout=layout)
    (point,) = admit(chunk.rows).batch
    assert (point.open, point.high, point.low, point.close, point.volume) == tuple(ROW[1:])


def test_a_position_that_was_said_to_be_something_is_nothing_else() -> None:
    columns = {"source": "1", "timestamp": "2", "open": "3", "high": "4", "low": "5", "close": "6"}
    layout = Layout(columns=columns, constants=LAYOUT.constants)
    (chunk,) = read_bars(io.BytesIO(json.dumps([["here", *ROW[:5]]]).encode()), layout=layout)
    (point,) = admit(chunk.rows).batch
    assert (point.source, point.close, point.volume) == ("here", ROW[4], None)


@pytest.mark.parametrize("form", [None, "json"])
def test_lists_in_a_point_are_no_rows(form: str | None) -> None:
    point = {**OBJECT, "tags": [{"a": 1}], "more": {"tags": [{"a": 1}]}}
    lines = 1 if form else 2
    (chunk,) = read(b"\n".join([json.dumps(point).encode()] * lines), format=form)
    assert len(admit(chunk.rows).batch) == lines


def test_rows_of_another_length_say_how_to_name_their_values() -> None:
    with pytest.raises(ConfigError, match=r"have no names, and 8 values: say by position .* --map open=2 "):
        read(json.dumps(KRAKEN).encode(), "kraken.json")


def test_a_long_line_that_is_cut_behind_a_brace_is_a_document_all_the_same() -> None:
    answer = json.dumps({"results": [OBJECT] * 10_000}, separators=(",", ":")).encode()
    assert len(answer) > 2 * HEAD
    spaces = HEAD - 1 - answer.rindex(b"}", 0, HEAD)
    (chunk,) = read(answer.replace(b"[", b" " * spaces + b"[", 1))
    assert len(admit(chunk.rows).batch) == 10_000


def test_a_list_on_each_line_is_told_what_to_write_instead() -> None:
    (chunk,) = read(b"[1704067200, 1, 2, 1, 2]\n", "bars.ndjson")
    (refused,) = admit(chunk.rows).refused
    assert "write one object per line, or all of it as one JSON list" in str(refused.reasons[0])


def test_nanoseconds_of_json_keep_their_digits() -> None:
    (chunk,) = read(b"[[1704067200123456000, 1, 2, 1, 2, 5]]")
    (point,) = admit(chunk.rows).batch
    assert point.timestamp.microsecond == 123_456
