"""Start a real fleet in a temporary folder, feed it, and see what it wrote."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.bars import make_bars
from benchmarks.progress import say
from benchmarks.server import temporary_folder
from benchmarks.timing import environment
from destinations.records import Durability
from router.batch import PointBatch
from workers.producer import Producer
from workers.report import report
from workers.settings import Settings
from workers.store import PREFIX, Store
from workers.supervisor import Fleet

ROUTES: Final = Path(__file__).parent / "routes.py"
_DAY: Final = timedelta(days=1)
PATIENCE: Final = 180.0  #: seconds until a fleet that is not at rest counts as broken
WARM_ROWS: Final = 40  #: rows sent before the clock runs: files of each kind are opened, modules imported


@dataclass(frozen=True, slots=True)
class Bench:
    """A fleet that runs, has written `WARM_ROWS`, and is at rest."""

    fleet: Fleet
    store: Store
    out: Path
    sent: Counter[str] = field(default_factory=Counter)

    @property
    def written(self) -> Path:
        """Where the timed destination notes when it wrote what."""
        return self.out / "written.jsonl"

    def send(self, batches: Iterable[PointBatch]) -> float:
        """Send batches and wait until all are settled; return the seconds that took."""
        with Producer(self.fleet.url) as producer:
            began = time.perf_counter()
            for batch in batches:
                producer.send_batch(batch)
            self.rest()
            return time.perf_counter() - began

    def rest(self) -> None:
        """Wait until nothing waits and nothing is owed, without loading Redis.

        Raises:
            RuntimeError: It takes too long, or the fleet's accounts do not add up.
        """
        ends = time.monotonic() + PATIENCE
        while not self._is_done():
            if time.monotonic() > ends:
                raise RuntimeError(f"not at rest after {PATIENCE:g} s: {report(self.store)}")
            time.sleep(0.01)
        state = report(self.store, self.fleet.table)
        if not state.at_rest or state.broken:
            raise RuntimeError(f"the fleet's accounts are wrong: {state}")

    # Three counters of one instant: the report counts every debt anew, which is no way to pass the time.
    def _is_done(self) -> bool:
        with self.store.redis.pipeline(transaction=True) as pipe:
            pipe.hmget(f"{PREFIX}totals", "waiting")
            for route_id in self.fleet.table.route_ids:
                pipe.hmget(f"{PREFIX}route:{route_id}", "pending", "parted")
            return not any(int(number or 0) for answer in pipe.execute() for number in answer)

    def unseen(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return the bars on days that were never sent here, so that they need files of their own."""
        days = self.sent["runs"] * (bars["timestamp"].max() - bars["timestamp"].min() + _DAY).days
        return bars.with_columns(pl.col("timestamp") + timedelta(days=days))

    def check(self, sent: int, longer: int) -> None:
        """Count the rows in the files, those of earlier calls included.

        Raises:
            RuntimeError: They do not hold every row sent (`longer`: those for the second route), once.
        """
        self.sent.update(runs=1, csv=sent, jsonl=longer)
        found = (count_rows(self.out / "csv", header=True), count_rows(self.out / "jsonl"))
        if found != (self.sent["csv"], self.sent["jsonl"]):
            raise RuntimeError(f"the files hold {found} rows, not {dict(self.sent)}")


@contextmanager
def running(durability: Durability, *, timed: bool = False, routes: Path = ROUTES) -> Iterator[Bench]:
    """Start Redis, router, destination workers and Beat; stop them and remove everything afterwards.

    What the processes said last is printed if anything fails, since their logs are removed too.
    """
    with temporary_folder() as folder:
        out = folder / "out"
        out.mkdir()
        variables = {"BENCH_OUT": out, "BENCH_DURABILITY": durability}
        if timed:
            variables["BENCH_WRITTEN"] = out / "written.jsonl"
        settings = Settings(dir=folder / "fleet", routes=routes, broker_url=None, door=False)
        with environment(**variables), Fleet(settings, flower=False) as fleet:
            try:
                bench = Bench(fleet, fleet.start(), out)
                bench.send([PointBatch(make_bars(WARM_ROWS, mixed=True).with_columns(symbol=pl.lit("WARM")))])
                bench.check(WARM_ROWS, WARM_ROWS * 3 // 4)
                yield bench
            except Exception:
                _say_last_words(fleet.folder / "logs")
                raise


def _say_last_words(logs: Path) -> None:
    for log in sorted(logs.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines()[-5:]:
            say(f"{log.stem}: {line}")


def count_rows(folder: Path, *, header: bool = False) -> int:
    """Return how many lines the visible files of a folder hold, without their headers."""
    files = [path for path in folder.glob("*") if not path.name.startswith(".")]
    return sum(path.read_bytes().count(b"\n") - header for path in files)
