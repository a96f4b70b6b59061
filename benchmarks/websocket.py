"""Subscribers of a gateway: whether each gets every point, how soon, and what that takes in memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from resource import getpagesize
from typing import Final, NamedTuple

import httpx
import numpy as np
import polars as pl
from websockets.asyncio.client import connect

from benchmarks.bars import batches, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from destinations import WebSocketDestination
from router.batch import PointBatch
from tests.acceptance.fleet_fixture import until
from tests.servers.gateway import Gateway, own_gateway
from tests.servers.redis import own_redis

SYMBOLS: Final = [f"SYM{number}" for number in range(100)]
SUBSCRIBERS: Final = 1_000
#: Processes of subscribers: what they take of the machine is not ours.
_PROCESSES: Final = 2
_WRITES_PER_SECOND: Final = 20


class Load(NamedTuple):
    """Who subscribes, and how many points a second come for so many seconds; no symbols: to all of them."""

    symbols: Sequence[str]
    points_per_second: int
    seconds: int

    @property
    def points(self) -> int:
        """How many points come in all."""
        return self.points_per_second * self.seconds


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure many subscribers of one symbol each, and one of everything."""
    seconds = 3 if quick else 15
    many = Load(list(islice(cycle(SYMBOLS), SUBSCRIBERS)), 1_000, seconds)
    one = Load([], 20_000, seconds)
    what = f"{SUBSCRIBERS:,} subscribers, each of one of 100 symbols, 1,000 points/s"
    say(f"websocket: {what}")
    waits, megabytes = measure(many)
    yield figure(f"{what}: p50 from write to client", np.percentile(waits, 50))
    yield figure(f"{what}: p99 from write to client", np.percentile(waits, 99), Goal(250, "figure"))
    yield Figure(case="websocket", what=f"{what}: the gateway's memory", unit="MB", runs=[megabytes],
                 less_is_better=True)  # fmt: skip
    what = "one subscriber of everything, 20,000 points/s"
    say(f"websocket: {what}")
    waits, megabytes = measure(one)
    yield figure(f"{what}: p50 from write to client", np.percentile(waits, 50))
    yield figure(f"{what}: p99 from write to client", np.percentile(waits, 99), Goal(250, "figure"))


def figure(what: str, seconds: float, goal: Goal | None = None) -> Figure:
    """Return a figure of some seconds."""
    return Figure(case="websocket", what=what, unit="ms", runs=[1000 * float(seconds)], goal=goal,
                  less_is_better=True)  # fmt: skip


def measure(load: Load) -> tuple[np.ndarray, float]:
    """Return the seconds each point took to each of its subscribers, and the gateway's megabytes at the end.

    Every subscriber must have had every point it chose, once and in order.
    """
    with own_redis() as redis, own_gateway(redis.url) as gateway:
        context = get_context("spawn")
        with ProcessPoolExecutor(_PROCESSES, mp_context=context) as pool:
            listening = _subscribe(pool, gateway, load)
            with closing(WebSocketDestination(redis.url)) as destination:
                _write(destination, load)
            waits = np.concatenate([future.result() for future in listening])
        return waits, resident(gateway.pid)


def _subscribe(pool: ProcessPoolExecutor, gateway: Gateway, load: Load) -> list[Future[np.ndarray]]:
    if load.symbols:
        shares = [(load.symbols[n::_PROCESSES], load.points // len(SYMBOLS)) for n in range(_PROCESSES)]
    else:
        shares = [([""], load.points)]
    listening = [pool.submit(listen, gateway.port, *share) for share in shares]
    wanted = sum(len(share) for share, _ in shares)
    health = f"{gateway.url}/health"
    until(lambda: httpx.get(health).json()["subscribers"] == wanted, "everybody is connected", every=0.1)
    return listening


# Each point carries in its volume the moment at which it was due, in seconds since 1970.
def _write(destination: WebSocketDestination, load: Load) -> None:
    size = load.points_per_second // _WRITES_PER_SECOND
    names = pl.Series("symbol", list(islice(cycle(SYMBOLS), load.points)))
    began = time.time()
    for number, part in enumerate(batches(make_bars(load.points).with_columns(names), size)):
        due = began + number / _WRITES_PER_SECOND
        time.sleep(max(0.0, due - time.time()))
        destination.write_batch(PointBatch(part.frame.with_columns(volume=pl.lit(due))).for_route("r"))


def listen(port: int, symbols: Sequence[str], points: int) -> np.ndarray:
    """Subscribe once for each symbol, '' being all; return how long each point took, once all are there."""
    return asyncio.run(_listen(port, symbols, points))


async def _listen(port: int, symbols: Sequence[str], points: int) -> np.ndarray:
    waits: list[float] = []
    async with asyncio.TaskGroup() as group:
        for symbol in symbols:
            group.create_task(_one(port, symbol, points, waits))
    return np.array(waits)


async def _one(port: int, symbol: str, points: int, waits: list[float]) -> None:
    query = f"symbol={symbol}" if symbol else "all"
    where = f"ws://127.0.0.1:{port}/stream?{query}"
    async with connect(where, compression=None, max_size=None, open_timeout=60) as socket:
        last, seen = json.loads(await socket.recv())["seq"], 0
        while seen < points:
            message = json.loads(await socket.recv())
            now = time.time()
            if message["type"] == "points":
                assert message["prev"] == last, (message["prev"], last)
                seen += len(message["points"])
                waits += [now - point["volume"] for point in message["points"]]
            last = message["seq"]
        assert seen == points


def resident(pid: int) -> float:
    """Return the megabytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * getpagesize() / 1e6
