from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from router.admission import Admission, admit
from router.errors import ConfigError, DecodeError
from router.files import Chunk, content_key, read_bars
from router.layout import Layout
from router.lines import MAX_LINE
from tests.make import make_point, make_values

FIELDS = ("timestamp", "open", "high", "low", "close", "volume")
HEADER = "timestamp,open,high,low,close,volume,symbol,asset_class,timeframe,source"
Write = Callable[..., Path]


def make_line(row: int = 0, **changes: Any) -> str:
    values = make_values(row, **changes)
    values["timestamp"] = values["timestamp"].isoformat().replace("+00:00", "Z")
    return ",".join("" if values[name] is None else str(values[name]) for name in HEADER.split(","))


def make_json_line(row: int = 0) -> str:
    return json.dumps(make_point(**make_values(row)).to_json_dict())


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(*lines: str | bytes, name: str = "bars.csv", end: bytes = b"\n") -> Path:
        path = tmp_path / name
        path.write_bytes(end.join(line.encode() if isinstance(line, str) else line for line in lines) + end)
        return path

    return write_file


def admitted(chunks: list[Chunk]) -> list[Admission]:
    return [admit(chunk.rows, where=chunk.where) for chunk in chunks]


def refused(path: Path, **options: Any) -> dict[str | None, str]:
    """Return the place and the first code of every row that was refused."""
    found = admitted(list(read_bars(path, **options)))
    return {one.where: one.reasons[0].code for admission in found for one in admission.refused}


def symbols(path: Path, **options: Any) -> list[str]:
    return [
        point.symbol for admission in admitted(list(read_bars(path, **options))) for point in admission.batch
    ]


def test_rows_of_csv_are_text_ready_for_admission(write: Write) -> None:
    (chunk,) = read_bars(write(HEADER, make_line(0), make_line(1, volume=None)))
    assert isinstance(chunk.rows, pl.DataFrame)
    assert set(chunk.rows.dtypes) == {pl.String}
    (admission,) = admitted([chunk])
    assert [point.volume for point in admission.batch] == [12.5, None]
    assert chunk.where(1) == "bars.csv:3"


def test_chunks_are_the_same_every_time_and_tell_how_far_they_are(write: Write) -> None:
    path = write(HEADER, *(make_line(row) for row in range(25)))
    first, second = list(read_bars(path, chunk=10)), list(read_bars(path, chunk=10))
    assert [len(chunk) for chunk in first] == [10, 10, 5]
    assert [chunk.index for chunk in first] == [0, 1, 2]
    assert [list(chunk.lines) for chunk in first] == [list(chunk.lines) for chunk in second]
    assert all(one.rows.equals(other.rows) for one, other in zip(first, second, strict=True))  # type: ignore[union-attr]
    assert first[-1].bytes_read == first[-1].bytes_total == path.stat().st_size
    assert first[0].bytes_read < first[1].bytes_read


