"""Certificates for servers of the tests, made by the openssl program."""

from __future__ import annotations

import shutil

import pytest

from tests.servers.process import OwnServer

#: Files in a server's folder: the CA of its certificate, a CA that knows it not, the certificate, its key.
CA, STRANGER, CERTIFICATE, KEY = "ca.pem", "stranger.pem", "server.pem", "server.key"

_MADE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
_NAMES = "subjectAltName=DNS:localhost,DNS:market.localhost"


def make_certificates(server: OwnServer) -> None:
    """Make them for the name `localhost`, and not for the address 127.0.0.1; skip without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: make servers")
    for authority in (CA, STRANGER):
        _make(server, authority, f"/CN={authority}", "-keyout", f"{authority}.key")
    signed = ("-CA", CA, "-CAkey", f"{CA}.key", "-addext", _NAMES)
    _make(
        server, CERTIFICATE, "/CN=localhost", "-keyout", KEY, *signed, "-addext", "basicConstraints=CA:FALSE"
    )


def _make(server: OwnServer, name: str, subject: str, *options: str) -> None:
    server.run(["openssl", "req", "-x509", *_MADE, "-subj", subject, "-out", name, *options])
