"""`candlefleet send`: what people have, sent as it is, and every row of it accounted for."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.errors import CandlefleetError
from router.files import content_key
from tests.acceptance.fleet_fixture import Crew, crew_at_work
from tests.acceptance.test_cli import HEADER, csv_rows, row
from workers.cli.send import send_files

RAW = Path(__file__).parents[3] / "shared" / "data"
ROUTES = """
import os
from destinations import CSVDestination
from router import Route

exports = CSVDestination(os.environ["CANDLEFLEET_EXPORTS"], "{symbol}_{timeframe}.csv")
routes = [Route(route_id="all", condition="true", destination=exports)]
"""
YAHOO = "Date,Open,High,Low,Close,Adj Close,Volume"
SPY = ["--symbol", "SPY", "--timeframe", "1d", "--asset-class", "equity", "--source", "yahoo"]
BTC = ["--symbol", "BTC/USD", "--timeframe", "1m", "--asset-class", "crypto", "--source", "tv"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that writes every point to one folder."""
    folder = tmp_path_factory.mktemp("send")
    (folder / "routes.py").write_text(ROUTES)
    with crew_at_work(folder, folder / "routes.py") as at_work:
        yield at_work


@pytest.fixture
def away(tmp_path) -> dict[str, str]:
    """Give the settings of somebody without a fleet."""
    return {"CANDLEFLEET_DIR": str(tmp_path / "none")}


def raw_json(folder: Path) -> Path:
    """Return 10,000 bars as trading-vue-js has them: the file itself where it is at hand."""
    if (RAW / "raw_btcusd_1m.json").exists():
        return RAW / "raw_btcusd_1m.json"
    start, minute = 1_603_037_160_000, 60_000
    rows = [
        [start + n * minute, 11442.5 + n % 7, 11460.5, 11430, 11448.5, n % 256 * 0.25] for n in range(10_000)
    ]
    path = folder / "raw_btcusd_1m.json"
    path.write_text(json.dumps({"ohlcv": rows}, indent=4))
    return path


def raw_yahoo(folder: Path) -> Path:
    """Return 2,519 bars as Yahoo has them, two of which contradict themselves, likewise."""
    if (RAW / "raw_spy_1d_yahoo.csv").exists():
        return RAW / "raw_spy_1d_yahoo.csv"
    bars = [
        f"{2000 + n // 336}-{n // 28 % 12 + 1:02}-{n % 28 + 1:02},147.100006,147.610001,"
        f"{147.5 if n in (1806, 1823) else 146.059998},147.550003,118.624741,{108126800 + n}"
        for n in range(2519)
    ]
    path = folder / "raw_spy_1d_yahoo.csv"
    path.write_text("\n".join([YAHOO, *bars]) + "\n")
    return path


def test_both_raw_files_are_sent_with_one_command_each_and_audited(own, candlefleet, tmp_path):
    bitcoin = candlefleet(
        "send", str(raw_json(tmp_path)), *BTC, "--wait", "--json", environment=own.environment
    )
    spy = candlefleet("send", str(raw_yahoo(tmp_path)), *SPY, "--wait", "--json", environment=own.environment)
    audit = candlefleet("audit", environment=own.environment)
    letters = candlefleet("dead-letters", "list", "--json", environment=own.environment)

    assert (bitcoin.code, spy.code, audit.code) == (0, 0, 0)
    assert bitcoin.json == {"accepted": 10_000, "refused": 0, "again": 0}
    assert spy.json == {"accepted": 2_517, "refused": 2, "again": 0}
    assert "milliseconds since 1970, by their size" in bitcoin.err
    assert "timestamp from Date" in spy.err
    assert "not used: Adj Close" in spy.err
    assert len(csv_rows(own.exports, "BTC%2FUSD_1m.csv")) == 10_000
    assert len(csv_rows(own.exports, "SPY_1d.csv")) == 2_517
    assert [letter["where"] for letter in letters.json] == [
        "raw_spy_1d_yahoo.csv:1825",
        "raw_spy_1d_yahoo.csv:1808",
    ]
    assert {reason["code"] for letter in letters.json for reason in letter["reasons"]} == {
        "ohlc.out_of_range"
    }


