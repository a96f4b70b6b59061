"""What a real InfluxDB keeps of points, what it may answer, and what becomes of the points meanwhile."""

from __future__ import annotations

import os
import socket
import struct
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ulid import ULID

import destinations.influxdb
from destinations import InfluxDBDestination
from destinations.influxdb_errors import named_lines
from destinations.influxdb_lines import encode_line_protocol
from router.admission import admit
from router.batch import PointBatch
from router.errors import DestinationError, TerminalError, TransientError, UnavailableError
from tests.acceptance.fleet_fixture import until
from tests.contract.reading import moment_of
from tests.faults.proxy import MOMENTS, Proxy
from tests.integration.writing import Writing
from tests.make import make_batch, make_point, make_values
from tests.servers.influx import BUCKET, PASSWORD, Access, Influx, own_influx

NUMBERS = ("open", "high", "low", "close", "volume", "data_quality_score")


class Measurement:
    """A measurement that no other test knows."""

    def __init__(self, access: Access, made: ExitStack) -> None:
        self.access = access
        self.name = f"bars_{ULID()}"
        self._made = made

    def destination(self, access: Access | None = None, **options) -> InfluxDBDestination:
        """Return a destination for the measurement; it is closed after the test."""
        made = InfluxDBDestination(*(access or self.access), measurement=self.name, **options)
        return self._made.enter_context(closing(made))

    def rows(self) -> list[dict]:
        """Return every row, by time."""
        return self.access.query(f'SELECT * FROM "{self.name}"')

    def closes(self) -> list[float]:
        """Return the closing price of every row, by time."""
        return [row["close"] for row in self.rows()]

    def raised(self, access: Access, **options) -> DestinationError:
        """Return what opening raises."""
        with pytest.raises(DestinationError) as found:
            self.destination(access, **options).open()
        return found.value


@pytest.fixture
def shared(influx_access: Access) -> Iterator[Measurement]:
    """Give a measurement of the server that all tests share."""
    with ExitStack() as made:
        yield Measurement(influx_access, made)


@pytest.fixture(scope="module")
def server() -> Iterator[Influx]:
    """Give an InfluxDB that may be killed, and that asks who one is."""
    with own_influx(locked=True) as its_own:
        yield its_own


@pytest.fixture
def own(server: Influx) -> Iterator[Measurement]:
    """Give a measurement of the server that may be killed."""
    with ExitStack() as made:
        yield Measurement(server.access, made)


# -- what it keeps -------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
names = st.one_of(texts, st.sampled_from(["a,b=c d", '"q"', "it's", "#1", "é🚀", "a b", "=", ","]))
numbers = st.floats(allow_nan=False, allow_infinity=False)
prices = st.floats(min_value=5e-324, allow_infinity=False)


@st.composite
def bars(draw) -> dict:
    low, open_, close, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    return make_values(
        row=draw(st.integers(0, 10**6)),
        **{"open": open_, "high": high, "low": low, "close": close},
        symbol=draw(names),
        source=draw(names),
        volume=draw(st.none() | st.floats(min_value=0, allow_infinity=False)),
        data_quality_score=draw(st.floats(0, 1)),
        is_realtime=draw(st.booleans()),
        technical_indicators=draw(st.none() | st.dictionaries(names, numbers, max_size=3)),
    )


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


@settings(max_examples=40, deadline=None)
@given(found=st.lists(bars(), min_size=1, max_size=20), compressed=st.booleans())
def test_what_is_read_back_is_what_was_written_to_the_last_bit(influx_access, found, compressed):
    batch = admit(found).batch
    with ExitStack() as made:
        shared = Measurement(influx_access, made)
        shared.destination(gzip=compressed).write_batch(batch)
        rows = {(row["source"], row["symbol"], moment_of(row["time"])): row for row in shared.rows()}
    points = {(point.source, point.symbol, point.timestamp): point for point in batch}
    assert rows.keys() == points.keys()
    for key, point in points.items():
        expected = {name: getattr(point, name) for name in NUMBERS}
        expected |= {f"ind_{name}": value for name, value in (point.technical_indicators or {}).items()}
        kept = {name: value for name, value in rows[key].items() if isinstance(value, float)}
        del kept["time"]
        assert {name: bits(number) for name, number in kept.items()} == {
            name: bits(number) for name, number in expected.items() if number is not None
        }
        assert rows[key]["is_realtime"] is point.is_realtime
        assert (rows[key]["asset_class"], rows[key]["timeframe"]) == ("crypto", "1m")


