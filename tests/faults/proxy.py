"""A TCP proxy that stands between a fleet and its Redis, and cuts the connection when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field

#: When a connection is cut: the command is lost, torn, done without an answer, or its answer is torn.
MOMENTS = ("before", "in", "after", "in the reply")


@dataclass
class Cut:
    """One reset to come: at the next command that contains some bytes."""

    needle: bytes
    moment: str
    done: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Passes on what fleet and Redis say to each other, in a thread of its own, until a cut is armed."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._target = target
        self._tls = tls  #: what clients speak to it, if anything
        self._cut: Cut | None = None
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()
        self._listening.wait()

    def arm(self, needle: bytes, moment: str) -> Cut:
        """Cut one connection, once; the answer says when it happened."""
        self._cut = Cut(needle, moment)
        return self._cut

    def disarm(self) -> None:
        """Cut nothing after all."""
        self._cut = None

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        self._pipes: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._ended.wait()
        server.close()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._pipes.add(task)
        with contextlib.suppress(asyncio.CancelledError):  # asyncio complains of servers that are cancelled
            await self._connect(client, answers)
        self._pipes.discard(task)

    async def _connect(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        try:
            redis, commands = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            reset(answers)
            return
        connection = Connection(self, answers, commands)
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(connection.pass_commands(client), connection.pass_answers(redis))
        finally:
            reset(answers)
            reset(commands)

    def take(self, data: bytes) -> Cut | None:
        """Return the cut that these bytes bring about, if any; it happens once."""
        cut = self._cut
        if cut is None or cut.needle not in data:
            return None
        self._cut = None
        return cut


class Connection:
    """One client's connection, and the one to Redis that stands for it."""

    def __init__(self, proxy: Proxy, answers: asyncio.StreamWriter, commands: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._answers = answers
        self._commands = commands
        self._doom: Cut | None = None

    async def pass_commands(self, client: asyncio.StreamReader) -> None:
        while data := await client.read(1 << 18):
            if cut := self._proxy.take(data):
                if cut.moment == "in the reply":
                    self._doom = cut
                else:
                    whole = {"before": 0, "in": len(data) // 2, "after": len(data)}[cut.moment]
                    await self._send(self._commands, data[:whole])
                    # Redis is told by an end, not by a reset: that could take back what it has not read yet.
                    self._commands.write_eof()
                    reset(self._answers)
                    cut.done.set()
                    raise ConnectionResetError
            await self._send(self._commands, data)
        raise ConnectionResetError

    async def pass_answers(self, redis: asyncio.StreamReader) -> None:
        while data := await redis.read(1 << 18):
            if self._doom is not None:
                await self._send(self._answers, data[: len(data) // 2])
                self._doom.done.set()
                raise ConnectionResetError
            await self._send(self._answers, data)
        raise ConnectionResetError

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection the hard way: the other side hears a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