def test_a_repeat_adds_nothing_and_another_symbol_is_another_set_of_points(own, candlefleet, tmp_path):
    path = tmp_path / "repeat.csv"
    path.write_text(f"{YAHOO}\n2024-01-02,10,11,9,10.5,8,100\n")

    def send(*options: str) -> dict[str, int]:
        told: dict[str, int] = candlefleet(
            "send", str(path), *options, "--json", environment=own.environment
        ).json
        return told

    assert send(*SPY)["accepted"] == 1
    assert send(*SPY)["again"] == 1
    assert send("--symbol", "VOO", *SPY[2:])["accepted"] == 1
    assert send("--symbol", "VOO", *SPY[2:])["again"] == 1


def test_packed_files_and_pipes_are_sent(own, candlefleet, tmp_path):
    text = "\n".join([HEADER, row(1, "PACKED"), row(2, "PACKED")]) + "\n"
    packed, pipe = tmp_path / "bars.csv.gz", tmp_path / "pipe"
    packed.write_bytes(gzip.compress(text.encode()))
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text.replace("PACKED", "PIPE"),))
    writer.start()

    sent = candlefleet("send", str(packed), str(pipe), "--wait", "--json", environment=own.environment)
    writer.join()

    assert sent.json == {"accepted": 4, "refused": 0, "again": 0}
    assert len(csv_rows(own.exports, "PIPE_1m.csv")) == 2


def test_a_file_that_cannot_be_read_costs_no_other(own, candlefleet, tmp_path):
    first, cut, last = (tmp_path / name for name in ("first.csv", "cut.csv.gz", "last.csv"))
    for minute, path in enumerate((first, last)):
        path.write_text("\n".join([HEADER, row(minute, "OTHERS")]) + "\n")
    cut.write_bytes(gzip.compress("\n".join([HEADER, *(row(m, "CUT") for m in range(60))]).encode())[:-20])
    files = [str(path) for path in (first, tmp_path / "none.csv", cut, tmp_path, last)]

    sent = candlefleet("send", *files, "--wait", environment=own.environment)

    assert sent.code == 1
    assert "3 files not read to their end" in sent.out
    none, damaged, folder = sent.err.splitlines()
    assert none == f"candlefleet: {tmp_path}/none.csv: cannot be read: No such file or directory [path]"
    assert damaged.startswith("candlefleet: cut.csv.gz: is damaged: its gzip data cannot be unpacked further")
    assert (
        folder == f"candlefleet: {tmp_path}: is a folder: name the files in it, as in {tmp_path}/*.csv [path]"
    )
    assert len(csv_rows(own.exports, "OTHERS_1m.csv")) == 2
    assert 0 < len(csv_rows(own.exports, "CUT_1m.csv")) < 60


def test_a_file_that_changes_while_it_is_read_is_told_to_be_sent_again(own, tmp_path, monkeypatch):
    path = tmp_path / "growing.csv"
    path.write_text("\n".join([HEADER, row(1, "GROWS"), row(2, "GROWS")]) + "\n")

    def key_then_growth(of: Path) -> str:
        key = content_key(of)
        with path.open("a") as file:
            file.write(row(3, "GROWS")[:-4])
        return key

    monkeypatch.setattr("workers.cli.send.content_key", key_then_growth)
    failed: list[CandlefleetError] = []
    send_files([path], url=own.url, failed=failed.append)

    assert [str(error) for error in failed] == [
        "growing.csv: changed while it was read: send it again when it is complete [path]"
    ]


def test_a_mapping_file_says_what_options_say(own, candlefleet, tmp_path):
    (tmp_path / "mapping.yaml").write_text(
        "columns: {timestamp: when, volume: qty}\n"
        "constants: {symbol: MAPPED, timeframe: 1h, asset_class: equity, source: plain}\n"
        "tz: Europe/Berlin\nstamp: close\n"
    )
    path = tmp_path / "bars.csv"
    path.write_text("when,o,h,l,c,qty\n2024-07-01 12:00,10,11,9,10.5,7\n")
    mapping = ["--mapping", str(tmp_path / "mapping.yaml")]

    sent = candlefleet(
        "send", str(path), *mapping, "--symbol", "MAPPED2", "--wait", environment=own.environment
    )

    assert sent.code == 0
    (bar,) = csv_rows(own.exports, "MAPPED2_1h.csv")
    assert bar["timestamp"] == "2024-07-01T09:00:00+00:00"
    assert float(bar["volume"]) == 7


