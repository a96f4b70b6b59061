"""Secrets of a routes file: put in where they are referred to, refused where they are written out.

``${env:NAME}`` is an environment variable, ``${env:NAME:-text}`` the text where it is not set,
``${file:PATH}`` what is in a file, and ``$${`` is ``${``. No message ever shows a value that came from a
reference, nor one that was written where a reference belongs.

Source: OpenTelemetry, Configuration data model, Environment variable substitution.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from router.names import nearest
from router.problems import KeyPath, Problems

MOST_BYTES: Final = 1 << 16
#: Keys at the top that begin so are the author's own: a place for anchors.
OWN_KEY: Final = "x-"

_REFERENCE: Final = re.compile(
    r"\$(?P<escaped>\$\{)|\$\{(?P<kind>env|file):(?P<rest>[^{}]*)\}|(?P<stray>\$\{)"
)
_VARIABLE: Final = re.compile(r"(?P<name>[A-Za-z_]\w*)(?::-(?P<otherwise>.*))?", re.ASCII | re.DOTALL)
_LITERAL: Final = "a secret stands here for all to read: write ${env:NAME} or ${file:PATH}"
_HOW: Final = "write ${env:NAME}, ${env:NAME:-text} or ${file:PATH}, and $${ for a plain ${"

#: How the names of secrets end, letters only.
_SECRET: Final = re.compile(
    r"(?:passwords?|passwd|pwd|passphrase|token|secrets?|apikeys?|accesskey|secretkey|privatekey|signingkey"
    r"|credentials?|authorization)$"
)
#: user:password@ in a URL, unless it is host:port/path@.
_IN_URL: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://[^/?#\s:@]*:(?!\d{1,5}[/?#])(?P<secret>\S+)@", re.IGNORECASE
)
_IN_QUERY: Final = re.compile(r"(?P<key>[\w-]+)=(?P<secret>[^&;\s]+)")


def is_secret(key: str) -> bool:
    """Return whether a key names a secret, such as ``password``, ``api_key`` or ``X-Auth-Token``."""
    return _SECRET.search(re.sub(r"[^a-z]", "", key.lower())) is not None


def check_secrets(content: Any, problems: Problems) -> None:
    """Add a mistake for every secret written out, and for every reference where none has a place."""
    for path, text in _scalars(content, ()):
        for secret in _written_out(_name_of(path), text):
            problems.hide(secret, "***")
            problems.give_up(path, "secret.literal", _LITERAL)
        if not _is_argument(path) and any(match["kind"] for match in _REFERENCE.finditer(text)):
            problems.give_up(
                path, "secret.place", "a reference has no place here, only in what a destination takes"
            )


def resolved(value: Any, path: KeyPath, problems: Problems) -> Any:
    """Return a value with its references put in.

    What cannot be put in becomes None and is added as ``secret.missing`` or ``secret.syntax``.
    """
    if isinstance(value, dict):
        return {key: resolved(item, (*path, key), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, (*path, index), problems) for index, item in enumerate(value)]
    return _put_in(value, path, problems) if isinstance(value, str) else value


# The key of a value, or of the list it is in.
def _name_of(path: KeyPath) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _is_argument(path: KeyPath) -> bool:
    match path:
        case (*_, "kind"):
            return False
        case ("routes", int(), "destination", *_) | ("destinations" | "default_destination", *_):
            return True
        case (str(key), *_):
            return key.startswith(OWN_KEY)
    return False


def _scalars(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _scalars(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _scalars(item, (*path, index))
    elif value is not None and not isinstance(value, bool):
        yield path, str(value)


# The texts in a value that are secrets: all of it under the name of one, else passwords in URLs and queries.
def _written_out(key: str, text: str) -> list[str]:
    found = [text] if is_secret(key) else []
    found += [match["secret"] for match in _IN_URL.finditer(text)]
    found += [match["secret"] for match in _IN_QUERY.finditer(text) if is_secret(match["key"])]
    return [secret for secret in found if secret and not _is_reference(secret) and not _is_stray(secret)]


def _is_reference(text: str) -> bool:
    found = [match for match in _REFERENCE.finditer(text) if match["kind"]]
    return bool(found) and not any(_otherwise(match["rest"]) for match in found)


# Meant as a reference: `resolved` says what is wrong with it.
def _is_stray(text: str) -> bool:
    found = _REFERENCE.match(text)
    return found is not None and found["stray"] is not None


def _otherwise(rest: str) -> str:
    return rest.partition(":-")[2]


class Referenced(str):
    """A text that came from a reference: where a number is wanted, it may be one."""

    __slots__ = ()


class _MissingError(Exception):
    """Something cannot be put in; its arguments are code and message."""


def _put_in(text: str, path: KeyPath, problems: Problems) -> str | None:
    def value_of(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        value = _READ[match["kind"]](match["rest"]) if match["kind"] else _refuse(text[match.start() :])
        if value != _otherwise(match["rest"]):
            problems.hide(value, match[0])
        return value

    try:
        put_in = _REFERENCE.sub(value_of, text)
    except _MissingError as error:
        problems.give_up(path, *error.args)
        return None
    return Referenced(put_in) if put_in != text else text


def _variable(rest: str) -> str:
    found = _VARIABLE.fullmatch(rest)
    if found is None:
        raise _MissingError("secret.syntax", f"a variable's name is letters, digits and _: {_HOW}")
    value = os.environ.get(found["name"]) or found["otherwise"]
    if value is None:
        raise _MissingError(
            "secret.missing", f"the environment variable {found['name']} is not set, or empty"
        )
    return value


def _content(rest: str) -> str:
    try:
        with Path(rest).open("rb") as file:
            value = file.read(MOST_BYTES + 1).decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _MissingError("secret.missing", f"{rest!r} cannot be read: {why}") from None
    if not value or len(value) > MOST_BYTES:
        wrong = "is empty" if not value else f"holds more than {MOST_BYTES:,} bytes"
        raise _MissingError("secret.missing", f"{rest!r} {wrong}")
    return value


def _refuse(rest: str) -> str:
    name = re.match(r"\$\{(\w*):?", rest)
    raise _MissingError("secret.syntax", f"is no reference{nearest(name[1] if name else '', _READ)}: {_HOW}")


_READ: Final = {"env": _variable, "file": _content}