def test_a_revision_takes_the_place_of_what_was_there(shared):
    destination = shared.destination()
    destination.write_batch(make_batch(3))
    destination.write_batch(make_batch(3, close=42_000.75))
    assert shared.closes() == [42_000.75] * 3


def test_of_one_point_twice_in_a_part_the_highest_acceptance_number_is_kept(shared):
    def accepted(number: int, close: float) -> PointBatch:
        batch = make_batch(1, close=close)
        return PointBatch(batch.table, [replace(batch.parts[0], number=number)], "everything")

    newest_first = PointBatch.concat([accepted(2, 42_000.75), accepted(1, 42_000.25)])
    shared.destination().write_batch(newest_first)
    assert shared.closes() == [42_000.75]


def test_a_volume_that_is_taken_back_stays_because_fields_are_merged(shared):
    destination = shared.destination()
    destination.write_batch(make_batch(1, volume=7.0))
    destination.write_batch(make_batch(1, volume=None, close=42_000.75))
    (row,) = shared.rows()
    assert (row["volume"], row["close"]) == (7.0, 42_000.75)


def test_two_destinations_may_write_one_measurement(shared):
    shared.destination().write_batch(make_batch(5, ["A"]))
    shared.destination().write_batch(make_batch(5, ["B"]))
    assert len(shared.rows()) == 10


def test_a_large_part_is_written_whole(shared):
    shared.destination().write_batch(make_batch(20_000, [f"S{number}" for number in range(50)]))
    (counted,) = shared.access.query(f'SELECT COUNT(close) FROM "{shared.name}"')
    assert counted["count"] == 20_000


# -- who is not let in ---------------------------------------------------------------------------


def test_a_wrong_token_waits_and_is_shown_nowhere(own, server):
    for token in (f"candles:{PASSWORD}-wrong", f"nobody:{PASSWORD}", PASSWORD):
        error = own.raised(server.access._replace(token=token))
        assert isinstance(error, UnavailableError)
        assert "answered 401" in str(error)
        assert "mend token" in str(error)
        assert PASSWORD not in "".join(traceback.format_exception(error)) + repr(error)


def test_a_user_who_may_not_write_waits_until_he_may(own, server):
    access = server.access
    access.query("CREATE USER reader WITH PASSWORD 'reader'")
    destination = own.destination(access._replace(token="reader:reader"))
    batch = make_batch(3)
    with pytest.raises(UnavailableError, match=r"answered 403.*let token write this bucket"):
        destination.write_batch(batch)
    access.query(f"GRANT ALL ON {BUCKET} TO reader")
    destination.write_batch(batch)
    assert len(own.rows()) == 3


def test_a_bucket_that_is_not_there_is_waited_for(own, server):
    elsewhere = server.access._replace(bucket=f"later{ULID()}")
    error = own.raised(elsewhere)
    assert isinstance(error, UnavailableError)
    assert "create the bucket" in str(error)
    destination = own.destination(elsewhere)
    server.access.query(f'CREATE DATABASE "{elsewhere.bucket}"')
    destination.open()
    destination.write_batch(make_batch(3))
    assert len(elsewhere.query(f'SELECT * FROM "{own.name}"')) == 3


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "start the server, or mend host and port"),
        ("http://.example:8086", "start the server, or mend host and port"),
        ("http://nowhere.invalid:8086", "start the server, or mend host and port"),
        ("https://127.0.0.1:{front}", "mend its certificate"),
        ("http://127.0.0.1:{front}/prefix", "mend url"),
    ],
)
def test_where_no_influxdb_is_points_wait_and_the_message_says_what_to_do(own, server, url, says):
    error = own.raised(server.access._replace(url=url.format(front=server.front)))
    assert isinstance(error, UnavailableError)
    assert says in str(error)