# -- dry runs need no fleet --------------------------------------------------------------------------


def test_a_dry_run_shows_the_verdict_on_every_row(away, candlefleet, tmp_path):
    said = candlefleet("send", str(raw_yahoo(tmp_path)), *SPY, "--dry-run", environment=away)

    assert said.code == 1
    assert "2,517 of 2,519 rows are good" in said.out
    assert "timestamp from Date, open from Open" in said.out
    assert "days, as midnight UTC; open of the bar" in said.out
    assert "1 series" in said.out
    assert "raw_spy_1d_yahoo.csv:1808: ohlc.out_of_range open: " in said.out
    assert "raw_spy_1d_yahoo.csv:1825: ohlc.out_of_range open: " in said.out


def test_a_dry_run_of_good_rows_ends_with_zero(away, candlefleet, tmp_path):
    said = candlefleet("send", str(raw_json(tmp_path)), *BTC, "--dry-run", environment=away)
    assert said.code == 0
    assert "10,000 of 10,000 rows are good" in said.out


def test_a_dry_run_gives_programs_every_refused_row(away, candlefleet, tmp_path):
    path = tmp_path / "bad.csv"
    bad = [row(minute, "BAD", close="oops") for minute in range(59)]
    path.write_text("\n".join([HEADER, row(59, "BAD"), *bad]) + "\n")

    people = candlefleet("send", str(path), "--dry-run", environment=away)
    program = candlefleet("send", str(path), "--dry-run", "--json", environment=away)

    assert "and 39 more: --json shows all" in people.out
    *rows, summary = map(json.loads, program.out.splitlines())
    assert [line["where"] for line in rows] == [f"bad.csv:{line}" for line in range(3, 62)]
    assert rows[0]["reasons"][0]["code"] == "number.format"
    assert (summary["good"], summary["refused"], summary["error"]) == (1, 59, None)
    assert summary["first"] == summary["last"] == "2024-01-01T00:59:00Z"
    assert people.code == program.code == 1


def test_a_dry_run_tells_of_gaps_order_and_repeats(away, candlefleet, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("\n".join([HEADER, *(row(minute, "ODD") for minute in (5, 1, 2, 2, 9))]) + "\n")
    said = candlefleet("send", str(path), "--dry-run", environment=away)
    assert said.code == 0
    assert "2024-01-01T00:01:00Z to 2024-01-01T00:09:00Z; 1 series, 2 gaps, 3 late, 1 repeated" in said.out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            [],
            "does not say symbol, asset_class, timeframe, source: give --symbol, --asset-class, --timeframe",
        ),
        (["--timeframe", "7m"], "timeframe: '7m' is not one of tick, "),
        (
            ["--tz", "Europe/Berln"],
            "tz: 'Europe/Berln' is not a known time zone (did you mean 'Europe/Berlin'?)",
        ),
        (["--unit", "minutes"], "unit: 'minutes' is not one of s, ms, us, ns"),
        (["--stamp", "clos"], "stamp: 'clos' is not one of open, close (did you mean 'close'?)"),
        (["--format", "xml"], "format: 'xml' is not one of csv, ndjson, json, parquet, arrow"),
        (["--map", "volme=Volume"], "columns.volme: is no field of a point (did you mean 'volume'?)"),
        (["--map", "volume=Volum", *SPY], "has no column 'Volum' (did you mean 'Volume'?)"),
        (["--map", "volume"], "--map: 'volume' is not FIELD=COLUMN, as in volume=qty"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_says_what_to_do(options, line, away, candlefleet, tmp_path):
    path = tmp_path / "yahoo.csv"
    path.write_text(f"{YAHOO}\n2024-01-02,10,11,9,10.5,8,100\n")
    said = candlefleet("send", str(path), *options, "--dry-run", environment=away)
    assert said.code in (1, 2)
    (told,) = said.err.splitlines()
    assert told.startswith("candlefleet: ")
    assert line in told
