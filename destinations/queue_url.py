"""Read the URL of a message server, and say where it leads without saying its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit

from router.errors import ConfigError
from router.hidden import scrub
from router.names import nearest


class QueueServer:
    """Where a server is; `str` tells people, without its user's secrets.

    Args:
        url: ``scheme://user:password@host:port/path``; what is no letter or digit may be written %XX.
        ports: The default port of each scheme that is allowed.

    Raises:
        ConfigError: `url.syntax` or `url.scheme`.
    """

    def __init__(self, url: str, ports: Mapping[str, int]) -> None:
        """Read a URL; nothing is connected."""
        read = _split(url)
        how = f"write {next(iter(ports))}://user:password@host:port/…, and %XX for signs such as / and @"
        if read is None:
            raise ConfigError("url.syntax", "url", f"cannot be read: {how}")
        if read.scheme not in ports:
            message = f"{read.scheme!r} is none of {', '.join(ports)}{nearest(read.scheme, ports)}: {how}"
            raise ConfigError("url.scheme", "url", message)
        if read.query or read.fragment:
            raise ConfigError(
                "url.syntax", "url", "what follows a ? or # is not read: pass it as an argument"
            )
        self.scheme = read.scheme
        self.host = unquote(read.hostname or "127.0.0.1")
        self.port = read.port or ports[read.scheme]
        self.user = unquote(read.username) if read.username else None
        self.password = unquote(read.password) if read.password else None
        self.path = unquote(read.path)
        self._secrets = [self.password] if self.password else []

    def scrub(self, text: str) -> str:
        """Return what a client said, without the secrets of this URL."""
        return scrub(text, self._secrets)

    @property
    def address(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{self.address}{self.path}"


def _split(url: object) -> SplitResult | None:
    with suppress(ValueError):
        read = urlsplit(url.strip()) if isinstance(url, str) else None
        if read is not None and read.netloc and read.port != 0:
            unquote(read.hostname or "").encode("idna")
            return read
    return None