def test_a_server_that_accepts_and_says_nothing_is_not_there(own, server):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = own.raised(server.access_by(silent.getsockname()[1]), timeout=1)
    assert isinstance(error, UnavailableError)
    assert "no answer in time" in str(error)


# -- what it refuses -----------------------------------------------------------------------------


def test_lines_that_it_cannot_read_are_told_from_the_others(own):
    good, odd, bad = "ohlcv,symbol=a close=1.0 1", "ohlcv,symbol=b': close=x 2", "ohlcv,symbol= close=1.0 3"
    answer = own.destination()._sent(f"{good}\n{odd}\n{bad}\n".encode())
    assert answer is not None
    assert named_lines(answer, [good, odd, bad]) == [1, 2]


def test_points_whose_lines_it_cannot_read_are_refused_and_all_others_written(own, monkeypatch):
    def encode(frame, measurement):
        return encode_line_protocol(frame, measurement).replace(b"symbol=BAD", b"symbol=")

    monkeypatch.setattr(destinations.influxdb, "encode_line_protocol", encode)
    batch = make_batch(20, ["GOOD", "BAD", "FINE"])
    with pytest.raises(TerminalError, match="unable to parse a line: missing tag value") as refused:
        own.destination().write_batch(batch)
    assert refused.value.rows == tuple(row for row in range(20) if row % 3 == 1)
    assert {row["symbol"] for row in own.rows()} == {"GOOD", "FINE"}
    assert len(own.rows()) == 13
    with pytest.raises(TerminalError) as refused:
        own.destination().write_batch(make_batch(2, ["BAD"]))
    assert refused.value.rows == (0, 1)


def test_a_field_of_another_type_is_refused_and_the_message_says_what_helps(own):
    access = own.access
    destination = own.destination()
    access.insert(f"{own.name} close=1i 1704067200000000")
    batch = PointBatch.of([make_point(), make_point(timestamp="2020-01-01T00:00:00Z")])
    with pytest.raises(TerminalError, match=r"field type conflict.*name another measurement") as refused:
        destination.write_batch(batch)
    assert refused.value.rows is None
    destination.write_batch(batch.slice(1, 2))
    assert len(access.query(f'SELECT open FROM "{own.name}"')) == 1
    with pytest.raises(TerminalError) as refused:
        destination.write_batch(batch.slice(0, 1))
    assert refused.value.rows == (0,)


def test_points_older_than_the_bucket_keeps_them_are_refused(own):
    own.access.query(f'CREATE RETENTION POLICY "short" ON {BUCKET} DURATION 1d REPLICATION 1')
    destination = own.destination(own.access._replace(bucket=f"{BUCKET}/short"))
    with pytest.raises(TerminalError, match=r"beyond retention.*keep points for longer") as refused:
        destination.write_batch(make_batch(3))
    assert refused.value.rows == (0, 1, 2)


def test_a_write_that_is_too_large_is_refused_whole_and_its_halves_are_written(own):
    batch = make_batch(16_000, [f"S{number}" for number in range(8)])
    destination = own.destination(gzip=False)
    with pytest.raises(TerminalError, match="answered 413") as refused:
        destination.write_batch(batch)
    assert refused.value.rows is None
    for start in (0, 8_000):
        destination.write_batch(batch.slice(start, start + 8_000))
    assert len(own.rows()) == 16_000


# -- it goes, and comes back ---------------------------------------------------------------------


def test_a_server_killed_in_mid_write_and_started_again_has_every_row_once(own, server):
    destination = own.destination()
    destination.write_batch(make_batch(10, ["BEFORE"]))
    batch = make_batch(3000, ["A", "B"])
    server.freeze()
    writing = Writing(lambda: destination.write_batch(batch))
    until(lambda: server.is_asked, "the server is in mid-write")
    server.kill()
    assert isinstance(writing.ended(), TransientError)
    with pytest.raises(UnavailableError, match="start the server"):
        destination.write_batch(batch)
    server.start()
    for _ in range(2):
        destination.write_batch(batch)
    assert len(own.rows()) == 3010


