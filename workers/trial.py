"""Trial: decide a batch's rows range by range, in a process that may die of it (`python -m workers.trial`).

On standard input come the ranges, as one line of JSON, and the batch as Arrow IPC; on standard output go one
line when everything is read, and one for each range. What has no line is what it died of.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from destinations import load_routes
from router.batch import PointBatch
from router.errors import ConfigError
from router.matching import Decision, Failure, decide
from router.table import RouteTable
from workers.settings import settings

READY: Final = "ready"


class Range(NamedTuple):
    """Some rows of the batch, to be decided for one route."""

    route_id: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.stop - self.start


def main() -> None:
    """Answer what standard input asks.

    Raises:
        SystemExit: The routes cannot be used any more.
    """
    with contextlib.suppress(OSError):  # when memory runs out, this process is the one to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        table = load_routes(settings().routes)
    except ConfigError as error:
        raise SystemExit(f"candlefleet: {error}") from None
    answers = _keep_answers_apart()
    for line in try_out(table, sys.stdin.buffer):
        answers.write(line.encode() + b"\n")
        answers.flush()


def try_out(table: RouteTable, given: BinaryIO) -> Iterator[str]:
    """Yield the answers, each before the next range is looked at."""
    ranges = [Range(*values) for values in json.loads(given.readline())]
    batch = PointBatch.from_ipc(given.read())
    routes = {route_id: table.route(route_id) for route_id, _, _ in ranges}
    yield READY
    for route_id, start, stop in ranges:
        found = decide(routes[route_id], batch[start:stop])
        yield json.dumps([found.positions.tolist(), [failure[1:] for failure in found.failures]])


def read_answer(line: str, asked: Range) -> Decision:
    """Return what an answer says of a range, by rows of the batch."""
    positions, failures = json.loads(line)
    return Decision(
        np.array(positions, dtype=np.uint32) + np.uint32(asked.start),
        [Failure(asked.route_id, asked.start + row, *said) for row, *said in failures],
    )


# Conditions may print: their words go where errors go.
def _keep_answers_apart() -> BinaryIO:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


if __name__ == "__main__":
    main()
