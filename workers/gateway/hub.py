"""Hand every point to the subscribers who want it, as it comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from redis.exceptions import RedisError

from destinations.numbered import Key, NumberedEntry
from router.errors import DecodeError
from workers.gateway import protocol
from workers.gateway.protocol import Selection
from workers.gateway.stream import Mark, Stream

logger = logging.getLogger(__name__)

#: Seconds to wait for points before it is asked whether the stream is still the same.
_WAIT: Final = 1.0
#: Seconds until a Redis that is away is asked again.
_PAUSE: Final = 0.5
#: Bytes of points in one message, about.
_BYTES: Final = 1 << 20


class Listener(Protocol):
    """A subscriber that is up to date.

    Attributes:
        selection: What it wants.
        told: The number that the last message to it said.
    """

    selection: Selection
    told: int

    def push(self, frame: str, number: int) -> None:
        """Take a message, which says a number; never waits."""

    def turn_back(self, number: int) -> None:
        """Learn that messages end after a number, and that the stream has to be read again."""


class Hub:
    """Reads the stream once, for all who are up to date.

    Attributes:
        epoch: Of the stream; empty before it began.
        position: The number of the last point handed on.
        oldest: The number of the oldest point kept, as far as is known.
        away: Why the stream cannot be read; empty: it can.
        begun: Whether it was ever read.
    """

    def __init__(self, stream: Stream) -> None:
        """Read nothing yet."""
        self.stream = stream
        self.epoch, self.position, self.oldest = "", 0, 0
        self.away, self.begun = "", False
        self._channels: dict[Selection, set[Listener]] = {}
        self._of_symbol: dict[str, set[Selection]] = {}
        self._of_any: set[Selection] = set()
        self._moved = asyncio.Event()

    # -- who listens --------------------------------------------------------------------------

    def join(self, listener: Listener, epoch: str, number: int) -> bool:
        """Let somebody listen who has everything up to a number; False if that is not where we are."""
        if (epoch, number) != (self.epoch, self.position):
            return False
        chosen = listener.selection
        self._channels.setdefault(chosen, set()).add(listener)
        for symbol in chosen.symbols or ():
            self._of_symbol.setdefault(symbol, set()).add(chosen)
        if chosen.symbols is None:
            self._of_any.add(chosen)
        return True

    def leave(self, listener: Listener) -> None:
        """Let somebody listen no longer, if they did."""
        chosen = listener.selection
        members = self._channels.get(chosen, set())
        members.discard(listener)
        if members or self._channels.pop(chosen, None) is None:
            return
        self._of_any.discard(chosen)
        for symbol in chosen.symbols or ():
            self._of_symbol[symbol].discard(chosen)
            if not self._of_symbol[symbol]:
                del self._of_symbol[symbol]

    def __len__(self) -> int:
        return sum(map(len, self._channels.values()))

    def ping(self) -> None:
        """Send everybody who listens a heartbeat."""
        frame = protocol.ping(self.epoch, self.position, live=not self.away)
        for listener in self._listeners():
            listener.push(frame, self.position)

    @property
    def moved(self) -> asyncio.Event:
        """Is set once something is read, or found out, from now on."""
        return self._moved

    def _listeners(self) -> list[Listener]:
        return [listener for members in self._channels.values() for listener in members]

    # -- reading ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read for ever; a Redis that is away is asked again."""
        while True:
            try:
                await self._read()
            except (RedisError, OSError, DecodeError) as error:
                if not self.away:
                    logger.warning("Stream cannot be read: %s", error, extra={"stream": self.stream.name})
                self.away = f"{type(error).__name__}: {error}"
                await asyncio.sleep(_PAUSE)

    async def _read(self) -> None:
        self._look(await self.stream.mark())
        while True:
            if entries := await self.stream.after(self.position, _WAIT):
                self.take(entries)
            else:
                self._look(await self.stream.mark())

    def _look(self, mark: Mark | None) -> None:
        if self.away:
            logger.warning("Stream can be read again.", extra={"stream": self.stream.name})
        self.away = ""
        if mark is not None:
            self.oldest = mark.oldest
            if not self.begun:
                self.epoch, self.position = mark.epoch, mark.newest
            elif mark.epoch != self.epoch or mark.newest < self.position:
                self._turn(mark.epoch, mark.newest)
        self.begun = True
        self._tell()

    def take(self, entries: Sequence[NumberedEntry]) -> None:
        """Hand on what was read after our position."""
        together: list[NumberedEntry] = []
        size = 0
        for entry in entries:
            follows = entry.first == self.position + 1 and entry.epoch == self.epoch
            if not follows or size > _BYTES:
                self._hand_on(together)
                together, size = [], 0
            if follows:
                together.append(entry)
                size += sum(map(len, entry.values))
                self.position = entry.last
            else:
                self._turn(entry.epoch, entry.last)
        self._hand_on(together)
        self._tell()

    # Whoever is up to date cannot be told by us what was missed: each finds that out by reading again.
    def _turn(self, epoch: str, position: int) -> None:
        for listener in self._listeners():
            listener.turn_back(self.position)
            self.leave(listener)
        self.epoch, self.position = epoch, position

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    # -- handing on ---------------------------------------------------------------------------

    def _hand_on(self, entries: Sequence[NumberedEntry]) -> None:
        chosen: dict[Selection, list[str]] = {}
        last: dict[Selection, int] = {}
        for entry in entries:
            numbered = [protocol.numbered(entry.first + at, value) for at, value in enumerate(entry.values)]
            for selection, rows in self._choose(entry.keys, len(numbered)):
                chosen.setdefault(selection, []).extend([numbered[row] for row in rows])
                last[selection] = entry.first + rows[-1]
        for selection, points in chosen.items():
            self._send(self._channels.get(selection, ()), points, last[selection])

    def _choose(self, keys: Iterable[Key], count: int) -> Iterator[tuple[Selection, Sequence[int]]]:
        found: dict[Selection, list[int]] = {}
        for symbol, timeframe, asset_class, rows in keys:
            for selection in (*self._of_symbol.get(symbol, ()), *self._of_any):
                if selection.takes(symbol, timeframe, asset_class):
                    found.setdefault(selection, []).extend(rows)
        for selection, rows in found.items():
            yield selection, range(count) if len(rows) == count else sorted(rows)

    # Most members of a channel were told the same number before: one message is theirs.
    def _send(self, members: Iterable[Listener], points: Iterable[str], last: int) -> None:
        tail, frames = protocol.points_tail(points), dict[int, str]()
        for listener in tuple(members):
            if listener.told not in frames:
                frames[listener.told] = protocol.points_head(self.epoch, last, listener.told) + tail
            listener.push(frames[listener.told], last)
