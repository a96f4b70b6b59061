"""Who may use the gateway: bearer tokens, and the web sites whose pages may."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from router.errors import ConfigError
from workers.gateway.protocol import UNAUTHORIZED, RefusalError

_SETTING: Final = "CANDLEFLEET_GATEWAY_TOKENS"
#: Source: RFC 6750, section 2.1, b64token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_SHORTEST: Final = 16
_HOW: Final = "send Authorization: Bearer …, or the field token in the first message"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its hash, which is all that is kept of it, and when it ends."""

    digest: bytes = field(repr=False)
    ends: datetime | None = None


class Tokens:
    """The tokens that are good, more than one while they are changed.

    Args:
        text: Tokens between commas, spaces or line ends, each perhaps with ``@`` and the time it ends;
            or ``file:`` and the path of a file that holds them.

    Raises:
        ConfigError: A token cannot be read; the message says which by its place, and shows none.
    """

    def __init__(self, text: str = "") -> None:
        """Read the tokens; of a file, as it is now."""
        self._tokens: Sequence[Token] = [
            _token(word, place)
            for place, word in enumerate(re.split(r"[\s,]+", _content(text).strip()), 1)
            if word
        ]
        if text.strip() and not self._tokens:
            raise ConfigError("token.missing", _SETTING, "holds no token: write one, or leave it away")

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def check(self, given: str | None) -> datetime | None:
        """Return when a token ends; None: it does not, or none is asked for.

        Raises:
            RefusalError: There is none, it is not known, or it has expired.
        """
        if not self._tokens:
            return None
        if not given:
            raise RefusalError("token.missing", f"a token is needed: {_HOW}", UNAUTHORIZED)
        digest = _digest(given)
        # All of them, so that the time it takes says nothing.
        found = [token for token in self._tokens if hmac.compare_digest(token.digest, digest)]
        if not found:
            raise RefusalError("token.unknown", f"this token is not known: {_HOW}", UNAUTHORIZED)
        ends = max(
            (token.ends for token in found),
            key=lambda end: (end is None, end or datetime.min.replace(tzinfo=UTC)),
        )
        refuse_expired(ends)
        return ends


def refuse_expired(ends: datetime | None) -> None:
    """Refuse a token whose time is over.

    Raises:
        RefusalError: It is.
    """
    if ends is not None and datetime.now(UTC) >= ends:
        message = f"this token expired at {ends.isoformat()}: ask for a new one"
        raise RefusalError("token.expired", message, UNAUTHORIZED)


def bearer(header: str | None) -> str | None:
    """Return the token of an Authorization header; None: there is none in it."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """Return the host that a Host header or an origin names, without its port; '' if that cannot be read."""
    try:
        return urlsplit(header if "//" in header else f"//{header}").hostname or ""
    except ValueError:
        return ""


def is_own_page(origin: str | None, host: str, allowed: Collection[str]) -> bool:
    """Return whether a request comes from no page of a browser, from one of ours, or from one that may.

    Args:
        origin: The header Origin, which browsers send and no page can change.
        host: The header Host.
        allowed: Origins such as ``https://charts.example``.
    """
    if origin is None or origin in allowed:
        return True
    return origin.partition("//")[2].lower() == host.lower()


def _content(text: str) -> str:
    if not text.startswith("file:"):
        return text
    path = Path(text.removeprefix("file:"))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError("token.file", _SETTING, f"{path} cannot be read: {why}") from None


def _token(word: str, place: int) -> Token:
    token, at, end = word.partition("@")
    if not _TOKEN.fullmatch(token) or len(token) < _SHORTEST:
        message = f"token {place} is not {_SHORTEST} or more letters, digits and . _ ~ + / -"
        raise ConfigError("token.syntax", _SETTING, f"{message}: make one with `openssl rand -hex 24`")
    return Token(_digest(token), _time(end, place) if at else None)


def _time(text: str, place: int) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        message = f"token {place} ends at no time with a zone: write token@2026-12-31T00:00Z"
        raise ConfigError("token.expiry", _SETTING, message)
    return time.astimezone(UTC)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
