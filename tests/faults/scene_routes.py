"""Routes of the fault suite: files with a ledger, and destinations that note or do what they are told."""

import json
import os
import resource
import signal
import threading
from pathlib import Path

from destinations import (
    CSVDestination,
    DataDestination,
    JSONLinesDestination,
    LLMTrainingDatasetDestination,
)
from router import PointBatch, Route, TerminalError, TransientError, UnavailableError
from tests.faults import broken

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])
NOTES = Path(os.environ["CANDLEFLEET_TEST_NOTES"])  #: what the recorder keeps, on a disk that never fills
TROUBLE = Path(os.environ["CANDLEFLEET_TEST_TROUBLE"])  #: what happens to the next writes, a file each

broken.apply(os.environ.get("CANDLEFLEET_TEST_BROKEN", ""))


class Recorder(DataDestination):
    """Keeps every row, as often as it is given it: route, batch, row, symbol, volume, and which write."""

    ordered = False

    def write_batch(self, batch: PointBatch) -> None:
        names = [(part.batch_id, int(row)) for part in batch.parts for row in part.rows.positions]
        write = os.urandom(8).hex()
        lines: dict[str, list[str]] = {}
        for (batch_id, row), point in zip(names, batch, strict=True):
            line = json.dumps([batch.route_id, batch_id, row, point.symbol, point.volume, write])
            lines.setdefault(point.source, []).append(line + "\n")
        for source, said in lines.items():
            with (NOTES / f"{source}.lines").open("a") as notes:
                notes.write("".join(said))


class Troubled(JSONLinesDestination):
    """JSON lines, each write of which meets the oldest trouble that lies in a folder, once."""

    def write_batch(self, batch: PointBatch) -> None:
        trouble = next((path for path in sorted(TROUBLE.iterdir()) if taken(path)), None)
        if trouble is not None:
            TROUBLES[trouble.suffix[1:]](self, batch)
        self.keep(batch)

    def keep(self, batch: PointBatch) -> None:
        """Write without trouble, but what is poison stays poison."""
        if poison := [symbol for symbol in batch.frame["symbol"].unique() if symbol in POISONS]:
            POISONS[poison[0]]()
        super().write_batch(batch)

    def unwritten(self, batch: PointBatch) -> list[int]:
        """Return the rows of a batch that the files do not hold: what is there already is never refused."""
        with self.ledger._opened():
            return self.ledger._compare(batch)[0].nonzero()[0].tolist()


def taken(path: Path) -> bool:
    """Take a trouble away; False if another process was faster."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def reset_before(destination: Troubled, batch: PointBatch) -> None:
    raise TransientError("connection reset before anything was sent")


def reset_after(destination: Troubled, batch: PointBatch) -> None:
    destination.keep(batch)
    raise TransientError("connection reset, outcome unknown")


def partly_written(destination: Troubled, batch: PointBatch) -> None:
    destination.keep(batch.slice(0, len(batch) // 2))
    raise TransientError("500 Internal Server Error")


def killed_after(destination: Troubled, batch: PointBatch) -> None:
    destination.ledger.commit(batch, destination._writes)
    os.kill(os.getpid(), signal.SIGKILL)


def unforeseen(destination: Troubled, batch: PointBatch) -> None:
    raise ConnectionResetError(104, "Connection reset by peer")


def away(destination: Troubled, batch: PointBatch) -> None:
    raise UnavailableError("503 Service Unavailable")


def away_for_a_while(destination: Troubled, batch: PointBatch) -> None:
    raise UnavailableError("429 Too Many Requests", retry_after=0.5)


def locked_out(destination: Troubled, batch: PointBatch) -> None:
    raise UnavailableError("401 Unauthorized")


def refused(destination: Troubled, batch: PointBatch) -> None:
    if destination.unwritten(batch):
        raise TerminalError("413 Content Too Large")


def refused_in_part(destination: Troubled, batch: PointBatch) -> None:
    if rows := destination.unwritten(batch)[::7]:
        destination.keep(batch.filter([row not in rows for row in range(len(batch))]))
        raise TerminalError("400 Bad Request", rows)


def slow(destination: Troubled, batch: PointBatch) -> None:
    threading.Event().wait(1.0)


TROUBLES = {
    act.__name__: act
    for act in (
        reset_before,
        reset_after,
        partly_written,
        killed_after,
        unforeseen,
        away,
        away_for_a_while,
        locked_out,
        refused,
        refused_in_part,
        slow,
    )
}


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def loop() -> None:
    while True:
        pass


def devour() -> None:
    usual = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (256 << 20), usual[1]))
    try:
        eaten = []
        while True:
            eaten.append(bytearray(16 << 20))
    finally:
        eaten.clear()
        resource.setrlimit(resource.RLIMIT_AS, usual)


POISONS = {"CRASH": crash, "LOOP": loop, "DEVOUR": devour}

notes = Recorder(name="notes")
routes = [
    Route(
        route_id="csv",
        condition="symbol <> 'S9'",
        destination=CSVDestination(EXPORTS / "csv", "{source}/{symbol}.csv"),
        retry_delay=0.2,
        max_retries=100,
    ),
    Route(
        route_id="jsonl",
        condition="symbol <> 'S9'",
        destination=JSONLinesDestination(EXPORTS / "jsonl", "{source}/{symbol}.jsonl"),
        batch_size=50,
        batch_timeout=1.0,
        retry_delay=0.2,
        max_retries=100,
    ),
    Route(route_id="notes", condition="symbol IN ('S0', 'S1', 'S2')", destination=notes, retry_delay=0.2),
    Route(
        route_id="limited",
        condition="symbol = 'S5'",
        destination=notes,
        rate_limit=500,
        retry_delay=0.2,
    ),
    Route(
        route_id="training",
        condition="symbol IN ('S1', 'S6')",
        destination=LLMTrainingDatasetDestination(EXPORTS / "training", context_window=5),
        retry_delay=0.2,
        max_retries=100,
    ),
    Route(
        route_id="troubled",
        condition="symbol IN ('S3', 'S4', 'CRASH', 'LOOP', 'DEVOUR')",
        destination=Troubled(EXPORTS / "troubled", "{source}/{symbol}.jsonl"),
        retry_delay=0.2,
        max_retries=5,
    ),
]
default_destination = JSONLinesDestination(EXPORTS / "default", "{source}/{symbol}.jsonl", name="default")
