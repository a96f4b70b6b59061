"""What a user may write, and what a server's answers mean."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from influxdb_client import Point, WritePrecision

from destinations import InfluxDBDestination, load
from destinations.influxdb_errors import SHOWN, Answer, error_of, named_lines
from destinations.influxdb_lines import encode_line_protocol
from router import Route
from router.errors import ConfigError, TerminalError, TransientError, UnavailableError
from tests.make import make_batch, make_frame, make_point

URL, TOKEN = "http://influx.example:8086", "t0ken-s3cr3t=="
LINES = ["ohlcv,symbol=A close=1.0 1", "ohlcv,symbol=it's': close=1.0 2", "ohlcv,symbol=B close=1.0 3"]


def made(url: str = URL, token: str = TOKEN, org: str = "desk", bucket: str = "bars", **options):
    return InfluxDBDestination(url, token, org, bucket, **options)


def code_of(**changes) -> str:
    with pytest.raises(ConfigError) as refused:
        made(**changes)
    assert "s3cr3t" not in str(refused.value)
    return refused.value.code


def error_for(status: int, body: str = "", **headers: str):
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of("influx", Answer(status, body, shown), lambda text: text.replace(TOKEN, "***"))


def said(text: str) -> str:
    return json.dumps({"code": "invalid", "message": text})


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"url": ""}, "url.syntax"),
        ({"url": None}, "url.syntax"),
        ({"url": "influx.example:8086"}, "url.syntax"),
        ({"url": "http://"}, "url.syntax"),
        ({"url": "http://influx.example:port"}, "url.syntax"),
        ({"url": "http://influx.example:0"}, "url.syntax"),
        ({"url": "http://influx.example\n:8086"}, "url.syntax"),
        ({"url": "http://[::1"}, "url.syntax"),
        ({"url": "http://me:s3cr3t@influx.example"}, "url.syntax"),
        ({"url": "http://influx.example?token=s3cr3t"}, "url.syntax"),
        ({"url": "htps://influx.example"}, "url.scheme"),
        ({"token": ""}, "token.syntax"),
        ({"token": None}, "token.syntax"),
        ({"token": "s3cr3t\n"}, "token.syntax"),
        ({"token": "s3cr3t\r\nX-Evil: 1"}, "token.syntax"),
        ({"token": "s3cr3t…"}, "token.syntax"),
        ({"bucket": ""}, "range"),
        ({"bucket": "a\nb"}, "range"),
        ({"org": None}, "range"),
        ({"measurement": ""}, "range"),
        ({"measurement": "a,b"}, "range"),
        ({"measurement": "_internal"}, "range"),
        ({"measurement": "#x"}, "range"),
        ({"timeout": 0}, "range"),
        ({"timeout": float("nan")}, "range"),
        ({"tls": {"ssl_ca_cert": "ca.pem"}}, "tls.scheme"),
        ({"url": "https://influx.example", "tls": {"ca_cert": "ca.pem"}}, "tls.unknown"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(changes, code):
    assert code_of(**changes) == code


def test_a_file_of_certificates_that_is_not_there_is_refused_at_start():
    bars = made("HTTPS://influx.example", tls={"ssl_ca_cert": "nowhere.pem"})
    with pytest.raises(ConfigError, match=r"ssl_ca_cert: there is no file nowhere\.pem"):
        bars.check()
    made().check()


def test_a_scheme_that_is_misspelt_is_told_which_was_meant():
    with pytest.raises(ConfigError, match="https"):
        made("htps://influx.example")


def test_the_options_users_know_become_the_policy_of_a_route_that_has_none():
    bars = made(batch_size=100, flush_interval=2)
    route = Route(route_id="bars", condition="close > 0", destination=bars)
    assert (route.batch_size, route.batch_timeout) == (100, 2.0)
    own = Route(route_id="own", condition="close > 0", destination=bars, batch_size=7, batch_timeout=1)
    assert (own.batch_size, own.batch_timeout) == (7, 1.0)
    assert Route(route_id="all", condition="true", destination=made(batch_size=None)).batch_size is None


def test_the_place_is_told_and_the_token_never():
    assert load("influxdb") is InfluxDBDestination
    bars = made("https://influx.example/prefix/", measurement="bars.1m")
    assert bars.place() == "https://influx.example/prefix, bucket bars, measurement bars.1m"
    assert bars.target(make_point(symbol="A B")).endswith(
        "series bars.1m,asset_class=crypto,source=exchange-a,symbol=A\\ B,timeframe=1m"
    )
    assert TOKEN not in repr(bars) + str(bars) + bars.target(make_point())
    bars.close()


# -- the encoder beside the client's own ---------------------------------------------------------


def test_the_lines_say_what_the_clients_own_builder_says():
    batch = make_batch(50, ["BTC/USDT", "a,b=c d", "Ж🚀", '"q"'], technical_indicators={"r s,i": 1.5})
    lines = encode_line_protocol(batch.frame).decode().splitlines()
    for point, line in zip(batch, lines, strict=True):
        by_client = Point("ohlcv").time(point.timestamp, WritePrecision.US)
        for tag in ("symbol", "asset_class", "timeframe", "source"):
            by_client.tag(tag, str(getattr(point, tag)))
        for field in ("open", "high", "low", "close", "volume", "data_quality_score", "is_realtime"):
            by_client.field(field, getattr(point, field))
        by_client.field("ind_r s,i", 1.5)
        assert parts_of(line) == parts_of(by_client.to_line_protocol())


def parts_of(line: str) -> tuple[str, dict[str, float | bool], str]:
    """Return the series, the fields by name, and the time of a line."""
    hidden = line.replace("\\ ", "\0").replace("\\,", "\1")
    series, fields, time = hidden.split(" ")
    numbers = {}
    for field in fields.split(","):
        name, _, value = field.partition("=")
        numbers[name] = float(value) if value not in ("true", "false") else value == "true"
    return series, numbers, time


def test_the_rows_of_two_series_in_turn_have_their_own_tags():
    frame = make_frame(6, ["A", "B"])
    found = [line.split(",")[3] for line in encode_line_protocol(frame).decode().splitlines()]
    assert found == ["symbol=A", "symbol=B"] * 3


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint"),
    [
        (401, '{"error":"authorization failed"}', UnavailableError, "mend token"),
        (401, "", UnavailableError, "mend token"),
        (403, said("insufficient permissions for write"), UnavailableError, "let token write this bucket"),
        (404, '{"error":"database not found: \\"nope\\""}', UnavailableError, "create the bucket"),
        (404, said('bucket "nope" not found'), UnavailableError, "create the bucket"),
        (404, said('organization name "nope" not found'), UnavailableError, "mend bucket, org and url"),
        (404, "404 page not found", UnavailableError, "mend url"),
        (405, "<html>not allowed</html>", UnavailableError, "mend url"),
        (201, said("partial write: field type conflict: dropped=1"), TerminalError, "another measurement"),
        (200, "<html>welcome</html>", UnavailableError, "mend url"),
        (400, "<html>plain HTTP to an HTTPS port</html>", UnavailableError, "mend url"),
        (400, said("Please provide either orgID or org"), UnavailableError, "mend org"),
        (422, said('partial write: field type conflict: input field "ind_database is required" dropped=1'),
         TerminalError, "another measurement"),
        (400, '{"error":"database is required"}', UnavailableError, "mend org and bucket"),
        (408, "", TransientError, ""),
        (413, "", TerminalError, ""),
        (413, "<html>too large</html>", TerminalError, ""),
        (400, '{"error":"partial write: points beyond retention policy dropped=1"}', TerminalError, "longer"),
        (422, said("partial write: field type conflict: dropped=1"), TerminalError, "another measurement"),
        (400, '{"error":"partial write: max-series-per-database limit exceeded: (1) dropped=1"}',
         TerminalError, "raise the limit"),
        (429, "", UnavailableError, ""),
        (503, "", UnavailableError, ""),
        (502, "<html>bad gateway</html>", UnavailableError, "does not reach it"),
        (504, "", UnavailableError, "does not reach it"),
        (507, "", UnavailableError, "make room"),
        (500, '{"error":"timeout"}', TransientError, ""),
        (500, "<html>oops</html>", TransientError, ""),
        (500, '{"error":"engine: cache-max-memory-size exceeded: (1/1)"}', UnavailableError, "make room"),
        (500, '{"error":"write /data/wal: no space left on device"}', UnavailableError, "make room"),
        (599, "", TransientError, ""),
    ],
)  # fmt: skip
def test_an_answer_means_wait_or_try_again_or_never(status, body, kind, hint):
    error = error_for(status, body)
    assert type(error) is kind
    assert str(error).startswith(f"influx: answered {status}")
    assert hint in str(error)
    if kind is TerminalError:
        assert error.rows is None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2),
        ("0", 0),
        ("1.5", 1.5),
        ("banana", None),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("", None),
    ],
)
def test_a_server_that_is_busy_is_left_alone_as_long_as_it_asks(value, seconds):
    for status in (429, 503):
        error = error_for(status, "", retry_after=value)
        assert isinstance(error, UnavailableError)
        assert error.retry_after == seconds


def test_a_date_to_come_back_at_is_read_and_one_that_has_passed_means_now():
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < error_for(503, "", Retry_After=later).retry_after <= 3600
    assert error_for(503, "", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT").retry_after == 0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_named_without_its_secrets_and_not_followed(status):
    error = error_for(status, "", location=f"https://me:pw@other.example/write?token={TOKEN}#x")
    assert isinstance(error, UnavailableError)
    assert "points to https://other.example/write: redirects are not followed" in str(error)
    assert TOKEN not in str(error)
    assert "pw" not in str(error)
    assert "points to nowhere" in str(error_for(status))


def test_of_what_is_answered_a_little_is_shown_on_one_line_without_the_token():
    for body in (f"{'x' * (SHOWN - 20)} {TOKEN}\n{'y' * 5000}", said(f"{TOKEN}\nagain\t{'y' * 5000}")):
        error = str(error_for(500, body))
        assert "***" in error
        assert TOKEN[:5] not in error
        assert "\n" not in error
        assert len(error) < SHOWN + 50


# -- which lines ---------------------------------------------------------------------------------


def test_lines_that_are_quoted_are_found_whatever_is_in_them():
    text = "".join(f"unable to parse '{LINES[n]}': invalid field 'x': here\n" for n in (1, 2))
    assert named_lines(Answer(400, json.dumps({"error": f"partial write: {text}dropped=0"})), LINES) == [1, 2]
    assert named_lines(Answer(400, said(text)), LINES) == [1, 2]


def test_lines_that_are_numbered_are_found():
    one = {"error_message": "invalid column type", "line_number": 2, "original_line": "…"}
    body = {"error": "partial write of line protocol occurred", "data": [one, one | {"line_number": 3}]}
    answer = Answer(400, json.dumps(body))
    assert named_lines(answer, LINES) == [1, 2]
    assert answer.text == "partial write of line protocol occurred: invalid column type"
    assert named_lines(Answer(400, json.dumps({"error": "parsing failed", "data": one})), LINES) == [1]


def test_all_lines_are_found_where_all_were_dropped_and_none_where_some_were():
    text = "partial write: points beyond retention policy dropped={}"
    assert named_lines(Answer(400, json.dumps({"error": text.format(3)})), LINES) == [0, 1, 2]
    assert named_lines(Answer(422, said(text.format(3))), LINES) == [0, 1, 2]
    assert named_lines(Answer(400, json.dumps({"error": text.format(2)})), LINES) == []
    assert named_lines(Answer(400, said("field type conflict: ind_x dropped=3 is float")), LINES) == []


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "{}", '{"error": 5}', '{"error": "x", "data": 5}', '{"error": "x", "data": [5, null]}',
     '{"error": "x", "data": [{"line_number": 99}, {"line_number": 0}, {"line_number": "2"}]}',
     '{"error": "unable to parse \'something else\': x"}', "[" * 100_000],
)  # fmt: skip
def test_nonsense_names_no_line(body):
    assert named_lines(Answer(400, body), LINES) == []
    assert isinstance(error_for(400, body), (TerminalError, UnavailableError))
