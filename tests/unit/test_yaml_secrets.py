"""Secrets are put in where a routes file refers to them, refused where it holds them, and never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.errors import RoutesFileError
from router.problems import Problems
from router.yaml_secrets import check_secrets, resolved

SECRET = "tr0ub4dor&3"


def put_in(value: Any) -> Any:
    """Return an argument with its references put in; fail if one cannot be."""
    problems = Problems("routes.yaml")
    found = resolved(value, ("destinations", "a", "b"), problems)
    problems.raise_any()
    return found


def refusals(content: Any) -> list[str]:
    """Return what is wrong with the secrets of a file."""
    problems = Problems("routes.yaml")
    check_secrets(content, problems)
    with pytest.raises(RoutesFileError) as refusal:
        problems.raise_any()
    return [str(problem) for problem in refusal.value.problems]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set one variable, leave one empty, and one unset."""
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${env:TOKEN}", SECRET),
        ("Bearer ${env:TOKEN}", f"Bearer {SECRET}"),
        ("${env:TOKEN}/${env:UNSET:-x}", f"{SECRET}/x"),
        ("${env:EMPTY:-x}", "x"),
        ("${env:UNSET:-}", ""),
        ("${env:UNSET:-a:-b}", "a:-b"),
        ("$${env:TOKEN}", "${env:TOKEN}"),
        ("$$5, $x, {symbol}, 100 $", "$$5, $x, {symbol}, 100 $"),
        (["${env:TOKEN}", {"a": "${env:TOKEN}"}], [SECRET, {"a": SECRET}]),
        (5, 5),
        (None, None),
    ],
)
def test_reference_is_put_in(written, value):
    assert put_in(written) == value


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"s\n", "s"),
        (b"s\r\n", "s"),
        (b"a\nb\n\n", "a\nb\n"),
        ("é".encode(), "é"),
        (b"\xef\xbb\xbfs\n", "s"),
    ],
)
def test_file_is_put_in_without_its_last_line_end(content, value, tmp_path):
    (tmp_path / "secret").write_bytes(content)
    assert put_in(f"${{file:{tmp_path / 'secret'}}}") == value


def test_what_is_put_in_is_not_looked_at_again(monkeypatch):
    monkeypatch.setenv("TOKEN", "${env:TOKEN}")
    assert put_in("${env:TOKEN}") == "${env:TOKEN}"


@pytest.mark.parametrize(
    ("written", "code", "reason"),
    [
        ("${env:UNSET}", "secret.missing", "the environment variable UNSET is not set, or empty"),
        ("${env:EMPTY}", "secret.missing", "the environment variable EMPTY is not set, or empty"),
        ("${file:no/such}", "secret.missing", "'no/such' cannot be read: No such file or directory"),
        ("${file:.}", "secret.missing", "'.' cannot be read: Is a directory"),
        ("${file:}", "secret.missing", "cannot be read"),
        ("${TOKEN}", "secret.syntax", "write ${env:NAME}, ${env:NAME:-text} or ${file:PATH}"),
        ("${evn:TOKEN}", "secret.syntax", "did you mean 'env'"),
        ("${env:TOKEN", "secret.syntax", "is no reference"),
        ("${env:A B}", "secret.syntax", "a variable's name is letters, digits and _"),
        ("${env:}", "secret.syntax", "a variable's name is letters, digits and _"),
        ("${}", "secret.syntax", "is no reference"),
    ],
)
def test_reference_to_nothing_is_refused(written, code, reason):
    with pytest.raises(RoutesFileError) as refusal:
        put_in(written)
    assert (refusal.value.code, reason in str(refusal.value)) == (code, True)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_file_that_holds_no_secret_is_refused(content, tmp_path):
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(RoutesFileError, match=r"\[secret\.missing\]"):
        put_in(f"${{file:{tmp_path / 'secret'}}}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": SECRET},
        {"Password": SECRET},
        {"api_key": SECRET},
        {"X-Api-Key": SECRET},
        {"apiKey": SECRET},
        {"sasl_plain_password": SECRET},
        {"client-secret": SECRET},
        {"secrets": ["${env:TOKEN}", SECRET]},
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"password": "${env:UNSET:-" + SECRET + "}"},
        {"url": f"postgresql://me:{SECRET}@host/db"},
        {"url": f"redis://:{SECRET}@host:6379/0"},
        {"urls": [f"amqp://me:a/b@{SECRET}@host"]},
        {"url": f"https://host/hook?token={SECRET}&x=1"},
        {"dsn": f"host=x user=me password={SECRET}"},
    ],
    ids=str,
)  # fmt: skip
def test_secret_that_is_written_out_is_refused_and_not_shown(arguments):
    (line,) = refusals({"destinations": {"a": arguments}})
    assert line.endswith("${file:PATH} [secret.literal]")
    assert SECRET not in line


