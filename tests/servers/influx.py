"""A real InfluxDB for tests: the one that is given, or one started from the installed program."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.servers.process import OwnServer, at_work, free_port, own_folder

GIVEN = "CANDLEFLEET_TEST_INFLUX_"
USER, PASSWORD = "candles", "s3cr3t-pass"
BUCKET = "candles"
#: Bytes that it takes in one request.
MOST = 2_000_000
#: What the server is told of a request.
KEPT = ("content-encoding", "content-type")
_CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[monitor]
store-enabled = false
[continuous_queries]
enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
auth-enabled = {auth}
max-body-size = {most}
"""


class Access(NamedTuple):
    """How a server is reached: what a destination is given."""

    url: str
    token: str
    org: str
    bucket: str

    def query(self, text: str, database: str | None = None) -> list[dict[str, Any]]:
        """Ask in InfluxQL by plain HTTP; return the rows, numbers as floats, times in microseconds."""
        user, _, password = self.token.rpartition(":")
        who = {"u": user or "token", "p": password}
        words = urlencode(who | {"db": database or self.bucket, "epoch": "u", "q": text})
        request = urllib.request.Request(f"{self.url}/query?{words}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            (result,) = json.loads(answer.read(), parse_int=float)["results"]
        if "error" in result:
            raise AssertionError(result["error"])
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def insert(self, line: str) -> None:
        """Write a line as somebody else would, by plain HTTP; its time is in microseconds."""
        words = urlencode({"org": self.org, "bucket": self.bucket, "precision": "us"})
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/api/v2/write?{words}", line.encode(), headers)
        urllib.request.urlopen(request, timeout=30).close()


class Influx(OwnServer):
    """An InfluxDB 1.6 of the tests' own, behind a path shim that stands still or falls with it.

    Args:
        folder: Where it keeps what it keeps.
        locked: Whether it asks for a user and a password.
    """

    title = "InfluxDB"

    def __init__(self, program: str, folder: Path, *, locked: bool = False) -> None:
        super().__init__(folder)
        self._program = program
        self._shim = PathShim(self.port)
        written = _CONFIGURATION.format(
            folder=folder, port=self.port, backup=free_port(), auth=str(locked).lower(), most=MOST
        )
        (folder / "influxdb.conf").write_text(written)

    @property
    def access(self) -> Access:
        """As its administrator, through the shim."""
        return self.access_by(self._shim.port)

    @property
    def front(self) -> int:
        """The port of the shim."""
        return self._shim.port

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for its answer."""
        return self._shim.waiting > 0

    def access_by(self, port: int, token: str = f"{USER}:{PASSWORD}", bucket: str = BUCKET) -> Access:
        """Return the way through another port, with another token, or to another bucket."""
        return Access(f"http://127.0.0.1:{port}", token, "", bucket)

    def command(self) -> Sequence[str | Path]:
        """Return its program."""
        return [self._program, "-config", self.folder / "influxdb.conf"]

    def answers(self) -> bool:
        """Return whether it takes writes; a new one is given its user and its bucket."""
        asked = self.access_by(self.port)
        with contextlib.suppress(OSError, HTTPException):
            asked.query(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")
            asked.query(f"CREATE DATABASE {BUCKET}")
            return True
        return False

    def start(self) -> None:
        """Start it, and wait until it answers."""
        super().start()
        self._shim.open()

    def _end(self, number: int) -> None:
        super()._end(number)
        self._shim.close()


class PathShim:
    """Lets InfluxDB 1.6 be asked as 1.8 is: ``/api/v2/write`` becomes ``/write``, a token user and password.

    All else passes as it is, to the server and back.

    Args:
        target: The port of the server.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: _ShimServer | None = None

    @property
    def waiting(self) -> int:
        """How many requests the server has not answered yet."""
        return 0 if self._server is None else self._server.waiting

    def open(self) -> None:
        """Listen, if it does not."""
        if self._server is None:
            self._server = _ShimServer(self.port, self._target)
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and end those there are, as a server does that is killed."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for connection in list(server.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _ShimServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, target: int) -> None:
        self.target = target
        self.connections: set[socket.socket] = set()
        self.waiting = 0
        super().__init__(("127.0.0.1", port), _Shim)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that were cut."""


class _Shim(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _ShimServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {name: value for name, value in self.headers.items() if name.lower() in KEPT}
        if token := self.headers.get("Authorization", "").removeprefix("Token "):
            kept["Authorization"] = "Basic " + b64encode(token.encode()).decode()
        with contextlib.closing(HTTPConnection("127.0.0.1", self.server.target)) as server:
            self.server.waiting += 1
            try:
                server.request(self.command, old_path(self.path), body, kept)
                answer = server.getresponse()
                content = answer.read()
            except (OSError, HTTPException):
                self.close_connection = True
                return
            finally:
                self.server.waiting -= 1
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() in ("content-type", "retry-after", "x-influxdb-error"):
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = pass_on  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


def old_path(path: str) -> str:
    """Return where InfluxDB 1.6 takes what 2 takes at a path."""
    read = urlsplit(path)
    if read.path != "/api/v2/write":
        return path
    asked = {name: values[0] for name, values in parse_qs(read.query).items()}
    database, _, retention = asked["bucket"].partition("/")
    words = {"db": database, "precision": {"us": "u", "ns": "n"}.get(asked["precision"], asked["precision"])}
    return "/write?" + urlencode(words | ({"rp": retention} if retention else {}))


@contextlib.contextmanager
def own_influx(*, locked: bool = False) -> Iterator[Influx]:
    """Give a server that belongs to nobody else; skip where InfluxDB is not installed."""
    program = installed()
    if program is None:
        pytest.skip("needs InfluxDB: make servers")
    with own_folder("influx") as folder:
        server = Influx(program, folder, locked=locked)
        with at_work(server):
            yield server


def installed() -> str | None:
    """Return the program of this host, if it has one."""
    return shutil.which("influxd")


def given() -> Access | None:
    """Return how the server is reached that the environment names, if it names one."""
    found = [os.environ.get(GIVEN + name, "") for name in ("URL", "TOKEN", "ORG", "BUCKET")]
    return Access(*found) if found[0] else None
