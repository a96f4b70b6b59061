"""A whole fleet on one machine: broker, router, a worker for each destination, Beat and Flower."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from destinations import load_routes
from router.errors import ConfigError
from router.table import RouteTable
from workers.broker import check, client, queue
from workers.embedded import EmbeddedRedis, end_with_parent
from workers.envelope import QUEUE
from workers.open_destinations import check_destinations
from workers.settings import Settings
from workers.store import Store

_STARTED_WITHIN: Final = 90.0  #: seconds
_STOPPED_WITHIN: Final = 20.0  #: seconds a process may take to finish what it has in hand
_RESTART_PAUSE: Final = 1.0  #: seconds before a process that ended is started again


@dataclass(slots=True)
class Member:
    """One process of the fleet."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0


class Fleet:
    """Starts a fleet, keeps its processes running, and stops what it started, by process id.

    Args:
        settings: Where the files are, and which broker; without one an embedded Redis is started.
        concurrency: Processes of each destination's worker.
        flower: Whether to serve Flower on loopback.
    """

    def __init__(self, settings: Settings, *, concurrency: int = 1, flower: bool = True) -> None:
        self.settings = settings
        self.folder = settings.dir.resolve()
        self.table: RouteTable = load_routes(settings.routes)
        self.members: list[Member] = []
        self.url = ""  #: of the Redis that holds the state
        self._concurrency = concurrency
        self._flower = flower
        self._redis: EmbeddedRedis | None = None
        self._lock: IO[str] | None = None

    @property
    def broker_url(self) -> str:
        """The URL of what carries the messages."""
        return self.settings.rabbitmq or self.url

    # -- starting -----------------------------------------------------------------------------

    def start(self, progress: Callable[[str], None] = lambda _: None) -> Store:
        """Start everything and wait until every route is served; return the fleet's store.

        Raises:
            ConfigError: Another fleet runs in the folder, a destination could not be written, or a process
                could not start (see its log).
        """
        self._take_folder()
        check_destinations(self.table, self.table.destinations())
        progress("starting Redis")
        self._start_redis()
        store = Store.connect(self.url, memory=self.settings.memory, remember=self.settings.remember)
        store.check(volatile=self.settings.volatile)
        check(self.broker_url)
        store.open_doors()
        since = store.now()
        progress("starting workers")
        for name, command in self._commands():
            self._spawn(name, command)
        self._wait_until_served(store, since, self._send_canaries(), progress)
        return store

    # A canary that was sung has been through broker, worker and pool process: nothing is left to warm up.
    def _send_canaries(self) -> set[str]:
        queues = ["router", *(f"destinations.{name}" for name in self.table.destinations())]
        with client(self.broker_url) as sender:
            for name in queues:
                sender.send_task("maint.canary", (f"!{name}",), queue=queue(name), ignore_result=True)
        return {f"!{name}" for name in queues}

    def _take_folder(self) -> None:
        (self.folder / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "fleet.running",
                str(self.settings.dir),
                "a fleet already runs here: stop it, or set CANDLEFLEET_DIR to another folder",
            ) from None

    def _start_redis(self) -> None:
        if self.settings.redis is not None:
            self.url = self.settings.redis
            return
        self._redis = EmbeddedRedis(self.folder, self.settings.memory)
        self.url = self._redis.start()

    def _commands(self) -> list[tuple[str, list[str]]]:
        celery = [sys.executable, "-m", "celery", "-A", "workers"]
        quiet = ["--without-gossip", "--without-mingle", "-E", "-l", "INFO"]
        commands = [
            ("router", [*celery, "worker", "-Q", "router,maint", "-n", "router@%h", "-c", "1", *quiet])
        ]
        for name in self.table.destinations():
            worker = [
                "worker",
                "-Q",
                f"destinations.{name}",
                "-n",
                f"{name}@%h",
                "-c",
                str(self._concurrency),
            ]
            commands.append((name, [*celery, *worker, *quiet]))
        if self.settings.door:
            commands.append((QUEUE, [*celery, "worker", "-Q", QUEUE, "-n", f"{QUEUE}@%h", "-c", "1", *quiet]))
        commands.append(("beat", [*celery, "beat", "-l", "WARNING"]))
        if self._flower:
            flower = ["flower", "--address=127.0.0.1", f"--port={self.settings.flower_port}"]
            commands.append(("flower", [*celery, *flower]))
        return commands

    def _spawn(self, name: str, command: list[str], restarts: int = 0) -> None:
        environment = os.environ | {
            "CANDLEFLEET_DIR": str(self.folder),
            "CANDLEFLEET_ROUTES": str(self.settings.routes.resolve()),
        }
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C comes to us alone; we stop them in order
                preexec_fn=end_with_parent,
            )
        self.members.append(Member(name, command, process, time.monotonic(), restarts))

    def log(self, name: str) -> Path:
        """Return where a process writes what it has to say."""
        return self.folder / "logs" / f"{name}.log"

    def _wait_until_served(
        self, store: Store, since: float, canaries: set[str], progress: Callable[[str], None]
    ) -> None:
        wanted = canaries | {route.route_id for route in self.table.by_priority()}
        wanted |= {f"@{QUEUE}"} if self.settings.door else set()
        ends = time.monotonic() + _STARTED_WITHIN
        while missing := wanted - {name for name, at in store.served().items() if at >= since}:
            for member in self.members:
                if member.process.poll() is not None:
                    raise ConfigError("fleet.start", member.name, self._last_words(member.name))
            if time.monotonic() > ends:
                raise ConfigError(
                    "fleet.start",
                    ", ".join(sorted(missing)),
                    f"not ready after {_STARTED_WITHIN:g} s: see {self.folder / 'logs'}",
                )
            progress(f"waiting for {len(missing)} of {len(wanted)} workers and routes")
            time.sleep(0.1)

    def _last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").strip().splitlines()
        return f"ended at once: {lines[-1] if lines else 'it said nothing'} (see {self.log(name)})"

    # -- running and stopping -----------------------------------------------------------------

    def mend(self) -> list[str]:
        """Start again whatever ended by itself; return the names."""
        mended = ["redis"] if self._redis is not None and self._redis.mend() else []
        for member in list(self.members):
            if member.process.poll() is not None and time.monotonic() - member.started > _RESTART_PAUSE:
                self.members.remove(member)
                self._spawn(member.name, member.command, member.restarts + 1)
                mended.append(member.name)
        return mended

    def stop(self) -> None:
        """Stop every process, workers first and Redis last. Safe to call twice."""
        for member in self.members:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + _STOPPED_WITHIN
        for member in self.members:
            try:
                member.process.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill_group(member.process)
        self.members.clear()
        if self._redis is not None:
            self._redis.stop()
            self._redis = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


# Each member leads a session of its own, so its process group holds it and its pool, and nobody else.
def _kill_group(process: subprocess.Popen[Any]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