def test_number_in_place_of_a_secret_is_one():
    (line,) = refusals({"destinations": {"a": {"password": 271828}}})
    assert "271828" not in line


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": "${env:TOKEN}"},
        {"password": "${file:/run/secrets/password}"},
        {"password": None},
        {"password": ""},
        {"use_token": True},
        {"max_tokens": 100},
        {"headers": {"Authorization": "Bearer ${env:TOKEN}"}},
        {"url": "postgresql://me:${env:TOKEN}@host/db"},
        {"url": "postgresql://me@host:5432/db"},
        {"url": "https://host:8443/notify/me@example.com"},
        {"token_url": "https://host/oauth"},
        {"key_field": "symbol"},
        {"path": "exports/secrets/of/trading"},
    ],
    ids=str,
)
def test_what_is_no_secret_written_out_may_stand(arguments):
    problems = Problems("routes.yaml")
    check_secrets({"destinations": {"a": arguments}}, problems)
    problems.raise_any()


@pytest.mark.parametrize("written", ["${env:TOKEN", "${TOKEN}", "${evn:TOKEN}"])
def test_misspelt_reference_is_no_secret_written_out(written):
    problems = Problems("routes.yaml")
    arguments = {"password": written, "url": f"https://host/?token={written}"}
    problems.places = {("destinations", "a", "password"): (3, 1), ("destinations", "a", "url"): (4, 1)}
    check_secrets({"destinations": {"a": arguments}}, problems)
    resolved(arguments, ("destinations", "a"), problems)
    with pytest.raises(RoutesFileError) as refusal:
        problems.raise_any()
    assert [problem.code for problem in refusal.value.problems] == ["secret.syntax"] * 2
    assert "write ${env:NAME}" in str(refusal.value)


def test_reference_stands_only_in_what_a_destination_takes():
    reference = "${env:TOKEN}"
    content = {
        "x-own": reference,
        "routes": [{"condition": reference, "destination": {"kind": "memory", "url": reference}}],
        "default_destination": {"path": reference},
        "destinations": {"a": {"kind": reference, "path": reference}},
    }
    problems = Problems("routes.yaml")
    problems.places = {("routes",): (3, 1), ("destinations",): (9, 1)}
    check_secrets(content, problems)
    with pytest.raises(RoutesFileError) as refusal:
        problems.raise_any()
    assert [(problem.code, problem.where) for problem in refusal.value.problems] == [
        ("secret.place", "routes.yaml:3: routes[0].condition"),
        ("secret.place", "routes.yaml:9: destinations.a.kind"),
    ]


@pytest.mark.parametrize(
    "message",
    [
        f"{SECRET!r} is not one of a, b",
        f"cannot connect to https://me:{SECRET}@host",
        f"{SECRET[:8]}… is too long",
        f"twice {SECRET} {SECRET[:7]}",
    ],
)
def test_no_message_shows_what_was_put_in(message):
    problems = Problems("routes.yaml")
    resolved("${env:TOKEN}", ("a",), problems)
    problems.add(("a",), "enum", message)
    with pytest.raises(RoutesFileError) as refusal:
        problems.raise_any()
    assert SECRET[:6] not in str(refusal.value)
    assert "${env:TOKEN}" in str(refusal.value)


@pytest.mark.parametrize("value", ["exports", "text that is the name of it: TOKENS", "${env:TOKENS}"])
def test_value_that_is_part_of_what_is_shown_for_it_is_hidden_once(value, monkeypatch):
    monkeypatch.setenv("TOKENS", value)
    problems = Problems("routes.yaml")
    resolved("${env:TOKENS:-exports and text that is}", ("a",), problems)
    problems.add(("a",), "enum", f"{value!r} is none, {value[:7]}")
    with pytest.raises(RoutesFileError) as refusal:
        problems.raise_any()
    shown = "${env:TOKENS:-exports and text that is}"
    assert refusal.value.problems[0].message == f"'{shown}' is none, {shown}"


def test_secret_with_quotes_and_line_ends_is_hidden_where_it_is_quoted(monkeypatch):
    monkeypatch.setenv("TOKEN", 'it\'s\na "key"\\')
    problems = Problems("routes.yaml")
    value = resolved("${env:TOKEN}", ("a",), problems)
    problems.add(("a",), "enum", f"{value!r} is not one")
    with pytest.raises(RoutesFileError) as refusal:
        problems.raise_any()
    assert "key" not in str(refusal.value)


def test_secret_file_is_looked_for_in_the_working_directory(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text(SECRET)
    assert put_in("${file:secret}") == SECRET
