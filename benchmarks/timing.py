"""Time things side by side: alternately, in a fresh process, with the same clock for all processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Run(NamedTuple):
    """What one run took: points/s by the clock, and CPU microseconds a point of all its processes."""

    rate: float
    cpu: float


def alternate(
    ours: Callable[[], int], peer: Callable[[], int], *, seconds: float, least: int = 3
) -> tuple[list[float], list[float]]:
    """Call both in turn, so that a busy machine slows both; return the points/s of every round of each.

    Args:
        ours: Processes some points, and returns how many.
        peer: The same.
        seconds: For how long, both together.
        least: Rounds, however long they take; one more goes before them, uncounted.
    """
    rate(ours), rate(peer)
    rounds, ends = [], time.perf_counter() + seconds
    while len(rounds) < least or time.perf_counter() < ends:
        rounds.append((rate(ours), rate(peer)))
    return [one for one, _ in rounds], [other for _, other in rounds]


def rate(work: Callable[[], int]) -> float:
    """Return the points/s of something that says how many points it processed."""
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of a module in a new interpreter, whose memory holds nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


@contextmanager
def environment(**variables: object) -> Iterator[None]:
    """Set environment variables for the processes started within."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
