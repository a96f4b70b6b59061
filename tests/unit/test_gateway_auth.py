"""Who may use the gateway, and what is told to those who may not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from router.errors import ConfigError
from workers.gateway.auth import Tokens, bearer, host_of, is_loopback, is_own_page
from workers.gateway.protocol import RefusalError

OLD, NEW = "old-token-of-24-letters.", "new+token/of~24_letters="


def code_of(tokens: Tokens, given: str | None) -> str:
    with pytest.raises(RefusalError) as found:
        tokens.check(given)
    assert found.value.close == 4401
    return found.value.code


def test_without_tokens_nobody_is_asked_for_one():
    assert not Tokens()
    assert Tokens().check(None) is None


def test_several_tokens_are_good_while_they_are_changed(tmp_path):
    (tmp_path / "tokens").write_text(f"{OLD}@2999-12-31T00:00Z\n{NEW}\n")
    for tokens in (Tokens(f"{OLD}@2999-12-31T00:00Z, {NEW}"), Tokens(f"file:{tmp_path / 'tokens'}")):
        assert tokens.check(OLD) == datetime(2999, 12, 31, tzinfo=UTC)
        assert tokens.check(NEW) is None
        assert [code_of(tokens, given) for given in (None, "", "é", NEW + "=")] == [
            "token.missing",
            "token.missing",
            "token.unknown",
            "token.unknown",
        ]


def test_a_token_whose_time_is_over_is_told_so():
    assert code_of(Tokens(f"{OLD}@2020-01-01T00:00+01:00"), OLD) == "token.expired"


def test_a_token_given_twice_is_good_for_as_long_as_it_says_anywhere():
    assert Tokens(f"{OLD}@2020-01-01T00:00Z,{OLD}").check(OLD) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" , ", "token.missing"),
        ("short", "token.syntax"),
        (f"{NEW},{OLD}é", "token.syntax"),
        (f"{OLD}@tomorrow", "token.expiry"),
        (f"{OLD}@2026-12-31T00:00", "token.expiry"),
        (f"{OLD}@", "token.expiry"),
        ("file:/nowhere/tokens", "token.file"),
    ],
)
def test_tokens_that_cannot_be_read_are_refused_and_not_shown(text, code):
    with pytest.raises(ConfigError) as found:
        Tokens(text)
    assert (found.value.code, found.value.where) == (code, "CANDLEFLEET_GATEWAY_TOKENS")
    assert OLD not in str(found.value)
    assert "short" not in str(found.value)


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), (None, None)],
)
def test_a_bearer_token_is_found_in_its_header(header, token):
    assert bearer(header) == token


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_is_known_by_all_its_names(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "localhost.example", "", "a host"])
def test_other_hosts_are_not_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("header", "host"),
    [("localhost:8765", "localhost"), ("[::1]:80", "::1"), ("https://a.example", "a.example"), ("[", "")],
)
def test_the_host_of_a_header_is_found(header, host):
    assert host_of(header) == host


def test_a_page_is_ours_if_it_came_from_here_or_is_listed():
    allowed = ["https://charts.example"]
    assert is_own_page(None, "a:8765", allowed)
    assert is_own_page("http://A:8765", "a:8765", allowed)
    assert is_own_page("https://charts.example", "a:8765", allowed)
    assert not is_own_page("https://other.example", "a:8765", allowed)
    assert not is_own_page("null", "a:8765", allowed)
    assert not is_own_page("http://a:8766", "a:8765", allowed)
