"""What `POST /points` of a real gateway answers, and what is in the fleet after it."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.make import make_point
from tests.servers.gateway import Gateway, own_gateway
from tests.servers.redis import Redis, own_redis
from workers.report import report
from workers.store import Store


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """Give a Redis that may be killed."""
    with own_redis() as its_own:
        yield its_own


@pytest.fixture(scope="module")
def gateway(redis: Redis) -> Iterator[Gateway]:
    """Give a gateway of a fleet without workers, which may hold a megabyte."""
    with own_gateway(redis.url, CANDLEFLEET_MEMORY=str(1 << 20)) as its_own:
        yield its_own


@pytest.fixture
def fleet(redis: Redis) -> Iterator[Store]:
    """Give the store of a fleet that has not accepted anything yet."""
    store = Store.connect(redis.url)
    with closing(store.redis):
        store.redis.flushall()
        yield store


def bars(count: int = 2, **changes) -> list[dict]:
    return [make_point(row=row, **changes).to_json_dict() for row in range(count)]


def post(gateway: Gateway, body, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    return httpx.post(f"{gateway.url}/points", content=content, headers=given, timeout=30)


def test_points_are_accepted_and_safe(gateway, fleet):
    answer = post(gateway, bars(3))
    found = answer.json()
    assert (answer.status_code, found["accepted"], found["refused"], found["again"]) == (202, 3, [], False)
    (waiting,) = fleet.take(10, 1.0)
    assert (waiting.batch_id, waiting.points, waiting.number) == (found["batch_id"], 3, found["number"])


def test_refused_points_are_told_with_every_reason_and_kept_while_others_go_on(gateway, fleet):
    answer = post(gateway, [*bars(1), {**bars(1)[0], "close": "4_2", "volume": -1}, *bars(1)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    (refused,) = answer.json()["refused"]
    assert refused["row"] == 1
    assert [(reason["code"], reason["field"]) for reason in refused["reasons"]] == [
        ("number.format", "close"),
        ("number.negative", "volume"),
    ]
    (letter,) = fleet.letters()
    assert (letter["where"], json.loads(letter["original"])["close"]) == ("http points:1", "4_2")


def test_a_body_of_refused_points_only_is_unprocessable(gateway, fleet):
    answer = post(gateway, [{"symbol": "A"}, {}])
    assert (answer.status_code, answer.json()["code"], answer.json()["accepted"]) == (
        422,
        "points.refused",
        0,
    )
    assert [one["row"] for one in answer.json()["refused"]] == [0, 1]
    assert report(fleet).invalid == 2


def test_the_same_key_again_adds_nothing_and_is_answered_alike(gateway, fleet):
    body = [*bars(2), {"symbol": "A"}]
    first, again = (post(gateway, body, Idempotency_Key='"order-7"') for _ in range(2))
    assert (first.json()["again"], again.json()["again"]) == (False, True)
    assert again.json() == first.json() | {"again": True}
    assert first.json()["batch_id"] == "order-7"
    assert report(fleet).accepted == 3


def test_lines_are_points_and_a_bad_line_is_refused_alone(gateway, fleet):
    lines = [json.dumps(bar) for bar in bars(2)]
    body = "\n".join(["\ufeff" + lines[0], "", "{not json", lines[1], "[1]"]).encode()
    answer = post(gateway, body, Content_Type="application/x-ndjson; charset=utf-8")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert [(one["row"], one["reasons"][0]["code"]) for one in answer.json()["refused"]] == [
        (1, "envelope.not_json"),
        (3, "envelope.shape"),
    ]


def test_a_packed_body_is_unpacked(gateway, fleet):
    data = json.dumps(bars(2)).encode()
    packed = gzip.compress(data[:100]) + gzip.compress(data[100:])
    assert post(gateway, packed, Content_Encoding="gzip").json()["accepted"] == 2


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"not json at all", {}, 400, "envelope.not_json"),
        (b"", {}, 400, "envelope.empty"),
        (b" \n\n ", {"Content_Type": "application/jsonl"}, 400, "envelope.empty"),
        (b"[1,2,3]", {}, 400, "envelope.shape"),
        (b"\xff\xfe\x80", {}, 400, "envelope.encoding"),
        (b'[{"close":1,"close":2}]', {}, 400, "envelope.duplicate_key"),
        (b"[" * 100_000, {}, 400, "envelope.depth"),
        (b"[" + b"{}," * 100_000 + b"{}]", {}, 413, "batch.too_many"),
        (b'[{"symbol":"' + b"x" * 300_000 + b'"}]', {}, 413, "envelope.size"),
        (gzip.compress(b" " * (65 << 20)), {"Content_Encoding": "gzip"}, 413, "envelope.size"),
        (gzip.compress(b"[]")[:-5], {"Content_Encoding": "gzip"}, 400, "envelope.compression"),
        (b"[]", {"Content_Encoding": "gzip"}, 400, "envelope.compression"),
        (b"[]", {"Content_Encoding": "br"}, 415, "envelope.compression"),
        (b"[]", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "envelope.type"),
        (b"[]", {"Idempotency_Key": "two words"}, 400, "idempotency.key"),
        (b"[]", {"Idempotency_Key": "x" * 129}, 400, "idempotency.key"),
        (b"[]", {"Origin": "https://evil.example"}, 403, "origin.unknown"),
        (b"[]", {"Host": "rebound.example"}, 403, "host.unknown"),
    ],
)
def test_what_cannot_be_read_is_answered_with_what_to_send(gateway, fleet, body, headers, status, code):
    answer = post(gateway, body, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]
    assert report(fleet).accepted == 0


def test_a_body_that_says_it_is_too_large_is_not_read(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        head = f"POST /points HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_fleet_that_is_full_is_busy_and_says_when_to_come_again(gateway, fleet):
    body = json.dumps(bars(2000))
    answers = (post(gateway, body.encode()) for _ in range(200))
    busy = next(answer for answer in answers if answer.status_code != 202)
    assert busy.status_code == 429
    assert (busy.json()["code"], busy.headers["Retry-After"]) == ("fleet.busy", "1")
    assert "bytes are held" in busy.json()["message"]


def test_a_redis_that_is_away_is_said_and_taken_up_again(gateway, redis, fleet):
    redis.kill()
    try:
        answer = post(gateway, bars())
        assert (answer.status_code, answer.json()["code"]) == (503, "fleet.unreachable")
        assert httpx.get(f"{gateway.url}/routes", timeout=30).status_code == 503
    finally:
        redis.start()
    assert post(gateway, bars()).status_code == 202


def test_what_the_fleet_owes_is_told_route_by_route(gateway, fleet):
    post(gateway, bars(4))
    answer = httpx.get(f"{gateway.url}/routes")
    assert (answer.status_code, answer.json()["routes"], answer.json()["holds"]) == (200, [], True)


def test_a_path_or_a_method_that_is_not_there_is_told_what_is(gateway):
    for answer in (httpx.get(f"{gateway.url}/point"), httpx.get(f"{gateway.url}/points")):
        assert answer.status_code in (404, 405)
        assert "POST /points" in answer.json()["message"]
