"""The gateway as one ASGI application: subscribers, points, and what a person wants to see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from workers.gateway.auth import Tokens, host_of, is_loopback, is_own_page
from workers.gateway.hub import Hub
from workers.gateway.sockets import Sockets
from workers.gateway.stream import Stream
from workers.gateway.subscribers import Patience


@dataclass(frozen=True, slots=True)
class Options:
    """What a gateway is told.

    Attributes:
        redis: URL of the Redis that holds the stream, and the fleet.
        stream: The stream's name.
        tokens: Who may use it; none: whoever reaches loopback.
        origins: Origins of web pages that may use it, beside its own.
        patience: What one subscriber may ask of it.
        subscribers: Connections at a time.
    """

    redis: str = field(repr=False)
    stream: str = "live"
    tokens: Tokens = field(default_factory=Tokens)
    origins: Sequence[str] = ()
    patience: Patience = field(default_factory=Patience)
    subscribers: int = 5000


def make_app(options: Options) -> Starlette:
    """Return the application; it reads the stream for as long as it runs."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        hub = Hub(Stream(options.redis, options.stream))
        app.state.hub = hub
        app.state.sockets = Sockets(hub, options.tokens, options.patience, options.subscribers)
        tasks = [
            asyncio.create_task(hub.run()),
            asyncio.create_task(_heartbeats(hub, options.patience.heartbeat)),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await hub.stream.close()

    return Starlette(
        routes=[WebSocketRoute("/stream", _stream), Route("/health", _health)],
        middleware=[Middleware(OwnPages, origins=options.origins, local=not options.tokens)],
        lifespan=lifespan,
    )


class OwnPages:
    """Keeps out web pages of others: a browser takes them anywhere, on this machine too.

    Args:
        app: What is kept.
        origins: Origins that may come in.
        local: Whether only names of this machine are taken for it, so that none can be made to stand for it.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str], *, local: bool) -> None:
        """Keep nobody out yet."""
        self._app = app
        self._origins = frozenset(origins)
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to pages of others."""
        if scope["type"] not in ("http", "websocket") or (why := self._why(HTTPConnection(scope))) is None:
            await self._app(scope, receive, send)
            return
        answer = JSONResponse({"code": why[0], "message": why[1]}, 403)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(answer)
        else:
            await answer(scope, receive, send)

    def _why(self, connection: HTTPConnection) -> tuple[str, str] | None:
        host, origin = connection.headers.get("host", ""), connection.headers.get("origin")
        if self._local and not is_loopback(host_of(host)):
            return "host.unknown", "without tokens only localhost is served: set CANDLEFLEET_GATEWAY_TOKENS"
        if not is_own_page(origin, host, self._origins):
            return "origin.unknown", "this page may not: add its origin to CANDLEFLEET_GATEWAY_ORIGINS"
        return None


async def _health(request: Request) -> JSONResponse:
    """Answer 503 while the stream cannot be read."""
    hub, sockets = request.app.state.hub, request.app.state.sockets
    found = {
        "status": "away" if hub.away or not hub.begun else "ok",
        "epoch": hub.epoch or None,
        "newest": hub.position,
        "oldest": hub.oldest,
        "subscribers": sockets.count,
    }
    return JSONResponse(found, 200 if found["status"] == "ok" else 503, {"Cache-Control": "no-store"})


async def _stream(socket: WebSocket) -> None:
    sockets: Sockets = socket.app.state.sockets
    await sockets.serve(socket)


async def _heartbeats(hub: Hub, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        hub.ping()
