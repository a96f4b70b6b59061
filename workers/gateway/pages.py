"""Keep out web pages of others: a browser takes them anywhere, on this machine too."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from workers.gateway.auth import host_of, is_loopback, is_own_page


class OwnPages:
    """Answers 403 to requests that come from pages which may not make them.

    Args:
        app: What is kept.
        origins: Origins that may come in, beside its own.
        local: Whether only names of this machine are taken for it, so that none can be made to stand for it.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str], *, local: bool) -> None:
        """Keep nobody out yet."""
        self._app = app
        self._origins = frozenset(origins)
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
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
