"""A real Redis for tests that kill, freeze or lock out; the fleet's own is another one."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis

from router.errors import ConfigError
from tests.servers.certificates import CA, CERTIFICATE, KEY, make_certificates
from tests.servers.process import OwnServer, at_work, free_port, own_folder
from workers import embedded

GIVEN = "CANDLEFLEET_TEST_REDIS_URL"


class Redis(OwnServer):
    """A Redis of the tests' own, which keeps every command it has answered."""

    title = "Redis"

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(folder)
        self._program = program

    @property
    def url(self) -> str:
        """Of its first database."""
        return self.url_for()

    def url_for(self, who: str = "", port: int | None = None) -> str:
        """Return the URL for ``user:password@``, or of a way through another port."""
        return f"redis://{who}127.0.0.1:{port or self.port}/0"

    def command(self) -> Sequence[str | Path]:
        """Return its program with the settings of a test server."""
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return [self._program, *where, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]

    def answers(self) -> bool:
        """Return whether it answers."""
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        """Return a client that is not ours."""
        return redis.Redis(port=self.port, decode_responses=True)


class SecureRedis(Redis):
    """One that speaks TLS too, on a port of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(program, folder)
        self.secure_port = free_port()
        make_certificates(self)

    def secure_url(self, who: str = "") -> str:
        """Return the URL for ``user:password@`` and TLS, by the name that its certificate has."""
        return f"rediss://{who}localhost:{self.secure_port}/0"

    def command(self) -> Sequence[str | Path]:
        """Return its program with its certificate."""
        files = ["--tls-ca-cert-file", CA, "--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY]
        secure = ["--tls-port", str(self.secure_port), "--tls-auth-clients", "no", *files]
        return [*super().command(), *secure]


@contextlib.contextmanager
def own_secure_redis() -> Iterator[SecureRedis]:
    """Give a server that belongs to nobody else; the one of the Python package knows no TLS."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server: make servers")
    with own_folder("redis") as folder:
        server = SecureRedis(program, folder)
        with at_work(server):
            yield server


@contextlib.contextmanager
def own_redis() -> Iterator[Redis]:
    """Give a server that belongs to nobody else; skip where Redis is not installed."""
    try:
        found = embedded._program()
    except ConfigError as error:
        pytest.skip(f"needs redis: {error.message}")
    with own_folder("redis") as folder:
        server = Redis(found, folder)
        with at_work(server):
            yield server
