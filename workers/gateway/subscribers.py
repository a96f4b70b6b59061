"""One subscriber: reads what it missed, then listens, and is cut where it does not keep up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from redis.exceptions import RedisError

from destinations.numbered import NumberedEntry
from router.errors import DecodeError
from workers.gateway import protocol
from workers.gateway.hub import Hub
from workers.gateway.protocol import TOO_SLOW, RefusalError, Request


@dataclass(frozen=True, slots=True)
class Patience:
    """How much a subscriber may ask of us.

    Attributes:
        queue: Characters of messages that may wait for it.
        stall: Seconds for which it may take nothing.
        heartbeat: Seconds between two heartbeats.
        request: Seconds until it has said what it wants.
    """

    queue: int = 8 << 20
    stall: float = 20.0
    heartbeat: float = 15.0
    request: float = 10.0


class Subscriber:
    """Sends somebody the points they asked for, each once and in order.

    Args:
        hub: Hands on what comes.
        request: What they want, and the last point they have.
        send: Sends one message, and waits while the other side does not take what it was sent.
        patience: What they may ask of us.

    Attributes:
        selection: What they want.
        told: The number that the last message said.
        cut: Becomes the reason for which they are cut.
    """

    def __init__(
        self, hub: Hub, request: Request, send: Callable[[str], Awaitable[None]], patience: Patience
    ) -> None:
        """Send nothing yet."""
        self.selection = request.selection
        self.cut: asyncio.Future[RefusalError] = asyncio.get_running_loop().create_future()
        self._hub = hub
        self._send = send
        self._patience = patience
        self._waiting: deque[str] = deque()
        self._size = 0
        self._woken = asyncio.Event()
        self._listens = False
        self._epoch, self._number = self._begin(request)
        self.told = self._number  # also the end of what was read for them, whether they wanted it or not

    def _begin(self, request: Request) -> tuple[str, int]:
        hub, after = self._hub, request.after
        if after is None:
            return hub.epoch, hub.position
        return after if after.epoch else (hub.epoch, max(0, hub.oldest - 1))

    async def run(self) -> None:
        """Send until cancelled.

        Raises:
            RefusalError: Nothing was taken for too long.
        """
        hub = self._hub
        await self._say(
            protocol.hello(hub.epoch, self.told, hub.position, hub.oldest, self._patience.heartbeat)
        )
        try:
            while True:
                await self._catch_up()
                await self._listen()
        finally:
            hub.leave(self)

    # -- listening ----------------------------------------------------------------------------

    def push(self, frame: str, number: int) -> None:
        """Take a message for them; with too many waiting they are cut."""
        self.told = number
        self._waiting.append(frame)
        self._size += len(frame)
        self._woken.set()
        if self._size > self._patience.queue and not self.cut.done():
            self._hub.leave(self)
            message = (
                f"{self._size} characters wait for you: read faster, choose fewer points, or come back"
                " with the last number you have seen"
            )
            self.cut.set_result(RefusalError("subscriber.slow", message, TOO_SLOW))

    def turn_back(self, number: int) -> None:
        """Listen no longer, and read on after a number."""
        self._listens, self._number = False, number
        self._woken.set()

    async def _listen(self) -> None:
        while True:
            while self._waiting:
                frame = self._waiting.popleft()
                self._size -= len(frame)
                await self._say(frame)
            if not self._listens:
                return
            self._woken.clear()
            await self._woken.wait()

    # -- catching up --------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        hub = self._hub
        while not hub.join(self, self._epoch, self._number):
            moved, done = hub.moved, False
            with suppress(RedisError, OSError, DecodeError):  # the hub finds out, and goes on where it can
                done = await self._step()
            if not done:
                await moved.wait()
        self._listens = True

    async def _step(self) -> bool:
        """Return whether something was done; if not, there is nothing to do before the hub has moved."""
        hub = self._hub
        if self._epoch != hub.epoch:
            return await self._change_epoch()
        if self._number > hub.position:
            mark = await hub.stream.mark()
            if mark is None or mark.epoch != self._epoch or mark.newest >= self._number:
                return False
            await self._skip(mark.newest + 1, self._number, "restarted", mark.newest)
            return True
        entries = await hub.stream.between(self._number, hub.position)
        for entry in entries:
            if entry.epoch != self._epoch:
                return False
            await self._pass_on(entry)
        return bool(entries)

    # Numbers began anew; whoever has seen none of the old ones missed nothing.
    async def _change_epoch(self) -> bool:
        if not self._hub.epoch:
            return False
        known, self._epoch = self._epoch, self._hub.epoch
        if known:
            await self._skip(self._number + 1, None, "epoch", 0)
        return True

    async def _pass_on(self, entry: NumberedEntry) -> None:
        if entry.first > self._number + 1:
            await self._skip(self._number + 1, entry.first - 1, "trimmed", entry.first - 1)
        rows = [row for row in self._chosen(entry) if entry.first + row > self._number]
        if rows:
            points = [protocol.numbered(entry.first + row, entry.values[row]) for row in rows]
            last = entry.first + rows[-1]
            head = protocol.points_head(self._epoch, last, self.told)
            await self._say(head + protocol.points_tail(points))
            self.told = last
        self._number = entry.last

    def _chosen(self, entry: NumberedEntry) -> Iterable[int]:
        if self.selection.everything:
            return range(len(entry.values))
        return sorted(
            chain.from_iterable(key.positions for key in entry.keys if self.selection.takes(*key[:3]))
        )

    async def _skip(self, first: int, last: int | None, why: str, number: int) -> None:
        await self._say(protocol.gap(self._epoch, first, last, why, number))
        self._number = self.told = number

    async def _say(self, frame: str) -> None:
        try:
            async with asyncio.timeout(self._patience.stall):
                await self._send(frame)
        except TimeoutError:
            message = (
                f"nothing was taken for {self._patience.stall:g} s:"
                " come back with the last number you have seen"
            )
            raise RefusalError("subscriber.stalled", message, TOO_SLOW) from None
