"""A real gateway in a process of its own, and subscribers whose client is not ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.acceptance.fleet_fixture import CANDLEFLEET, clean_environment
from tests.servers.process import OwnServer, at_work, own_folder


class Gateway(OwnServer):
    """The command `candlefleet gateway`, on a free port of this host."""

    title = "the gateway"

    def __init__(self, redis_url: str, folder: Path, **settings: str) -> None:
        super().__init__(folder)
        self._settings = {"CANDLEFLEET_BROKER_URL": redis_url} | settings

    @property
    def url(self) -> str:
        """Of its HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | Path]:
        """Return the command with its port."""
        return [*CANDLEFLEET, "gateway", "--port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        """Return the environment of its process."""
        return clean_environment(**self._settings)

    def answers(self) -> bool:
        """Return whether it reads its stream."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=5).status_code in (200, 401)
        return False

    def log(self) -> str:
        """Return what it said so far."""
        return (self.folder / "server.log").read_text()


class Client:
    """A subscriber: what it was sent, each message as it came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []

    def say(self, message: Any) -> None:
        """Send a message, as JSON."""
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def subscribe(self, after: Any = None, **filters: Any) -> dict[str, Any]:
        """Subscribe, and return the hello."""
        self.say({"subscribe": filters, "after": after})
        return self.next("hello")

    def next(self, *kinds: str, within: float = 30.0) -> dict[str, Any]:
        """Return the next message of some kinds; others that come before it, but pings, are a mistake."""
        while True:
            message = json.loads(self.socket.recv(timeout=within))
            self.messages.append(message)
            if message["type"] in kinds:
                return message
            assert message["type"] == "ping", message

    def points(self, count: int) -> list[dict[str, Any]]:
        """Return the next points, at least so many; a message must follow on the one before it."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            message = self.next("points")
            assert message["prev"] == next(m["seq"] for m in self.messages[-2::-1] if "seq" in m)
            assert message["seq"] == message["points"][-1]["seq"]
            found += message["points"]
        return found

    @property
    def after(self) -> dict[str, Any]:
        """What it has seen last, to resume after."""
        last = next(m for m in reversed(self.messages) if "seq" in m)
        return {"epoch": last["epoch"], "seq": last["seq"]}

    def closed(self) -> tuple[int, str]:
        """Wait until it is closed, and return the code and the reason."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.messages.append(json.loads(self.socket.recv(timeout=60)))
        close = self.socket.protocol.close_rcvd
        assert close is not None
        return close.code, close.reason


@contextlib.contextmanager
def subscriber(gateway: Gateway, query: str = "", **options: Any) -> Iterator[Client]:
    """Give somebody who is connected to a gateway.

    Args:
        gateway: To whom.
        query: The part of the URL after `/stream`.
        **options: What `websockets` takes for a connection.
    """
    where = f"ws://127.0.0.1:{gateway.port}/stream{query}"
    with connect(where, compression=None, max_size=None, **options) as socket:
        yield Client(socket)


@contextlib.contextmanager
def own_gateway(redis_url: str, **settings: str) -> Iterator[Gateway]:
    """Give a gateway that belongs to nobody else."""
    with own_folder("gateway") as folder:
        gateway = Gateway(redis_url, folder, **settings)
        with at_work(gateway):
            yield gateway
