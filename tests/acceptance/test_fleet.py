"""A fleet as a user runs it: points in, files out, and what becomes of everything that goes wrong between."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ulid import ULID

from destinations import CSVDestination
from router import ConfigError, DataRouter, NormalizedDataPoint, Route
from tests.acceptance.fleet_fixture import configured, files_under, frame_of_csv
from tests.make import make_point, make_values
from workers.producer import Producer

BARS = Path(__file__).parents[2] / "examples" / "data" / "equity_1d.csv"


def make_points(source: str, symbols: Sequence[str], **changes: Any) -> list[NormalizedDataPoint]:
    """Return one bar for each symbol given, one minute after another."""
    return [
        make_point(row=row, source=source, symbol=symbol, **changes) for row, symbol in enumerate(symbols)
    ]


# -- delivered -----------------------------------------------------------------------------------


def test_real_bars_arrive_in_csv_files_as_they_were_sent(crew):
    sent = pl.read_csv(BARS)

    found = crew.deliver(sent)

    written = frame_of_csv(crew.exports / "csv").filter(pl.col("source") == "quandl_wiki")
    assert written.select(sent.columns[1:]).equals(sent.select(pl.exclude("timestamp")), null_equal=True)
    assert written["timestamp"].str.to_datetime().equals(sent["timestamp"].str.to_datetime())
    assert sent.height == 6540
    assert {route.route_id: route.delivered for route in found.routes}["csv"] >= sent.height


def test_values_and_order_survive_the_journey_to_csv_and_json_lines(crew):
    closes = [0.1 + 0.2, 1e-7, 392.35000000000002, 4.35e15, 1e22, 123456789.12345679, 100.00000000000001]
    batches = [
        [
            make_point(
                row=-number * 100 - row,  # later batches hold earlier bars: the order is that of acceptance
                source="plain",
                symbol=("AAA", "BBB")[row % 2],
                **dict.fromkeys(("open", "high", "low", "close"), close),
                volume=None if row == 3 else row * 1.1,
            )
            for row, close in enumerate(closes)
        ]
        for number in range(6)
    ]
    for points in batches:
        crew.producer.send_batch(points)

    crew.settled()

    for symbol in ("AAA", "BBB"):
        sent = [point for points in batches for point in points if point.symbol == symbol]
        with (crew.exports / "csv" / f"{symbol}_1m.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["timestamp"] for row in rows] == [point.timestamp.isoformat() for point in sent]
        assert [float(row["close"]) for row in rows] == [point.close for point in sent]
        assert [row["volume"] for row in rows] == ["" if p.volume is None else repr(p.volume) for p in sent]
        lines = [row for row in crew.rows("jsonl") if row["symbol"] == symbol]
        assert [NormalizedDataPoint(**line) for line in lines] == [p for p in sent if p.close > 100]


def test_points_that_match_no_route_go_to_the_default_destination(crew):
    before = crew.report().unmatched

    found = crew.deliver(make_points("nobody", ["LONELY", "LONELY", "ALONE"]))

    assert found.unmatched == before + 3
    assert sorted(row["symbol"] for row in crew.rows("default") if row["source"] == "nobody") == [
        "ALONE",
        "LONELY",
        "LONELY",
    ]


def test_the_same_batch_twice_adds_nothing(crew):
    points, batch_id = make_points("plain", ["TWICE"] * 4), str(ULID())

    first = crew.producer.send_batch(points, batch_id=batch_id)
    accepted = crew.settled().accepted
    second = crew.producer.send_batch(points, batch_id=batch_id)

    assert (first.accepted, first.again) == (4, False)
    assert (second.accepted, second.again) == (0, True)
    assert crew.settled().accepted == accepted
    assert len([row for row in crew.rows("jsonl") if row["symbol"] == "TWICE"]) == 4


def test_points_sent_one_by_one_all_arrive(crew):
    points = [make_point(row=row, source="plain", symbol="ONE") for row in range(3000)]

    with Producer(crew.url) as producer:
        for point in points:
            producer.send(point)
        assert producer.flush() == 3000
    crew.settled()

    rows = [row for row in crew.rows("jsonl") if row["symbol"] == "ONE"]
    assert [NormalizedDataPoint(**row) for row in rows] == points


# -- refused at the door ---------------------------------------------------------------------------


def test_a_bad_point_becomes_a_dead_letter_with_every_reason_and_the_rest_goes_on(crew):
    good = [
        make_values(row, source="plain", symbol="GOOD", timestamp=make_point(row=row).timestamp)
        for row in range(2)
    ]
    bad = {**good[0], "close": "NaN", "volume": -1, "timeframe": "7m", "symbol": "A\0B"}

    receipt = crew.producer.send_batch([good[0], bad, good[1]])
    crew.settled()

    assert receipt.accepted == 2
    assert [refused.index for refused in receipt.refused] == [1]
    letter = crew.letters("")[-1]
    assert {(reason["code"], reason["field"]) for reason in letter["reasons"]} == {
        ("number.not_finite", "close"),
        ("number.negative", "volume"),
        ("timeframe", "timeframe"),
        ("symbol.control", "symbol"),
    }
    assert '"close": "NaN"' in letter["original"]
    assert len([row for row in crew.rows("jsonl") if row["symbol"] == "GOOD"]) == 2


def test_no_symbol_leaves_the_folder_or_takes_anothers_file(crew):
    allowed = [
        "BTC/USDT",
        "BTC%2FUSDT",
        "BTC_USDT",
        "/etc/passwd",
        "..x",
        "x..",
        ".hidden",
        "~root",
        "a b",
        "ü",
    ]
    refused = ["../x", "a/../../x", "..", "A\0B", "..\\x"]
    around = set(crew.folder.iterdir())

    receipt = crew.producer.send_batch(
        [make_values(source="plain", symbol=symbol) for symbol in allowed + refused]
    )
    crew.settled()

    assert receipt.accepted == len(allowed)
    assert len(receipt.refused) == len(refused)
    for name in ("csv", "jsonl"):
        folder = crew.exports / name
        assert all(path.parent == folder for path in files_under(folder))
    held = {
        path: {json.loads(line)["symbol"] for line in path.read_text().splitlines()}
        for path in files_under(crew.exports / "jsonl")
    }
    for symbol in allowed:
        holding = [path for path, symbols in held.items() if symbol in symbols]
        assert [held[path] for path in holding] == [{symbol}]
    assert set(crew.folder.iterdir()) == around


# -- conditions and transforms ---------------------------------------------------------------------


def test_a_condition_that_raises_costs_only_its_own_route_those_rows(crew):
    volumes = [2.0, None, 3.0, None, 4.0]
    points = [make_point(row=row, source="picky", symbol="P", volume=v) for row, v in enumerate(volumes)]

    crew.deliver(points)

    picky, beside = crew.route("picky"), crew.route("beside_picky")
    assert (picky.matched, picky.delivered, picky.failed, picky.dead) == (2, 2, 2, 0)
    assert (beside.matched, beside.delivered, beside.failed) == (5, 5, 0)
    assert [row["volume"] for row in crew.rows("picky")] == [2.0, 4.0]
    assert [row["volume"] for row in crew.rows("beside_picky")] == volumes
    letters = crew.letters("picky")
    assert [letter["reasons"][0]["code"] for letter in letters] == ["condition.error"] * 2
    assert [NormalizedDataPoint(**letter["original"]) for letter in letters] == [points[1], points[3]]


def test_a_transform_changes_drops_and_fails_row_by_row(crew):
    volumes = [8.0, None, 0.0, 5.0, None]
    points = [make_point(row=row, source="reshaped", symbol="R", volume=v) for row, v in enumerate(volumes)]

    crew.deliver(points)

    route = crew.route("reshaped")
    assert (route.matched, route.delivered, route.dropped, route.dead) == (5, 2, 2, 1)
    assert [NormalizedDataPoint(**row) for row in crew.rows("reshaped")] == [
        points[0].revised(volume=1.0),
        points[3].revised(volume=1.0),
    ]
    (letter,) = crew.letters("reshaped")
    assert NormalizedDataPoint(**letter["original"]) == points[2]
    assert "ZeroDivisionError" in letter["reasons"][0]["message"]


# -- destinations that fail ------------------------------------------------------------------------


def test_a_destination_that_fails_twice_gets_everything_the_third_time(crew):
    crew.deliver(make_points("flaky", ["A", "B", "C"]))

    assert [row["symbol"] for row in crew.rows("flaky")] == ["A", "B", "C"]
    assert crew.attempts("flaky") == [["A", "B", "C"]] * 3
    assert crew.letters("flaky") == []


def test_a_destination_that_always_fails_gives_dead_letters_after_the_last_retry(crew):
    points = make_points("hopeless", ["A", "B"])

    crew.deliver(points)

    route = crew.route("hopeless")
    assert (route.matched, route.delivered, route.dead) == (2, 0, 2)
    assert len(crew.attempts("hopeless")) == 3
    letters = crew.letters("hopeless")
    assert [NormalizedDataPoint(**letter["original"]) for letter in letters] == points
    for letter in letters:
        assert letter["attempts"] == 3
        assert letter["reasons"] == [
            {
                "code": "retries.exhausted",
                "field": "",
                "message": "TransientError: connection reset in attempt 3",
            }
        ]
        assert letter["first"] < letter["last"]


def test_a_route_without_retries_gives_up_at_the_first_failure(crew):
    crew.deliver(make_points("once", ["A"]))

    assert len(crew.attempts("once")) == 1
    assert [letter["attempts"] for letter in crew.letters("once")] == [1]


def test_a_destination_that_is_away_costs_no_attempt(crew):
    crew.deliver(make_points("away", ["A", "B"]))

    assert len(crew.attempts("away")) == 6
    assert crew.route("away").delivered == 2
    assert crew.letters("away") == []


def test_rows_that_a_destination_refuses_by_name_are_buried_alone(crew):
    points = make_points("choosy", ["A", "BAD", "B", "BAD", "C"])

    crew.deliver(points)

    assert sorted(row["symbol"] for row in crew.rows("choosy")) == ["A", "B", "C"]
    letters = crew.letters("choosy")
    assert [NormalizedDataPoint(**letter["original"]) for letter in letters] == [points[1], points[3]]
    assert {letter["reasons"][0]["code"] for letter in letters} == {"destination.refused"}
    assert len(crew.attempts("choosy")) == 1


def test_a_batch_refused_without_saying_why_is_halved_down_to_the_row_at_fault(crew):
    points = make_points("sealed", ["A", "B", "C", "D", "E", "BAD", "G", "H"])

    crew.deliver(points)

    assert sorted(row["symbol"] for row in crew.rows("sealed")) == ["A", "B", "C", "D", "E", "G", "H"]
    (letter,) = crew.letters("sealed")
    assert NormalizedDataPoint(**letter["original"]) == points[5]
    assert letter["reasons"][0]["message"] == "TerminalError: 400 Bad Request"
    assert ["BAD"] in crew.attempts("sealed")


@pytest.mark.slow
def test_a_row_that_kills_its_worker_becomes_one_dead_letter(crew):
    points = make_points("deadly", ["A", "BAD"])

    crew.deliver(points)

    assert [row["symbol"] for row in crew.rows("deadly")] == ["A"]
    (letter,) = crew.letters("deadly")
    assert NormalizedDataPoint(**letter["original"]) == points[1]
    assert letter["reasons"][0]["code"] == "poison"


# -- DataRouter ------------------------------------------------------------------------------------


@pytest.fixture
def at_the_fleet(crew):
    with configured(crew.environment):
        yield crew


def plain_route(route_id: str, folder: Path) -> Route:
    return Route(route_id=route_id, condition="source = 'plain'", destination=CSVDestination(folder))


def test_data_router_delivers_by_the_fleet(at_the_fleet, tmp_path):
    router = DataRouter([plain_route("csv", tmp_path / "unused")])

    result = router.route(make_points("plain", ["ROUTED"] * 3), context={"desk": "rates"})

    at_the_fleet.settled()
    assert result == {"routed": 3, "routes_matched": {"csv": 3}, "errors": [], "skipped": 0}
    with (at_the_fleet.exports / "csv" / "ROUTED_1m.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
    assert not (tmp_path / "unused").exists()


def test_data_router_says_which_route_no_worker_knows(at_the_fleet, tmp_path):
    before = at_the_fleet.report().accepted
    router = DataRouter([plain_route("cvs", tmp_path)])

    with pytest.raises(ConfigError, match=r"cvs: no worker of the fleet serves this route.*'csv'"):
        router.route(make_points("plain", ["LOST"]))

    assert at_the_fleet.report().accepted == before


def test_data_router_without_parallel_delivers_in_the_caller(at_the_fleet, tmp_path):
    before = at_the_fleet.report().accepted
    router = DataRouter([plain_route("mine", tmp_path)], enable_parallel=False)

    result = router.route(make_points("plain", ["HERE"] * 2))
    router.close()

    assert result["routes_matched"] == {"mine": 2}
    assert len(frame_of_csv(tmp_path)) == 2
    assert at_the_fleet.report().accepted == before


def test_many_producers_at_once_lose_and_double_nothing(crew):
    def send(number: int) -> None:
        with Producer(crew.url) as producer:
            for batch in range(5):
                rows = range(batch * 200, batch * 200 + 200)
                producer.send_batch(
                    [make_point(row=row, source="plain", symbol=f"PRODUCER{number}") for row in rows]
                )

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    crew.settled()

    for number in range(4):
        rows = [row for row in crew.rows("jsonl") if row["symbol"] == f"PRODUCER{number}"]
        assert [NormalizedDataPoint(**row) for row in rows] == [
            make_point(row=row, source="plain", symbol=f"PRODUCER{number}") for row in range(1000)
        ]
