"""Who a real gateway lets in, what it says to the others, and what it says in its log."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.acceptance.conftest import candlefleet  # noqa: F401
from tests.acceptance.fleet_fixture import clean_environment, until
from tests.servers.gateway import Client, Gateway, own_gateway, subscriber
from tests.servers.redis import Redis, own_redis

GOOD, BRIEF, EXPIRED = (f"{name}-token-of-a-test" for name in ("good", "brief", "expired"))


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """Give a Redis."""
    with own_redis() as its_own:
        yield its_own


@pytest.fixture(scope="module")
def gateway(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway that asks for tokens."""
    soon = datetime.now(UTC) + timedelta(seconds=10)
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"{GOOD}\n{BRIEF}@{soon.isoformat()}\n{EXPIRED}@2020-01-01T00:00Z\n")
    with own_gateway(
        redis.url,
        CANDLEFLEET_GATEWAY_TOKENS=f"file:{tokens}",
        CANDLEFLEET_GATEWAY_ORIGINS="https://charts.example",
        CANDLEFLEET_GATEWAY_SUBSCRIBERS="3",
    ) as its_own:
        yield its_own


def ended(client: Client) -> tuple[int, str, str]:
    """Return the code and reason of the close, and what the error before it said."""
    code, reason = client.closed()
    (error,) = [message for message in client.messages if message["type"] == "error"]
    assert error["code"] == reason
    return code, reason, error["message"]


@pytest.mark.parametrize("way", ["header", "message", "url"])
def test_a_token_lets_in_by_each_of_its_ways(gateway, way):
    headers = {"Authorization": f"Bearer {GOOD}"} if way == "header" else {}
    query = f"?token={GOOD}" if way == "url" else ""
    with subscriber(gateway, query, additional_headers=headers) as client:
        client.say({"subscribe": {}} | ({"token": GOOD} if way == "message" else {}))
        assert client.next("hello")["heartbeat"] == 15.0


@pytest.mark.parametrize(
    ("token", "code"), [(None, "token.missing"), ("x" * 20, "token.unknown"), (EXPIRED, "token.expired")]
)
def test_without_a_good_token_a_subscriber_is_told_so_and_closed(gateway, token, code):
    with subscriber(gateway) as client:
        client.say({"token": token})
        found = ended(client)
    assert found[:2] == (4401, code)
    assert "token" in found[2]


def test_a_token_that_ends_while_it_is_used_ends_the_subscription(gateway):
    with subscriber(gateway, f"?all&token={BRIEF}") as client:
        assert ended(client)[:2] == (4401, "token.expired")


@pytest.mark.parametrize("path", ["/points", "/routes"])
def test_http_without_a_good_token_is_unauthorized(gateway, path):
    method = "POST" if path == "/points" else "GET"
    for given, code in (("", "token.missing"), (f"Bearer {EXPIRED}", "token.expired")):
        answer = httpx.request(method, gateway.url + path, headers={"Authorization": given})
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = httpx.request(method, gateway.url + path, headers={"Authorization": f"Bearer {GOOD}"})
    assert answer.status_code in (200, 400)


def test_a_page_of_another_site_is_kept_out_and_a_listed_one_let_in(gateway):
    with pytest.raises(InvalidStatus) as found, subscriber(gateway, origin="https://other.example"):
        pass
    assert found.value.response.status_code == 403
    assert b"CANDLEFLEET_GATEWAY_ORIGINS" in found.value.response.body
    with subscriber(gateway, f"?all&token={GOOD}", origin="https://charts.example") as client:
        client.next("hello")


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({"subscribe": {"timeframes": ["1min"]}}, 4400, "filter.timeframes"),
        ("no json", 4400, "message.not_json"),
        (b"\x00", 1003, "message.binary"),
    ],
)
def test_what_cannot_be_served_is_told_and_closed(gateway, message, code, reason):
    with subscriber(gateway, f"?token={GOOD}") as client:
        client.say(message)
        assert ended(client)[:2] == (code, reason)


def test_a_message_that_is_too_large_closes(gateway):
    with subscriber(gateway, f"?token={GOOD}") as client:
        client.say("x" * 100_000)
        assert client.closed()[0] == 1009


def test_a_subscription_may_be_changed_and_a_wrong_change_is_told(gateway):
    with subscriber(gateway, f"?symbol=A&token={GOOD}") as client:
        client.next("hello")
        assert client.subscribe(symbols=["B"])["seq"] == 0
        client.say({"subscribe": {"symbol": ["C"]}})
        assert ended(client)[:2] == (4400, "message.field")


def test_more_subscribers_than_there_is_room_for_are_asked_to_come_later(gateway):
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(subscriber(gateway, f"?all&token={GOOD}")).next("hello")
        late = stack.enter_context(subscriber(gateway, f"?all&token={GOOD}"))
        assert ended(late)[:2] == (1013, "subscribers.too_many")
    until(lambda: httpx.get(f"{gateway.url}/health").json()["subscribers"] == 0, "all of them are gone")


def test_somebody_who_breaks_the_protocol_harms_nobody(gateway):
    with subscriber(gateway, f"?all&token={GOOD}") as client:
        client.next("hello")
        for nonsense in (b"\x16\x03\x01\x00\xa5", b"GET / HTTP/9\r\n\r\n", b"\xff" * 4096):
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
                connection.sendall(nonsense + b"\r\n\r\n")
                while connection.recv(4096):
                    pass
        client.socket.ping().wait(30)


def test_tokens_are_in_no_log(gateway):
    log = gateway.log()
    assert not [token for token in (GOOD, BRIEF, EXPIRED) if token in log]
    assert "Traceback" not in log


def test_a_gateway_that_is_stopped_tells_its_subscribers_to_come_back(redis):
    with own_gateway(redis.url) as its_own, subscriber(its_own, "?all") as client:
        client.next("hello")
        its_own.stop()
        assert client.closed()[0] == 1012


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])
def test_without_tokens_only_loopback_is_listened_at(candlefleet, redis, host):  # noqa: F811
    environment = clean_environment(CANDLEFLEET_BROKER_URL=redis.url)
    said = candlefleet("gateway", "--host", host, environment=environment)
    assert said.code == 2
    assert "[gateway.open]" in said.err


def test_a_token_that_cannot_be_read_stops_the_gateway_and_is_not_shown(candlefleet, redis):  # noqa: F811
    environment = clean_environment(CANDLEFLEET_BROKER_URL=redis.url, CANDLEFLEET_GATEWAY_TOKENS="shorty")
    said = candlefleet("gateway", environment=environment)
    assert said.code == 2
    assert "[token.syntax]" in said.err
    assert "shorty" not in said.err
