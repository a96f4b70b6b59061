"""Check options for TLS before anybody connects, and say what to do where nobody is reached with them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from router.errors import ConfigError, UnavailableError
from router.names import nearest

#: By a part of what OpenSSL or a client says: what to do. The first that fits is taken.
#: Source: OpenSSL 3, X509_verify_cert_error_string and ssl/ssl_err.c.
_HINTS: Final = (
    ("certificate is not valid for", "name the host as its certificate does"),
    ("CERTIFICATE_VERIFY_FAILED", "give the CA that signed its certificate in tls, or mend that certificate"),
    ("WRONG_VERSION_NUMBER", "no TLS is spoken there: mend port or scheme in url"),
    ("No cipher can be selected", "mend the ciphers in tls"),
    ("CERTIFICATE_REQUIRED", "it asks for a certificate: give one with its key in tls"),
    ("HANDSHAKE_FAILURE", "it asks for a certificate or another cipher: give them in tls"),
    ("[SSL", "mend the files in tls"),
    ("[X509", "mend the files in tls"),
)
#: By scheme, the one with TLS.
_SECURE: Final = {"amqp": "amqps", "redis": "rediss", "http": "https"}
#: What is said where somebody is there, but speaks another way or not at all.
_NO_TALK: Final = ("reset by peer", "closed", "imeout", "timed out")


def checked_tls(tls: Mapping[str, Any] | None, scheme: str, allowed: Collection[str]) -> dict[str, Any]:
    """Return the options for TLS; those whose names end in `file`, `cert` or `certs` are paths.

    Raises:
        ConfigError: `tls.unknown` for one that is not there, `tls.type` for a path that is none or a key
            without its certificate, `tls.scheme` where there is no TLS.
    """
    given = dict(tls or {})
    for name, value in given.items():
        if name not in allowed:
            message = f"{name!r} is none of {', '.join(allowed)}{nearest(name, allowed)}"
            raise ConfigError("tls.unknown", "tls", message)
        if _is_file(name) and not isinstance(value, str | os.PathLike):
            raise ConfigError("tls.type", "tls", f"{name} is the path of a file, and not {value!r}")
        if name.endswith("keyfile") and name.replace("keyfile", "certfile") not in given:
            raise ConfigError("tls.type", "tls", f"{name} is the key of a certfile, which is not given")
    if given and scheme in _SECURE:
        raise ConfigError("tls.scheme", "tls", f"is for {_SECURE[scheme]}://")
    return given


def see_files(tls: Mapping[str, Any], place: object) -> None:
    """Find out whether the files of some options can be read.

    Raises:
        UnavailableError: One cannot; the place they are for is named.
    """
    for name, path in tls.items():
        if _is_file(name):
            try:
                Path(path).open("rb").close()
            except OSError as error:
                how = "put it there, or mend its path in tls"
                raise UnavailableError(
                    f"{place}: {name} {os.fspath(path)}: {error.strerror}: {how}"
                ) from error


def connecting_hint(said: str, scheme: str) -> str:
    """Return what to do where a server was not reached.

    Args:
        said: The client's words.
        scheme: Of the URL.
    """
    for words, hint in _HINTS:
        if words in said:
            return hint
    other = _SECURE.get(scheme, scheme.removesuffix("s"))
    spoken = f"; perhaps {other}:// is spoken there" if any(words in said for words in _NO_TALK) else ""
    return f"start the server, or mend host and port in url{spoken}"


def _is_file(name: str) -> bool:
    return name.endswith(("file", "cert", "certs"))