def test_what_was_answered_survives_a_kill(own, server):
    destination = own.destination()
    destination.write_batch(make_batch(500))
    server.kill()
    server.start()
    assert len(own.rows()) == 500
    destination.write_batch(make_batch(5, ["OTHER"]))
    assert len(own.rows()) == 505


def test_a_server_that_stands_still_is_given_up_after_the_time_limit(own, server):
    destination = own.destination(timeout=1)
    destination.open()
    batch = make_batch(50)
    server.freeze()
    try:
        with pytest.raises(TransientError, match="no answer in time"):
            destination.write_batch(batch)
    finally:
        server.thaw()
    destination.write_batch(batch)
    assert len(own.rows()) == 50


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_write_whose_answer_is_lost_is_written_once(own, server, moment):
    proxy = Proxy(server.front)
    try:
        destination = own.destination(server.access_by(proxy.port))
        destination.write_batch(make_batch(5, ["BEFORE"]))
        batch = make_batch(500, ["A", "B"])
        cut = proxy.arm(b"POST /api/v2/write", moment)
        with pytest.raises(TransientError):
            destination.write_batch(batch)
        assert cut.done.is_set()
        for _ in range(2):
            destination.write_batch(batch)
        assert len(own.rows()) == 505
        destination.close()
    finally:
        proxy.close()


def test_a_child_has_a_connection_of_its_own(own):
    destination = own.destination()
    destination.write_batch(make_batch(3, ["PARENT"]))
    destination._pid = os.getppid()  # as a child of ours would find it
    inherited = destination._client
    destination.write_batch(make_batch(3, ["CHILD"]))
    assert destination._client is not inherited
    assert len(own.rows()) == 6


# -- what stands before it -----------------------------------------------------------------------


class Gateway(BaseHTTPRequestHandler):
    """Stands before a server, and answers every request itself."""

    status: ClassVar[int]
    answer: ClassVar[dict[str, str]]
    asked: ClassVar[list[str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(self.path)
        self.send_response(self.status)
        for name, value in self.answer.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def gateway(status: int, **answer: str) -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a gateway, and the paths that it was asked for."""
    shown = {name.replace("_", "-"): value for name, value in answer.items()}
    kind = type("Gateway", (Gateway,), {"status": status, "answer": shown, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}", kind.asked
        server.shutdown()
        serving.join()


def raised_by(url: str, **options) -> DestinationError:
    with closing(InfluxDBDestination(url, "t0ken-s3cr3t", "desk", "bars", **options)) as destination:
        with pytest.raises(DestinationError) as found:
            destination.write_batch(make_batch(1))
        return found.value


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_nobody_else_sees_the_token(status):
    with gateway(204) as (other, asked), gateway(status, Location=f"{other}/api/v2/write") as (url, _):
        error = raised_by(url)
    assert isinstance(error, UnavailableError)
    assert f"points to {other}/api/v2/write" in str(error)
    assert asked == []


def test_a_gateway_that_says_when_to_come_back_is_heard():
    with gateway(429, Retry_After="7") as (url, asked):
        error = raised_by(url)
    assert isinstance(error, UnavailableError)
    assert error.retry_after == 7
    assert asked == ["/api/v2/write?org=desk&bucket=bars&precision=us"]


def test_a_server_that_says_nothing_or_speaks_something_else_is_told():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = raised_by(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1)
    assert isinstance(error, TransientError)
    with socket.create_server(("127.0.0.1", 0)) as other:
        writing = Writing(lambda: answer_once(other, b"SSH-2.0-OpenSSH_9.2\r\n"))
        error = raised_by(f"http://127.0.0.1:{other.getsockname()[1]}")
        assert writing.ended() is None
    assert isinstance(error, UnavailableError)
    assert "mend url" in str(error)
    assert "t0ken-s3cr3t" not in "".join(traceback.format_exception(error))


def answer_once(server: socket.socket, words: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(words)