def test_columns_may_stand_in_any_order_among_unknown_ones(write: Write) -> None:
    names = ["extra", *reversed(HEADER.split(","))]
    line = ",".join(["x", *reversed(make_line().split(","))])
    (admission,) = admitted(list(read_bars(write(",".join(names), line))))
    assert admission.batch[0].model_copy(update={"data_quality_score": 0.99}) == make_point()


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        (
            [make_line(0), "1,2,3", make_line(1) + ",", make_line(2)],
            {"bars.csv:3": "csv.columns", "bars.csv:4": "csv.columns"},
        ),
        ([make_line(0), b"\xff" + make_line(1).encode(), make_line(2)], {"bars.csv:3": "envelope.encoding"}),
        ([make_line(0), make_line(1, symbol="A\0B"), make_line(2)], {"bars.csv:3": "symbol.control"}),
        ([make_line(0), "x" * (2 * MAX_LINE + 5), make_line(2)], {"bars.csv:3": "envelope.size"}),
        ([make_line(0), make_line(1, symbol='"AB'), make_line(2)], {"bars.csv:3": "csv.quotes"}),
        ([make_line(0), make_line(1, symbol='"A"B'), make_line(2)], {"bars.csv:3": "csv.quotes"}),
        ([make_line(0), make_line(1, symbol="A\rB"), make_line(2)], {"bars.csv:3": "csv.quotes"}),
        ([make_line(0), make_line(1, close="x"), make_line(2)], {"bars.csv:3": "number.format"}),
        (["", make_line(0), "", make_line(1, close=""), "", make_line(2)], {"bars.csv:5": "required"}),
    ],
    ids=[
        "ragged",
        "encoding",
        "null byte",
        "too long",
        "open quote",
        "stray quote",
        "lone return",
        "value",
        "blank",
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_bad_line_is_refused_alone_with_its_number(
    write: Write, lines: list[Any], places: dict[str, str], end: bytes
) -> None:
    path = write(HEADER, *lines, end=end)
    assert refused(path) == places
    assert len(symbols(path)) == 2


def test_original_of_an_unreadable_line_is_its_own_text(write: Write) -> None:
    (chunk,) = read_bars(write(HEADER, b"a\xff,1", "1,2,3", end=b"\r\n"))
    assert [one.original for one in admitted([chunk])[0].refused] == ["a\\xff,1", "1,2,3"]


def test_quoted_cells_may_hold_commas_quotes_and_line_breaks(write: Write) -> None:
    path = write(
        HEADER,
        make_line(0, symbol='"BTC USD,a=b"'),
        make_line(1, symbol='"=HYPERLINK(""x"")"'),
        make_line(2, symbol='"A\nB"'),
        make_line(3, symbol='A"B'),
    )
    assert symbols(path) == ["BTC USD,a=b", '=HYPERLINK("x")', 'A"B']
    assert refused(path) == {"bars.csv:4": "symbol.control"}
    assert list(next(read_bars(path)).lines) == [2, 3, 4, 6]


def test_a_record_over_the_end_of_a_chunk_belongs_to_the_chunk_it_began_in(write: Write) -> None:
    path = write(HEADER, make_line(0), make_line(1, symbol='"A\nB"'), make_line(2), make_line(3))
    chunks = list(read_bars(path, chunk=2))
    assert [list(chunk.lines) for chunk in chunks] == [[2, 3], [5, 6]]
    assert symbols(path, chunk=2) == ["BTC/USDT"] * 3


def test_a_quote_that_is_never_closed_costs_one_line(write: Write) -> None:
    path = write(HEADER, make_line(0, symbol='"A'), *(make_line(row) for row in range(1, 200)))
    assert refused(path, chunk=50) == {"bars.csv:2": "csv.quotes"}
    assert len(symbols(path, chunk=50)) == 199


def test_marks_of_byte_order_are_removed(write: Write) -> None:
    assert len(symbols(write(b"\xef\xbb\xbf" + HEADER.encode(), make_line()))) == 1
    assert len(symbols(write(b"\xef\xbb\xbf" + make_json_line().encode(), name="bars.ndjson"))) == 1


def test_constants_stand_for_columns_that_a_file_lacks(write: Write) -> None:
    header = HEADER.removesuffix(",symbol,asset_class,timeframe,source")
    line = make_line().split(",BTC/USDT")[0]
    layout = Layout(constants={"symbol": "SPY", "asset_class": "etf", "timeframe": "1m", "source": "yahoo"})
    assert symbols(write(header, line), layout=layout) == ["SPY"]
    assert symbols(write(header, line, ""), layout=layout) == ["SPY"]
    assert symbols(write(HEADER, make_line()), layout=layout) == ["BTC/USDT"]
    assert symbols(write(make_json_line(), '{"open": 1}', name="bars.jsonl"), layout=layout) == ["BTC/USDT"]


@pytest.mark.parametrize(
    ("lines", "options", "error", "code"),
    [
        (["a,b,a"], {}, ConfigError, "csv.header"),
        ([""], {}, ConfigError, "csv.header"),
        ([HEADER.encode("utf-16")], {}, DecodeError, "envelope.encoding"),
        ([HEADER], {"format": "cvs"}, ConfigError, "enum"),
        (["timestamp;open;high"], {}, ConfigError, "csv.header"),
    ],
    ids=["doubled column", "no header", "not UTF-8", "unknown format", "semicolons"],
)
def test_files_that_cannot_be_read_at_all_say_why(
    write: Write, lines: list[Any], options: dict[str, Any], error: Any, code: str
) -> None:
    with pytest.raises(error) as caught:
        list(read_bars(write(*lines), **options))
    assert caught.value.code == code


BINANCE = "1704067200000,1,2,0.5,1.5,7,1704067259999,10,3,5,5,0"


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        (BINANCE, {}),
        ("2024-01-01T00:00:00Z,1,2,0.5,1.5,7", {}),
        ("1704067200,1.0,2.0,0.5,1.5,7,3", {name: str(at) for at, name in enumerate(FIELDS, 1)}),
    ],
    ids=["Binance", "six", "Kraken"],
)
def test_csv_without_a_header_is_read_by_position_from_its_first_line(
    write: Write, line: str, columns: dict[str, str]
) -> None:
    constants = {"symbol": "BTC/USDT", "asset_class": "crypto", "timeframe": "1m", "source": "x"}
    (chunk,) = read_bars(write(line, line), layout=Layout(columns=columns, constants=constants))
    first, second = admit(chunk.rows).batch
    assert first == second
    assert (first.open, first.high, first.low, first.close, first.volume) == (1, 2, 0.5, 1.5, 7)
    assert list(chunk.lines) == [1, 2]
    assert chunk.bytes_read == chunk.bytes_total


