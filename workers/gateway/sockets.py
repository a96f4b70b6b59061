"""The WebSocket side: who comes in, what they ask for, and how they are sent away."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from workers.gateway import protocol
from workers.gateway.auth import Tokens, bearer, refuse_expired
from workers.gateway.hub import Hub
from workers.gateway.protocol import TRY_LATER, RefusalError, Request
from workers.gateway.subscribers import Patience, Subscriber

logger = logging.getLogger(__name__)


class Sockets:
    """Serves every connection of subscribers.

    Args:
        hub: Hands on what comes.
        tokens: Those that are good.
        patience: What one subscriber may ask of us.
        most: Connections at a time.
    """

    def __init__(self, hub: Hub, tokens: Tokens, patience: Patience, most: int) -> None:
        """Serve nobody yet."""
        self._hub = hub
        self._tokens = tokens
        self._patience = patience
        self._most = most
        self.count = 0  #: connections that are open

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection to its end."""
        await socket.accept()
        self.count += 1
        try:
            await self._serve(socket)
        except RefusalError as refusal:
            logger.info("Subscriber sent away.", extra={"code": refusal.code})
            with suppress(WebSocketDisconnect, RuntimeError):
                await socket.send({"type": "websocket.send", "text": protocol.error(refusal), "last": True})
                await socket.close(refusal.close, refusal.code)
        except WebSocketDisconnect:
            pass
        finally:
            self.count -= 1

    async def _serve(self, socket: WebSocket) -> None:
        if self.count > self._most:
            raise RefusalError("subscribers.too_many", f"{self._most} are served: come back later", TRY_LATER)
        request = protocol.read_query(socket.query_params.multi_items())
        given = bearer(socket.headers.get("authorization")) or socket.query_params.get("token")
        ends = self._tokens.check(given) if given else None
        if request is None:
            request = await self._first(socket)
        if not given:
            ends = self._tokens.check(request.token)
        while request is not None:
            request = await self._subscribed(socket, request, ends)

    async def _first(self, socket: WebSocket) -> Request:
        try:
            async with asyncio.timeout(self._patience.request):
                return await _requested(socket)
        except TimeoutError:
            message = 'send {"subscribe": {}} for everything, or connect with ?all or ?symbol=…'
            raise RefusalError("subscribe.missing", message) from None

    async def _subscribed(self, socket: WebSocket, request: Request, ends: datetime | None) -> Request | None:
        """Return the next request; this one is served until then."""
        if not self._hub.begun:
            raise RefusalError("stream.away", "the stream cannot be read now: come back later", TRY_LATER)

        async def send(frame: str) -> None:
            await socket.send({"type": "websocket.send", "text": frame})

        subscriber = Subscriber(self._hub, request, send, self._patience)
        tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(subscriber.run()),
            asyncio.ensure_future(_requested(socket)),
            asyncio.ensure_future(_expiry(ends)),
        ]
        try:
            done, _ = await asyncio.wait([*tasks, subscriber.cut], return_when=asyncio.FIRST_COMPLETED)
            if subscriber.cut.done():
                raise subscriber.cut.result()
            for task in done:
                task.result()
            return tasks[1].result() if tasks[1].done() else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _requested(socket: WebSocket) -> Request:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text")
    if text is None:
        raise RefusalError("message.binary", "a message is a text of JSON, and not binary", 1003)
    return protocol.read_message(text)


async def _expiry(ends: datetime | None) -> None:
    if ends is None:
        await asyncio.get_running_loop().create_future()
        return
    while (left := (ends - datetime.now(UTC)).total_seconds()) > 0:
        await asyncio.sleep(min(left, 3600.0))
    refuse_expired(ends)
