"""What acceptance and fault tests share: processes that end, conditions waited for, a crew at work."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import polars as pl
import pytest

from destinations import load_routes
from router.table import RouteTable
from tests.acceptance.brokers import broker_of_the_run
from workers.embedded import EmbeddedRedis, end_with_parent
from workers.producer import Producer
from workers.report import Report, RouteReport, report
from workers.settings import settings
from workers.store import Store

T = TypeVar("T")

BIN = Path(sys.executable).parent
CANDLEFLEET = [str(BIN / "candlefleet")]
CELERY = [sys.executable, "-m", "celery", "-A", "workers"]
QUIET = ["--without-gossip", "--without-mingle", "-l", "INFO"]
#: Short waits, so that what a failure costs is seconds.
QUICK = {
    "CANDLEFLEET_LEASE": "1",
    "CANDLEFLEET_RETRY_CAP": "0.2",
    "CANDLEFLEET_TASK_TIME_LIMIT": "20",
    "CANDLEFLEET_VISIBILITY_TIMEOUT": "40",
}


# -- waiting -----------------------------------------------------------------------------------


def until(condition: Callable[[], T], what: str, within: float = 90.0, every: float = 0.02) -> T:
    """Return the first true answer of a condition; fail when there is none within so many seconds."""
    ends, never = time.monotonic() + within, threading.Event()
    while not (answer := condition()):
        assert time.monotonic() < ends, f"not within {within:g} s: {what}"
        never.wait(every)
    return answer


# -- processes ---------------------------------------------------------------------------------


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this process' environment without settings of a fleet, and with some changes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CANDLEFLEET_")}
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):  # compiling everything anew takes a process three seconds
        kept["PYTHONPYCACHEPREFIX"] = str(Path(sys.prefix) / "pycache")
    return kept | {"NO_COLOR": "1", "COLUMNS": "200"} | changes


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own, its words in a log, and stop all of it at the end."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd or log.parent,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any], within: float = 20.0) -> None:
    """End a process politely, and whatever is left of its group for good."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within)
    for pid in group(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    *,
    stdin: str = "",
    within: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it said."""
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        env=dict(environment),
        cwd=cwd,
        timeout=within,
        check=False,
    )


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it said, as a program reads it."""
        return json.loads(self.out)


def group(pid: int) -> list[int]:
    """Return the processes of a group that are alive."""
    return [one for one, (state, _, leader) in _processes().items() if leader == pid and state not in "ZX"]


def descendants(pid: int) -> list[int]:
    """Return the living processes that a process started, and those that they started."""
    table = _processes()
    found, seen = [pid], 0
    while seen < len(found):
        found += [one for one, (_, parent, _) in table.items() if parent == found[seen]]
        seen += 1
    return [one for one in found[1:] if table[one][0] not in "ZX"]


def pool(pid: int) -> list[int]:
    """Return the living processes in which a worker runs its tasks."""
    return [one for one in descendants(pid) if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    """Return whether a process is there and is more than a zombie."""
    return _processes().get(pid, ("X", 0, 0))[0] not in "ZX"


# By process id: state, parent, group.
def _processes() -> dict[int, tuple[str, int, int]]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent, leader = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                found[int(entry.name)] = state, int(parent), int(leader)
    return found


# -- files -------------------------------------------------------------------------------------


def files_under(folder: Path) -> list[Path]:
    """Return the data files under a folder, by name; a ledger beside them is none."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def json_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all files of JSON lines under a folder, file by file, line by line."""
    return [json.loads(line) for path in files_under(folder) for line in path.read_text().splitlines()]


# -- a crew ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crew:
    """One worker for every queue, and Beat, over a Redis and perhaps a RabbitMQ of their own."""

    url: str  #: of the Redis
    broker: str  #: of what carries the messages
    folder: Path
    exports: Path
    environment: Mapping[str, str]
    store: Store
    table: RouteTable
    producer: Producer
    pid: int  #: the worker's main process

    def report(self) -> Report:
        """Return what the fleet holds and owes now."""
        return report(self.store, self.table)

    def route(self, route_id: str) -> RouteReport:
        """Return what one route did so far."""
        return next(route for route in self.report().routes if route.route_id == route_id)

    def settled(self) -> Report:
        """Wait until nothing waits and nothing is owed; it must add up then."""
        until(lambda: self.report().at_rest, f"nothing is owed: {self.report()}")
        found = self.report()
        assert found.broken == []
        return found

    def deliver(self, points: Any, **options: Any) -> Report:
        """Send one batch and wait until nothing of it is owed."""
        self.producer.send_batch(points, **options)
        return self.settled()

    def letters(self, route_id: str) -> list[dict[str, Any]]:
        """Return the dead letters of a route, oldest first; '' for those refused at the door."""
        return [
            letter for letter in reversed(list(self.store.letters(1000))) if letter["route_id"] == route_id
        ]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return what lies in the JSON lines of a destination."""
        return json_rows(self.exports / name)

    def attempts(self, name: str) -> list[list[str]]:
        """Return the symbols of every write that a scripted destination was asked for, oldest first."""
        return [json.loads(line) for line in (self.exports / f"{name}.attempts").read_text().splitlines()]


@contextlib.contextmanager
def crew_at_work(
    folder: Path, routes: Path, without: Sequence[str] = (), broker: str = "", **changes: str
) -> Iterator[Crew]:
    """Start a crew and wait until it serves every route; stop it at the end, Redis last.

    Args:
        folder: Where everything lies that it writes.
        routes: The routes file.
        without: Destinations whose queues it leaves to others.
        broker: URL of what carries the messages; that of the run otherwise.
        changes: Settings other than those of `QUICK`.
    """
    exports = folder / "exports"
    with contextlib.ExitStack() as stack:
        exports.mkdir(parents=True)
        redis = stack.enter_context(EmbeddedRedis(folder, memory=256 << 20))
        broker = broker or stack.enter_context(broker_of_the_run(redis.url))
        environment = clean_environment(
            **urls(broker, redis.url),
            CANDLEFLEET_DIR=str(folder),
            CANDLEFLEET_ROUTES=str(routes),
            CANDLEFLEET_EXPORTS=str(exports),
            **QUICK | changes,
        )
        table = load_table(routes, exports)
        names = [name for name in table.destinations() if name not in without]
        queues = ",".join(["router", "maint", *(f"destinations.{name}" for name in names)])
        worker = [*CELERY, "worker", "-n", "crew@%h", "-Q", queues, "-c", "2", *QUIET]
        store = Store.connect(redis.url)
        stack.callback(store.redis.close)
        stack.callback(close_all, table)
        process = stack.enter_context(running(worker, folder / "worker.log", environment))
        stack.enter_context(running([*CELERY, "beat", "-l", "WARNING"], folder / "beat.log", environment))
        with configured(environment):
            producer = stack.enter_context(Producer(redis.url))
        wanted = {"@router", *(r for r in table.route_ids if table.destination_name(r) in names)}
        until(lambda: wanted <= set(store.served()), "every route is served")
        yield Crew(redis.url, broker, folder, exports, environment, store, table, producer, process.pid)


def urls(broker: str, redis: str) -> dict[str, str]:
    """Return the settings of a fleet with this broker, whose state this Redis holds."""
    state = {} if broker == redis else {"CANDLEFLEET_STATE_URL": redis}
    return {"CANDLEFLEET_BROKER_URL": broker} | state


def load_table(routes: Path, exports: Path) -> RouteTable:
    """Return the routes of a file whose destinations lie under a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANDLEFLEET_EXPORTS", str(exports))
        return load_routes(routes)


def close_all(table: RouteTable) -> None:
    """Close the destinations of a table, which reports open to read their ledgers."""
    for destination in table.destinations().values():
        destination.close()


@contextlib.contextmanager
def configured(environment: Mapping[str, str]) -> Iterator[pytest.MonkeyPatch]:
    """Let this process have the settings of an environment for a while."""
    wanted = clean_environment(**{n: v for n, v in environment.items() if n.startswith("CANDLEFLEET_")})
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield patch
    settings.cache_clear()


def frame_of_csv(folder: Path) -> pl.DataFrame:
    """Return all CSV files under a folder as Polars reads them, file by file."""
    return pl.concat([pl.read_csv(path, infer_schema_length=None) for path in files_under(folder)])
