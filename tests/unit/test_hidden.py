"""What a routes file refers to is shown by no message, also long after the file was loaded."""

from __future__ import annotations

import pytest

from router import hidden
from router.conditions import said

SECRET = "a/b tr0ub4dor\n'two'\n"


@pytest.fixture(autouse=True)
def hide_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a secret for the time of a test."""
    monkeypatch.setattr(hidden, "_SHOWN", {})
    hidden.hide(dict.fromkeys(hidden.spellings(SECRET), "${env:WORD}"))


@pytest.mark.parametrize(
    "message",
    [
        f"no access with {SECRET}",
        f"no access with {SECRET!r}",
        "GET https://host/?token=a%2Fb%20tr0ub4dor%0A%27two%27%0A",
        'no access: {"token": "a/b tr0ub4dor\\n\'two\'\\n"}',
        "no access in line a/b tr0ub4dor",
    ],
)
def test_error_is_said_without_what_is_hidden(message):
    told = said(ConnectionError(message))
    assert "tr0ub4dor" not in told
    assert "${env:WORD}" in told


def test_error_of_anything_else_is_said_as_it_is():
    assert said(ConnectionError("no way")) == "ConnectionError: no way"


def test_error_that_cannot_say_what_it_is_is_named():
    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert said(SpeechlessError()) == "SpeechlessError: SpeechlessError"


def test_value_too_short_to_be_a_secret_hides_nothing():
    assert hidden.spellings("1d") == []
