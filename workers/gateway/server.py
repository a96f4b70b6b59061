"""Run the gateway under uvicorn; a peer that takes nothing can be sent away all the same."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from typing import Any, Final

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from workers.gateway.protocol import MOST_BYTES

#: Seconds for which a closed connection may keep what it was not sent yet.
_LAST_WORDS: Final = 5.0
#: Seconds that connections get when the gateway stops.
_GRACE: Final = 3
_PING: Final = 20.0


class Cutting(WebSocketsSansIOProtocol):
    """uvicorn's protocol, but the last words to a peer wait for nothing, and a deaf one is hung up on."""

    async def send(self, message: Any) -> None:
        """Send a message; one that is marked as `last`, or closes, without waiting for the peer."""
        closing = message["type"] == "websocket.close"
        if closing or message.get("last"):
            self.writable.set()
        await super().send(message)
        if closing:
            self._hang_up()

    def keepalive_timeout(self) -> None:
        """Close, because no answer to a ping came."""
        super().keepalive_timeout()
        self._hang_up()

    # What waits to be written keeps a transport open for as long as its peer reads nothing.
    def _hang_up(self) -> None:
        self.loop.call_later(_LAST_WORDS, self.transport.abort)


def serve(app: Any, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; subscribers are told that the service restarts (1012)."""
    _allow_files()
    asyncio.run(server(app, host, port).serve())


# Every connection is a file, and most systems allow a process 1,024 of them unless it asks for more.
def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def server(app: Any, host: str, port: int) -> uvicorn.Server:
    """Return the server of an application, which logs no addresses of requests: tokens may be in them."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        ws=Cutting,
        ws_max_size=MOST_BYTES,
        ws_ping_interval=_PING,
        ws_ping_timeout=_PING,
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
        log_config=None,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
    )
    return uvicorn.Server(config)
