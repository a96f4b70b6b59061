"""The scene of the faults: a real fleet over a real Redis, points that keep flowing, and what mends both."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from router.errors import FleetUnreachableError
from tests.acceptance.brokers import over_rabbitmq
from tests.acceptance.fleet_fixture import alive, close_all, configured, descendants, until, urls
from tests.faults import disks
from tests.faults.mail import RabbitMail, RedisMail
from tests.faults.producing import ProducerProcess
from tests.faults.proxy import Proxy
from tests.servers.rabbitmq import RabbitMQ, own_rabbitmq
from workers.embedded import EmbeddedRedis
from workers.report import Report, report
from workers.settings import settings
from workers.store import PREFIX, Store
from workers.supervisor import Fleet

T = TypeVar("T")

#: Where this code lies: workers read routes that import from it.
REPOSITORY: Final = Path(__file__).parents[2]
LEASE: Final = 2.0
#: Seconds within which everything is delivered after the last fault, without a hand.
DRAINED_WITHIN: Final = LEASE + 30.0
#: Seconds after which what is not delivered is taken to wait for ever.
PATIENCE: Final = 2 * DRAINED_WITHIN
#: Every script, before and after; the producer, the router, the workers and their children all pass some.
SCRIPTS: Final = (
    *("accept", "take", "match", "cut", "claim", "renew", "settle", "nack", "pause", "sweep"),
    *("release", "holders", "advertise"),
)
POINTS: Final = (
    *(f"{script}.{when}" for script in SCRIPTS for when in ("before", "after")),
    *("write.before", "write.after", "nudge.before"),
)


class Throughput(NamedTuple):
    """Points a second of one route: as usual, and while another destination was frozen."""

    route_id: str
    usual: float
    meanwhile: float


class Feeder(threading.Thread):
    """Keeps batches flowing from a producer in a process of its own, for one source at a time."""

    def __init__(self, producer: ProducerProcess, dice: random.Random) -> None:
        super().__init__(name="feeder")
        self.producer = producer
        self.source = ""
        self.sent = 0
        self.pace = 0.1  #: seconds between two batches
        self.names: list[tuple[str, range]] = []
        self._dice = dice
        self._flowing = threading.Event()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self.pace):
            with self._lock:
                self.producer.mend()
                if self._flowing.is_set() and self.producer.unacknowledged() < 4:
                    self._send(self._dice.randint(10, 60))

    def _send(self, points: int) -> None:
        rows = range(self.sent, self.sent + points)
        name = f"{self.source}-{len(self.names)}"
        self.names.append((name, rows))
        self.sent = rows.stop
        self.producer.send(name, rows, self.source)

    def begin(self, source: str) -> None:
        """Let points of a new source flow."""
        with self._lock:
            self.source, self.sent, self.names = source, 0, []
        self._flowing.set()

    def pause(self) -> None:
        """Send nothing new; what is on its way goes on."""
        self._flowing.clear()
        with self._lock:
            pass

    def resume(self) -> None:
        """Send on."""
        self._flowing.set()

    def unacknowledged(self) -> int:
        """Return how many batches are on their way."""
        with self._lock:
            return self.producer.unacknowledged()

    def again(self, name: str, rows: range) -> None:
        """Send a batch of the present source once more, under its name."""
        with self._lock:
            self.producer.send(name, rows, self.source)

    def reserve(self, points: int) -> range:
        """Return the numbers of so many points that somebody else will send."""
        with self._lock:
            rows = range(self.sent, self.sent + points)
            self.sent = rows.stop
            return rows

    def restart(self, environment: Mapping[str, str]) -> None:
        """Start the producer anew, with other variables."""
        with self._lock:
            self.producer.environment = dict(environment)
            self.producer.process.kill()
            self.producer.process.wait()
            self.producer.mend()

    def close(self) -> None:
        self._ended.set()
        if self.is_alive():
            self.join()
        self.producer.close()


class Scene:
    """A fleet under fire, kept running as `candlefleet up` would, and everything a fault may lay hands on.

    Args:
        folder: Where everything lies.
        dice: Chance.
        without: A rule that is left out, see `tests.faults.broken`.
        small_disks: Put files and append-only file on small disks of their own; needs root.
    """

    def __init__(
        self, folder: Path, dice: random.Random, *, small_disks: bool = False, without: str = ""
    ) -> None:
        self.folder, self.dice, self.without = folder, dice, without
        self.exports, self.notes = folder / "exports", folder / "notes"
        self.trouble, self.fired, self.logs = folder / "trouble", folder / "fired", folder / "fleet" / "logs"
        for place in (self.exports, self.notes, self.trouble, self.fired, self.logs, folder / "redis"):
            place.mkdir(parents=True, exist_ok=True)
        for point in POINTS:
            (self.fired / point).touch()
        self.staff_environment: dict[str, str] = {}
        self.redis_environment: dict[str, str] = {}
        self.frozen: list[Throughput] = []
        self.resting: set[str] = set()  #: members that stay away when they ended
        self.leaving: set[int] = set()  #: main processes that were asked to stop
        self.rabbitmq: RabbitMQ | None = None  #: where that is the broker
        self._stack = contextlib.ExitStack()
        self._mending = threading.Lock()
        self._closing = threading.Event()
        self._ended = threading.Event()
        try:
            self._start(small_disks)
        except BaseException:
            self.close()
            raise

    def _start(self, small_disks: bool) -> None:
        if small_disks:
            for place in (self.exports, self.folder / "redis"):
                self._stack.enter_context(disks.small_disk(place))
        self.redis = EmbeddedRedis(self.folder, memory=256 << 20)
        self._stack.callback(self.redis.stop)  # first: who is asked to stop meanwhile leaves no server behind
        self.redis.start()
        self.proxy = Proxy(urlsplit(self.redis.url).port)
        self._stack.callback(self.proxy.close)
        url = self.redis.url.replace(f":{urlsplit(self.redis.url).port}/", f":{self.proxy.port}/")
        if over_rabbitmq():
            self.rabbitmq = self._stack.enter_context(own_rabbitmq())
        self.broker_url = self.rabbitmq.url if self.rabbitmq else url
        self._stack.enter_context(configured(self._environment(url)))
        self.fleet = Fleet(settings(), flower=False)
        self._stack.callback(close_all, self.fleet.table)
        self._stack.callback(self.fleet.stop)
        self.fleet.start().redis.close()
        self.store = Store.connect(self.redis.url)
        self._stack.callback(self.store.redis.close)
        self.mail = RabbitMail(self.broker_url) if self.rabbitmq else RedisMail(self.store)
        self.feeder = Feeder(ProducerProcess(os.environ, self.logs / "producer.log"), self.dice)
        self._stack.callback(self.feeder.close)
        self.feeder.start()
        # It outlives what it starts: Linux ends a child with the thread that made it.
        self._mender = threading.Thread(target=self._mend, name="mender")
        self._mender.start()

    def _environment(self, url: str) -> dict[str, str]:
        return {
            **urls(self.broker_url, url),
            "CANDLEFLEET_DIR": str(self.folder / "fleet"),
            "CANDLEFLEET_ROUTES": str(Path(__file__).with_name("scene_routes.py")),
            "CANDLEFLEET_EXPORTS": str(self.exports),
            "CANDLEFLEET_LEASE": f"{LEASE:g}",
            "CANDLEFLEET_RETRY_CAP": "2",
            "CANDLEFLEET_TASK_TIME_LIMIT": "8",
            "CANDLEFLEET_VISIBILITY_TIMEOUT": "15",
            "CANDLEFLEET_DOOR": "false" if self.without else "true",
            "CANDLEFLEET_FAILPOINTS": ",".join(f"{point}=kill" for point in POINTS),
            "CANDLEFLEET_FAILPOINTS_FIRED": str(self.fired),
            "CANDLEFLEET_TEST_BROKEN": self.without,
            "CANDLEFLEET_TEST_NOTES": str(self.notes),
            "CANDLEFLEET_TEST_TROUBLE": str(self.trouble),
        }

    # -- keeping it running -------------------------------------------------------------------

    def _mend(self) -> None:
        while not self._ended.wait(0.1):
            if not self._closing.is_set():
                with self._mending:
                    self.mend()

    def mend(self) -> None:
        """Start again what ended, as a supervisor does."""
        with environment(self.redis_environment):
            if "redis" not in self.resting:
                self.redis.mend()
        away = [member for member in self.fleet.members if member.name in self.resting]
        for member in away:
            self.fleet.members.remove(member)
        with environment(self.staff_environment):
            self.fleet.mend()
        self.fleet.members.extend(away)

    @contextlib.contextmanager
    def unmended(self) -> Iterator[None]:
        """Let nobody start anything for a while."""
        with self._mending:
            yield

    def restaff(self, **changes: str) -> None:
        """Start every worker, Beat and the producer anew, with other variables in their environment."""
        with self.unmended():
            self.staff_environment = changes
            since = self.store.now()
            for member in self.fleet.members:
                kill_family(member.process.pid)
        self.feeder.restart(os.environ | changes)
        wanted = {route.route_id for route in self.fleet.table.by_priority()} | {"@router"}
        until(
            lambda: wanted <= {name for name, at in self.store.served().items() if at > since},
            "every route is served again",
        )

    def close(self) -> None:
        """Stop everything, by process id."""
        self._closing.set()
        with self._mending:
            for member in self.fleet.members if hasattr(self, "fleet") else ():
                for pid in family(member.process.pid):  # what was stopped cannot end
                    send_signal(pid, signal.SIGCONT)
            self._stack.close()
        self._ended.set()
        if hasattr(self, "_mender"):
            self._mender.join()

    # -- who is there -------------------------------------------------------------------------

    @property
    def workers(self) -> list[str]:
        """The names of the workers, the router first."""
        return [member.name for member in self.fleet.members if member.name != "beat"]

    def leader(self, name: str) -> int:
        """Return the process id of a member that is alive, once it is."""

        def found() -> int | None:
            pids = [member.process.pid for member in self.fleet.members if member.name == name]
            return next((pid for pid in pids if alive(pid)), None)

        return until(found, f"{name} is there", every=0.01)

    def child(self, name: str) -> int:
        """Return the process id of the pool process of a worker, once it has one."""
        return until(lambda: next(iter(children(self.leader(name))), None), f"{name} has a pool", every=0.01)

    def busy_child(self, name: str, within: float = 3.0) -> int:
        """Return the pool process of a worker, caught in the middle of a part if it has one soon."""
        ends = time.monotonic() + within
        while time.monotonic() < ends:
            child = self.child(name)
            if child in self.holders():
                return child
            threading.Event().wait(0.002)
        return self.child(name)

    def holders(self) -> list[int]:
        """Return the processes that hold a part."""
        try:
            return [int(token.split("/")[1]) for token in self.store.holders().values()]
        except FleetUnreachableError:
            return []

    # -- what it does -------------------------------------------------------------------------

    def report(self) -> Report:
        """Return what the fleet holds and owes now."""
        return report(self.store, self.fleet.table)

    def answered(self, look: Callable[[], T]) -> T | None:
        """Return what Redis says; None while it is away."""
        try:
            return look()
        except FleetUnreachableError:
            return None

    def redis_is_back(self) -> None:
        """Wait until Redis answers, and has loaded what it holds."""
        until(lambda: self.answered(self.store.served), "Redis answers", every=0.02)

    def in_flight(self) -> int:
        """Return the points that the fleet accepted and somebody still waits for."""
        found = self.answered(self.store.snapshot)
        if found is None:
            return 0
        owed = sum(route["owed_pending"] + route["owed_parts"] for route in found["routes"].values())
        return int(found["unrouted"] + owed)

    def errors(self) -> list[str]:
        """Return what the last attempts of parts not yet delivered ran into."""
        parts = self.answered(lambda: self.store.redis.zrange(f"{PREFIX}parts", 0, -1)) or []
        found = [self.store.redis.hget(f"{PREFIX}part:{part.decode()}", "error") for part in parts]
        return [error.decode() for error in found if error]

    def throughput(self, seconds: float) -> dict[str, float]:
        """Return the points a second that each route delivers meanwhile."""
        before = {route.route_id: route.delivered for route in self.report().routes}
        self.rest(seconds)
        return {
            route.route_id: (route.delivered - before[route.route_id]) / seconds
            for route in self.report().routes
        }

    def worker_environment(self) -> dict[str, str]:
        """Return the environment of a worker of this fleet."""
        return dict(os.environ) | self.staff_environment

    def caught_working(self) -> None:
        """Wait until points are on their way."""
        until(self.in_flight, "points are on their way", every=0.005)

    def rest(self, seconds: float) -> None:
        """Let the fault last."""
        threading.Event().wait(seconds)

    @contextlib.contextmanager
    def apart(self, points: int) -> Iterator[range]:
        """Give the numbers of some points for somebody else to send; nothing else is sent meanwhile."""
        self.feeder.pause()
        until(lambda: not self.feeder.unacknowledged(), "what was sent is acknowledged", every=0.005)
        yield self.feeder.reserve(points)
        self.feeder.resume()

    def letters_kept(self) -> int:
        """Return how many dead letters there are."""
        return int(self.store.redis.xlen(f"{PREFIX}dead"))

    def drain(self, patience: float = PATIENCE) -> float | None:
        """Return the seconds until everything sent is delivered; None if it never is."""
        began = time.monotonic()
        self.feeder.pause()

        def at_rest() -> bool:
            found = None if self.feeder.unacknowledged() else self.answered(self.report)
            return found is not None and found.at_rest

        try:
            until(at_rest, "everything is delivered", within=patience, every=0.05)
        except AssertionError:
            return None
        return time.monotonic() - began

    def plan_trouble(self, kind: str) -> Path:
        """Let the next write to the destination `troubled` meet a trouble; its file is gone when it has."""
        path = self.trouble / f"{time.monotonic_ns():020}.{kind}"
        path.touch()
        return path

    def arm(self, point: str) -> Path:
        """Arm a fail point; its file is back when it has fired."""
        marker = self.fired / point
        marker.unlink(missing_ok=True)
        return marker


@contextlib.contextmanager
def environment(changes: dict[str, str]) -> Iterator[None]:
    """Let processes that are started now have these variables."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def children(pid: int) -> list[int]:
    """Return the pool processes of a worker."""
    return [one for one in descendants(pid) if b"spawn_main" in _command(one)]


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *descendants(pid)]


def kill_family(pid: int) -> None:
    """Kill a process and all below it."""
    for one in family(pid):
        send_signal(one, signal.SIGKILL)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
