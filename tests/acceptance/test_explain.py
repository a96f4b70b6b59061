"""`candlefleet explain`: one point of a file, of standard input or of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.make import make_values

PROJECT = Path(__file__).parents[2]
EQUITY = PROJECT / "examples/data/equity_1d.csv"
POINT = json.dumps(make_values(symbol="[red]AAPL", timestamp="2024-01-01T00:00:00Z"))


@pytest.fixture
def explained(candlefleet, tmp_path):
    """Run `candlefleet explain` with the example routes and no broker; nothing may be written."""
    environment = {
        "CANDLEFLEET_EXPORTS": str(tmp_path / "exports"),
        "CANDLEFLEET_ROUTES": str(PROJECT / "examples/routes.py"),
        "CANDLEFLEET_DIR": str(tmp_path / "none"),
    }

    def call(*arguments: object, stdin: str = ""):
        said = candlefleet("explain", *map(str, arguments), environment=environment, stdin=stdin)
        assert not (tmp_path / "exports").exists()
        assert not (tmp_path / "none").exists()
        return said

    return call


@pytest.mark.parametrize(
    ("arguments", "close", "matched"),
    [
        ((f"{EQUITY}:79",), 101.25, ["csv_daily"]),
        ((EQUITY, "--row", 78), 101.25, ["csv_daily"]),
        ((f"{EQUITY}:80",), 55.63, ["csv_daily", "large_moves"]),
        ((PROJECT / "examples/data/index_1d.csv", "--row", 5031), None, ["csv_daily", "jsonl_index"]),
    ],
)
def test_row_of_a_file_is_found_and_explained(explained, arguments, close, matched):
    said = explained(*arguments, "--json")
    assert said.code == 0
    assert said.json["matched"] == matched
    assert close is None or said.json["point"]["close"] == close


def test_person_reads_each_clause_and_where_the_point_goes(explained, tmp_path):
    said = explained(f"{EQUITY}:79")
    assert (said.code, said.err) == (0, "")
    assert "AAPL 1d 2000-06-20T00:00:00Z" in said.out
    assert "\n  true   timeframe = '1d'  (timeframe is '1d')\n" in said.out
    assert "\n  false  asset_class = 'index'  (asset_class is 'equity')\n" in said.out
    assert f"written  to {tmp_path}/exports/daily/AAPL_daily.csv" in said.out


def test_what_a_stranger_wrote_is_shown_word_for_word(explained):
    assert "[red]AAPL 1m 2024-01-01" in explained("--point", POINT).out


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (POINT, []),
        (f"\ufeff[{json.dumps(json.loads(POINT), indent=2)}]", []),
        (f"{POINT}\n{POINT}\n", ["--row", "2"]),
        (f"[{POINT}, {POINT}]", ["--row", "2"]),
        ("\n".join(EQUITY.read_text().splitlines()[:3]), ["--row", "2"]),
        ("\n".join(EQUITY.read_text().splitlines()[:2]), ["--format", "csv"]),
    ],
    ids=["object", "list with a mark", "ndjson", "list of two", "csv", "csv of one row"],
)
def test_standard_input_holds_json_or_what_a_file_may_hold(explained, text, arguments):
    said = explained("-", "--json", *arguments, stdin=text)
    assert (said.code, said.err) == (0, "")
    assert said.json["point"]["symbol"] in ("[red]AAPL", "AAPL")


def test_row_of_any_file_that_send_takes_is_explained(explained, tmp_path):
    pl.read_csv(EQUITY).head(20).write_parquet(tmp_path / "bars.parquet")
    (tmp_path / "bars.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-01-02,187,188,183,185,9\n")
    said = explained(f"{tmp_path}/bars.parquet row 16", "--json")
    assert (said.code, said.json["point"]["timestamp"]) == (0, "2000-03-22T00:00:00Z")
    given = ("--symbol", "AAPL", "--timeframe", "1d", "--asset-class", "equity", "--source", "mine")
    said = explained(tmp_path / "bars.csv", *given, "--json")
    assert (said.code, said.json["matched"]) == (0, ["csv_daily"])
    ms = "[[1704153600000, 187, 188, 183, 185, 9], [1704240000000, 184, 186, 183, 184, 9]]"
    said = explained("-", *given, "--row", "2", "--json", stdin=ms)
    assert (said.code, said.json["point"]["timestamp"]) == (0, "2024-01-03T00:00:00Z")


def test_refused_point_is_explained_too(explained):
    said = explained("--point", '{"symbol": "A", "close": NaN}', "--json")
    assert said.code == 0
    assert said.json["point"] is None
    assert "number.not_finite" in [reason["code"] for reason in said.json["refused"]["reasons"]]


def test_line_that_cannot_be_read_is_refused_by_its_place(explained, tmp_path):
    (tmp_path / "bars.csv").write_text(f"{EQUITY.read_text().splitlines()[0]}\n1,2\n")
    said = explained(f"{tmp_path}/bars.csv:2")
    assert said.code == 0
    assert "refused  at the door, for every reason below (bars.csv:2)" in said.out
    assert "csv.columns: has 2 cells where the first line has 10" in said.out


def test_file_whose_name_ends_in_a_number_is_a_file(explained, tmp_path):
    path = tmp_path / "bars:2"
    path.write_text(POINT)
    assert explained(path, "--format", "ndjson", "--json").json["point"]["symbol"] == "[red]AAPL"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "explain: give either a file (- for standard input) or --point"),
        (["a.csv", "--point", "{}"], "explain: give either a file"),
        (["none.csv"], "none.csv: cannot be read: No such file or directory [path]"),
        (["none.csv:3"], "none.csv: cannot be read"),
        ([EQUITY], "equity_1d.csv: holds several rows: say which with --row N, or as FILE:LINE [row]"),
        ([EQUITY, "--row", "6541"], "equity_1d.csv: has no row 6,541: it holds 6,540 [row]"),
        ([f"{EQUITY}:1"], "equity_1d.csv:1: no row starts there: the last is equity_1d.csv:6541 [row]"),
        ([f"{EQUITY}:9999"], "equity_1d.csv:9999: no row starts there"),
        ([f"{EQUITY}:3", "--row", "2"], "names a row already: leave out --row [row]"),
        (["--point", "{"], "not JSON at line 1, column 2"),
        (["--point", "[1]"], "not a list of points: send a JSON list of objects [envelope.shape]"),
        (["--point", "[{}, {}]"], "--point: holds several rows: say which with --row N"),
        (["--point", "[{}]", "--row", "2"], "--point: has no row 2: it holds 1 [row]"),
        (["-"], "the message is empty"),
        (["--point", "{}", "--routes", "nowhere.py"], "nowhere.py"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(explained, arguments, message):
    said = explained(*arguments)
    assert (said.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert message in line
