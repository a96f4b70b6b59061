"""Read where a bucket of InfluxDB is, and say it without its token."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from router.errors import ConfigError
from router.names import nearest

_SCHEMES: Final = ("http", "https")
_MEASUREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_HOW: Final = "write http://host:8086, or https://host for TLS"


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """One measurement of one bucket; `str` tells people which.

    Attributes:
        url: Of the server, ``http://host:8086``; what follows the host goes before ``/api/v2/write``.
        org: The organization; empty where the server knows none.
        bucket: The bucket, or its id.
        measurement: What the points are called in it.

    Raises:
        ConfigError: `url.syntax`, `url.scheme`, or `range` for another attribute that cannot be meant.
    """

    url: str
    org: str
    bucket: str
    measurement: str

    def __post_init__(self) -> None:
        """Check the attributes; nothing is connected."""
        _check_url(self.url)
        for where, text, least in (("org", self.org, 0), ("bucket", self.bucket, 1)):
            if not isinstance(text, str) or len(text) < least or not text.isprintable():
                raise ConfigError("range", where, f"{text!r} is not the name of one")
        if not isinstance(self.measurement, str) or not _MEASUREMENT.fullmatch(self.measurement):
            message = f"{self.measurement!r} is not a name of 1 to 128 letters, digits and _ . -"
            raise ConfigError("range", "measurement", message)

    def __str__(self) -> str:
        return f"{self.url.rstrip('/')}, bucket {self.bucket}, measurement {self.measurement}"


def checked_token(token: str) -> str:
    """Return a token that can be sent.

    Raises:
        ConfigError: `token.syntax`; the message does not show it.
    """
    if not isinstance(token, str) or not token:
        raise ConfigError("token.syntax", "token", "is empty: make one that may write the bucket")
    if not (token.isascii() and token.isprintable()) or token != token.strip():
        message = "holds what no token holds, such as the line's end of its file: give the token alone"
        raise ConfigError("token.syntax", "token", message)
    return token


# What cannot be read, or may hold a password, is not shown.
def _check_url(url: str) -> None:
    read = _split(url)
    if read is None or not read.hostname:
        raise ConfigError("url.syntax", "url", f"cannot be read: {_HOW}")
    if read.scheme not in _SCHEMES:
        message = f"{read.scheme!r} is none of {', '.join(_SCHEMES)}{nearest(read.scheme, _SCHEMES)}: {_HOW}"
        raise ConfigError("url.scheme", "url", message)
    if read.username is not None or read.password is not None:
        raise ConfigError("url.syntax", "url", "takes no user and password: give them as token")
    if read.query or read.fragment:
        raise ConfigError("url.syntax", "url", f"what follows a ? or # is not read: {_HOW}")


def _split(url: object) -> SplitResult | None:
    with suppress(ValueError):
        if isinstance(url, str) and url.isprintable() and " " not in url:
            read = urlsplit(url)
            return read if read.port != 0 else None
    return None
