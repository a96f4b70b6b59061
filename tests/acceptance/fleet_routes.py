"""Routes that see everything a fleet can meet; each takes the points of the source it is named after."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl

from destinations import CSVDestination, JSONLinesDestination
from router import (
    NormalizedDataPoint,
    PointBatch,
    Route,
    TerminalError,
    TransientError,
    UnavailableError,
)

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])

Script = Callable[[int, PointBatch], None]


class Scripted(JSONLinesDestination):
    """JSON lines, each write of which goes as a script says: it may raise, or worse.

    Writes are counted in a file: a count in memory would die with its process.
    """

    def __init__(self, name: str, script: Script) -> None:
        super().__init__(EXPORTS / name, "{symbol}.jsonl", name=name, durability="process")
        self._script = script

    def write_batch(self, batch: PointBatch) -> None:
        with (EXPORTS / f"{self.name}.attempts").open("a+") as attempts:
            attempts.write(json.dumps(batch.frame["symbol"].to_list()) + "\n")
            attempts.seek(0)
            attempt = len(attempts.readlines())
        self._script(attempt, batch)
        super().write_batch(batch)


class Choosy(Scripted):
    """Refuses the symbol BAD by row, and writes all others."""

    def __init__(self, name: str) -> None:
        super().__init__(name, works)

    def write_batch(self, batch: PointBatch) -> None:
        super().write_batch(batch.filter(pl.col("symbol") != "BAD"))
        if rows := [row for row, point in enumerate(batch) if point.symbol == "BAD"]:
            raise TerminalError("BAD is not listed here", rows)


def works(attempt: int, batch: PointBatch) -> None:
    """Write."""


def fails_twice(attempt: int, batch: PointBatch) -> None:
    """Fail the first two times."""
    if attempt <= 2:
        raise TransientError(f"connection reset in attempt {attempt}")


def always_fails(attempt: int, batch: PointBatch) -> None:
    """Never write."""
    raise TransientError(f"connection reset in attempt {attempt}")


def away_at_first(attempt: int, batch: PointBatch) -> None:
    """Be away for the first five times."""
    if attempt <= 5:
        raise UnavailableError("503 Service Unavailable", retry_after=0.05)


def refuses_batches_with_bad(attempt: int, batch: PointBatch) -> None:
    """Refuse any write with the symbol BAD in it, without saying why."""
    if "BAD" in batch.frame["symbol"]:
        raise TerminalError("400 Bad Request")


def dies_of_bad(attempt: int, batch: PointBatch) -> None:
    """Take the whole process down when the symbol BAD is written."""
    if "BAD" in batch.frame["symbol"]:
        os.kill(os.getpid(), signal.SIGKILL)


def is_mended(name: str) -> bool:
    """Tell whether somebody has mended what a route needs."""
    return (EXPORTS / f"{name}.mended").exists()


def refuses_until_mended(attempt: int, batch: PointBatch) -> None:
    """Refuse every row until somebody mends the destination."""
    if not is_mended("mended"):
        raise TerminalError("unknown table bars", list(range(len(batch))))


def away_until_mended(attempt: int, batch: PointBatch) -> None:
    """Be away until somebody mends the destination."""
    if not is_mended("brimful"):
        raise UnavailableError("503 Service Unavailable")


class Deaf(JSONLinesDestination):
    """Writes, and does not hear that it did, until somebody mends it."""

    def write_batch(self, batch: PointBatch) -> None:
        super().write_batch(batch)
        if not is_mended("deaf"):
            raise TransientError("connection reset after the write")


def is_answerable(point: NormalizedDataPoint) -> bool:
    """Tell points of even volume once somebody has mended this condition."""
    if point.source == "asked" and not is_mended("asked"):
        raise LookupError("the list of symbols is not there")
    return point.source == "asked" and point.volume % 2 == 0


def is_even_volume(point: NormalizedDataPoint) -> bool:
    """Tell points of even volume; an absent volume raises."""
    return point.source == "picky" and point.volume % 2 == 0


def reshape(point: NormalizedDataPoint) -> NormalizedDataPoint | None:
    """Drop points without a volume, fail for a volume of zero, give the others a volume of one."""
    if point.volume is None:
        return None
    return point.revised(volume=point.volume / point.volume)


routes = [
    Route(
        route_id="csv",
        condition="source in ('plain', 'quandl_wiki')",
        destination=CSVDestination(EXPORTS / "csv", "{symbol}_{timeframe}.csv", durability="process"),
    ),
    Route(
        route_id="jsonl",
        condition=pl.col("source").eq("plain") & (pl.col("close") > 100),
        destination=JSONLinesDestination(EXPORTS / "jsonl", "{symbol}.jsonl", durability="process"),
    ),
    Route(route_id="picky", condition=is_even_volume, destination=Scripted("picky", works)),
    Route(route_id="beside_picky", condition="source = 'picky'", destination=Scripted("beside_picky", works)),
    Route(
        route_id="reshaped",
        condition="source = 'reshaped'",
        transform=reshape,
        destination=Scripted("reshaped", works),
    ),
    Route(
        route_id="flaky",
        condition="source = 'flaky'",
        destination=Scripted("flaky", fails_twice),
        retry_delay=0.05,
    ),
    Route(
        route_id="hopeless",
        condition="source = 'hopeless'",
        destination=Scripted("hopeless", always_fails),
        max_retries=2,
        retry_delay=0.05,
    ),
    Route(
        route_id="once",
        condition="source = 'once'",
        destination=Scripted("once", always_fails),
        retry_on_failure=False,
    ),
    Route(
        route_id="away",
        condition="source = 'away'",
        destination=Scripted("away", away_at_first),
        max_retries=0,
        retry_delay=0.05,
    ),
    Route(route_id="choosy", condition="source = 'choosy'", destination=Choosy("choosy")),
    Route(
        route_id="sealed",
        condition="source = 'sealed'",
        destination=Scripted("sealed", refuses_batches_with_bad),
    ),
    Route(
        route_id="mended",
        condition="source = 'mended'",
        destination=Scripted("mended", refuses_until_mended),
    ),
    Route(
        route_id="deaf",
        condition="source = 'deaf'",
        destination=Deaf(EXPORTS / "deaf", "{symbol}.jsonl", name="deaf", durability="process"),
        retry_on_failure=False,
    ),
    Route(
        route_id="brimful",
        condition="source = 'brimful'",
        destination=Scripted("brimful", away_until_mended),
        max_owed=100,
        at_max_owed="dead_letter",
    ),
    Route(route_id="asked", condition=is_answerable, destination=Scripted("asked", works)),
    # The crew leaves this one's queue to whoever starts a worker for it.
    Route(
        route_id="late",
        condition="source = 'late'",
        destination=JSONLinesDestination(EXPORTS / "late", "{symbol}.jsonl", name="late"),
    ),
    Route(route_id="deadly", condition="source = 'deadly'", destination=Scripted("deadly", dies_of_bad)),
]
default_destination = JSONLinesDestination(
    EXPORTS / "default", "{symbol}.jsonl", name="default", durability="process"
)