def test_csv_without_a_header_may_lack_the_volume(write: Write) -> None:
    constants = {"symbol": "BTC/USDT", "asset_class": "crypto", "timeframe": "1m", "source": "x"}
    (chunk,) = read_bars(write("1704067200,1,2,0.5,1.5"), layout=Layout(constants=constants))
    (point,) = admit(chunk.rows).batch
    assert (point.close, point.volume) == (1.5, None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'"timestamp";"open";"close"\n', "parted by ';': write commas"),
        (b"timestamp,open\r1,2\r", "holds a lone carriage return: end lines with a line feed"),
        (b'"timestamp,open\n', "quotes do not close before a comma"),
        (b"2024.01.02,00:00,1,2,1,1,3\n", "have no names, and 7 values: say by position which is which"),
        (gzip.compress(HEADER.encode())[:12], "is damaged: its gzip data cannot be unpacked further"),
    ],
    ids=["quoted semicolons", "carriage returns", "open quote", "no header", "damaged"],
)
def test_a_header_that_cannot_be_read_says_what_it_is(write: Write, content: bytes, words: str) -> None:
    path = write(content.removesuffix(b"\n"))
    with pytest.raises((ConfigError, DecodeError), match=words):
        list(read_bars(path))


def test_files_of_unknown_suffix_are_read_by_their_content(write: Write) -> None:
    assert len(symbols(write(HEADER, make_line(), name="bars.txt"))) == 1
    assert len(symbols(write(make_json_line(), name="bars"))) == 1
    with pytest.raises(ConfigError, match=r"bars\.db: has none of the suffixes \.csv, .*name its --format"):
        list(read_bars(write(b"SQLite format 3\0", name="bars.db")))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv.*No such file"):
        list(read_bars(tmp_path / "none.csv"))


def test_lines_of_json_are_points_and_bad_ones_are_refused_alone(write: Write) -> None:
    bad = [b"{", b"[1]", f"[{make_json_line()}]", b'{"a":1,"a":2}', b"\xff", b"5", b"x" * (MAX_LINE + 1)]
    path = write(make_json_line(0), "", *bad, "  ", make_json_line(1), name="bars.ndjson")
    assert len(symbols(path)) == 2
    assert list(refused(path).values()) == [
        "envelope.not_json",
        "envelope.shape",
        "envelope.shape",
        "envelope.duplicate_key",
        "envelope.encoding",
        "envelope.shape",
        "envelope.size",
    ]
    assert list(refused(path)) == [f"bars.ndjson:{line}" for line in range(3, 10)]
    assert [one.original for one in admitted(list(read_bars(path)))[0].refused][:2] == ["{", "[1]"]


@pytest.mark.parametrize("text", [f"{HEADER}\n{make_line()}", f"\n{make_json_line()}", make_json_line()])
def test_streams_tell_their_format_by_their_first_character(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = None if text[0] != "\n" else "ndjson"
    (chunk,) = read_bars(io.BytesIO(text.encode()), form)
    assert (chunk.bytes_total, chunk.name) == (None, "stream")
    assert len(admit(chunk.rows).batch) == 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    (chunk,) = read_bars("-", form)
    assert chunk.where(0).startswith("stdin:")


def test_long_lines_at_the_start_and_end_of_a_stream_are_lines_too() -> None:
    long = b"x" * (3 * MAX_LINE)
    stream = io.BytesIO(b"\n".join([long, make_json_line().encode(), long]))
    (chunk,) = read_bars(stream, "ndjson")
    assert list(chunk.lines) == [1, 2, 3]
    assert chunk.bytes_read == len(stream.getvalue())
    assert len(admit(chunk.rows).batch) == 1


def test_empty_files_of_json_have_no_chunks(write: Write) -> None:
    assert list(read_bars(write("", name="bars.ndjson"))) == []


def test_content_key_follows_the_bytes_alone(write: Write) -> None:
    one, same, other = write("a", name="one"), write("a", name="same"), write("b", name="other")
    assert content_key(one) == content_key(same) != content_key(other)
    assert len(content_key(one)) == 32
