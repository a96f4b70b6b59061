"""The gateway as one ASGI application: subscribers, points, and what a person wants to see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from router.errors import FleetUnreachableError
from router.table import RouteTable
from workers.gateway.auth import Tokens, bearer
from workers.gateway.bodies import HttpError
from workers.gateway.hub import Hub
from workers.gateway.overview import Overview
from workers.gateway.pages import OwnPages
from workers.gateway.points import Points
from workers.gateway.protocol import RefusalError
from workers.gateway.sockets import Sockets
from workers.gateway.stream import Stream
from workers.gateway.subscribers import Patience
from workers.producer import Producer
from workers.store import Store

_FRESH: Final = {"Cache-Control": "no-store"}
_ALLOWED_HEADERS: Final = ("Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key")


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
        table: The fleet's routes, where they are known.
        memory: Bytes of Redis the fleet may fill.
        remember: Seconds for which a batch id is told from a repeat.
    """

    redis: str = field(repr=False)
    stream: str = "live"
    tokens: Tokens = field(default_factory=Tokens)
    origins: Sequence[str] = ()
    patience: Patience = field(default_factory=Patience)
    subscribers: int = 5000
    table: RouteTable | None = None
    memory: int = 1 << 30
    remember: int = 3600


class Gateway:
    """What one process of the gateway has open.

    Args:
        options: What it was told.
    """

    def __init__(self, options: Options) -> None:
        """Connect to nothing yet."""
        self._tokens = options.tokens
        self._hub = Hub(Stream(options.redis, options.stream))
        self._sockets = Sockets(self._hub, options.tokens, options.patience, options.subscribers)
        self._store = Store.connect(options.redis, memory=options.memory, remember=options.remember)
        self._overview = Overview(self._store, options.table)
        self._points = Points(Producer(options.redis, patience=0.0))
        self._heartbeat = options.patience.heartbeat

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Read the stream for as long as the context lasts."""
        tasks = [asyncio.create_task(self._hub.run()), asyncio.create_task(self._beat())]
        with closing(self._points), closing(self._store.redis):
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._hub.stream.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            self._hub.ping()

    # -- requests -----------------------------------------------------------------------------

    async def stream(self, socket: WebSocket) -> None:
        """Serve a subscriber."""
        await self._sockets.serve(socket)

    async def points(self, request: Request) -> JSONResponse:
        """Take points."""
        self._check(request)
        return await self._points.take(request)

    async def routes(self, request: Request) -> JSONResponse:
        """Say what the fleet holds and owes, route by route."""
        self._check(request)
        try:
            return JSONResponse(await self._overview.get(), headers=_FRESH)
        except FleetUnreachableError as error:
            raise HttpError(503, "fleet.unreachable", "the fleet's Redis does not answer", 1) from error

    async def health(self, _: Request) -> JSONResponse:
        """Say whether the stream can be read; whoever comes may ask."""
        hub = self._hub
        well = hub.begun and not hub.away
        found = {
            "status": "ok" if well else "away",
            "epoch": hub.epoch or None,
            "newest": hub.position,
            "oldest": hub.oldest,
            "subscribers": self._sockets.count,
        }
        return JSONResponse(found, 200 if well else 503, _FRESH)

    def _check(self, request: Request) -> None:
        given = bearer(request.headers.get("authorization")) or request.query_params.get("token")
        try:
            self._tokens.check(given)
        except RefusalError as refusal:
            raise HttpError(401, refusal.code, refusal.message) from None


def make_app(options: Options) -> Starlette:
    """Return the application; it reads the stream for as long as it runs."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.gateway = Gateway(options)
        async with app.state.gateway.open():
            yield

    return Starlette(
        routes=[
            WebSocketRoute("/stream", _stream),
            Route("/points", _points, methods=["POST"]),
            Route("/routes", _routes),
            Route("/health", _health),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=options.origins,
                allow_methods=["GET", "POST"],
                allow_headers=_ALLOWED_HEADERS,
            ),
            Middleware(OwnPages, origins=options.origins, local=not options.tokens),
        ],
        exception_handlers={HttpError: _refused, HTTPException: _not_there, ClientDisconnect: _gone},
        lifespan=lifespan,
    )


async def _stream(socket: WebSocket) -> None:
    await socket.app.state.gateway.stream(socket)


async def _points(request: Request) -> JSONResponse:
    return await request.app.state.gateway.points(request)  # type: ignore[no-any-return]


async def _routes(request: Request) -> JSONResponse:
    return await request.app.state.gateway.routes(request)  # type: ignore[no-any-return]


async def _health(request: Request) -> JSONResponse:
    return await request.app.state.gateway.health(request)  # type: ignore[no-any-return]


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HttpError)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"code": error.code, "message": error.message}, error.status, headers)


async def _not_there(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "path.unknown", 405: "method.unknown"}.get(error.status_code, "request")
    message = f"{error.detail}: there is POST /points, GET /routes, GET /health, and WebSocket /stream"
    return JSONResponse({"code": code, "message": message}, error.status_code, error.headers)


async def _gone(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"code": "client.gone", "message": str(error)}, 400)
