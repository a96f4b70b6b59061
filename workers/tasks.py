"""The tasks: router.route, deliver.<route>, maint.sweep; each says "look", and does what waits."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import ceil
from typing import Any, Final

from celery import Task, chord, current_app, shared_task
from celery.canvas import Signature
from celery.signals import beat_init, celeryd_init, worker_process_init, worker_process_shutdown, worker_ready
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from destinations import load_routes
from router.errors import CandlefleetError, ConfigError
from router.names import nearest
from router.route import Route
from router.table import RouteTable
from workers.broker import check, priority, queue
from workers.deliveries import Again
from workers.embedded import end_with_parent
from workers.envelope import QUEUE
from workers.failpoints import reach
from workers.ingest import Ingest
from workers.journey import Journey
from workers.open_destinations import check_destinations
from workers.records import Nudge
from workers.settings import broker_beside, require_state_url, settings
from workers.store import Store
from workers.unknown_routes import warn

logger = logging.getLogger(__name__)

#: Retries of one message; after them the sweep nudges the part.
MOST_NUDGES: Final = 20
#: Seconds between two sweeps while a route has a rate_limit.
LIMITED_TICK: Final = 0.25
#: Seconds: a retry that is due later than that waits in Redis.
LONGEST_RETRY: Final = 10.0
#: How much of a task's time a suspected batch may be tried for.
TRIAL_SHARE: Final = 0.7
#: Seconds until the message of a worker that died is sent again; Celery's own 180 cannot be set otherwise.
LOST_DELAY: Final = 1


@cache
def table() -> RouteTable:
    """Return the routes of `CANDLEFLEET_ROUTES`.

    Raises:
        SystemExit: They cannot be used; a worker without routes would only lose time.
    """
    try:
        return load_routes(settings().routes)
    except ConfigError as error:
        raise SystemExit(f"candlefleet: {error}") from None


@cache
def store() -> Store:
    """Return this process' connection to the fleet's state."""
    s = settings()
    return Store.connect(require_state_url(), memory=s.memory, remember=s.remember)


@cache
def journey() -> Journey:
    """Return what the tasks of this process work with."""
    s = settings()
    trial = TRIAL_SHARE * s.task_time_limit
    return Journey(
        store(), table(), Messages(), lease=s.lease, retry_cap=s.retry_cap, trial=trial, folder=s.dir
    )


class Messages:
    """Sends Celery messages that say "look"; the parts of a flush of several go as a chord."""

    def router(self) -> None:
        """Ask the router to look at what waits."""
        reach("nudge.before")
        with _let_go():
            current_app.send_task("router.route", ignore_result=True)

    def stream(self) -> None:
        """Ask for a look at the stream that others write to."""
        with _let_go():
            current_app.send_task("router.ingest", ignore_result=True)

    def parts(self, nudges: Sequence[Nudge], *, whole_flush: bool = False) -> None:
        """Ask for a look at these parts, which may be all parts of one flush."""
        reach("nudge.before")
        with _let_go():
            self._send(nudges, whole_flush)

    @staticmethod
    def _send(nudges: Sequence[Nudge], whole_flush: bool) -> None:
        if whole_flush and len(nudges) > 1:
            route_id, flush = nudges[0].route_id, nudges[0].flush
            body = _message(f"flushed.{route_id}", route_id, (flush,), immutable=True)
            chord([_deliver_message(nudge, ignore_result=False) for nudge in nudges])(body)
            return
        for nudge in nudges:
            _deliver_message(nudge).apply_async()


# What could not be sent was only a nudge: the next sweep does what the message would have.
@contextmanager
def _let_go() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        logger.warning("Fleet not nudged: %s", error)


def _deliver_message(nudge: Nudge, *, ignore_result: bool = True) -> Signature:
    message = _message(f"deliver.{nudge.route_id}", nudge.route_id, (nudge.part_id,))
    return message.clone(kwargs={"rows": nudge.rows}, ignore_result=ignore_result)


def _message(task: str, route_id: str, args: tuple[str, ...], **options: Any) -> Signature:
    return current_app.signature(
        task,
        args,
        queue=_queue(route_id),
        priority=_priority(route_id),
        **options,
    )


def served_by(queues: Iterable[str]) -> list[str]:
    """Return what a worker of these queues serves: `@` and the queue for each, and the ids of its routes."""
    names = list(queues)
    routes = [route.route_id for route in table().by_priority() if _queue(route.route_id).name in names]
    return [f"@{name}" for name in names] + routes


@cache
def _priority(route_id: str) -> int:
    return priority(table().route(route_id).priority, broker_beside(require_state_url()))


@cache
def _queue(route_id: str) -> Queue:
    return queue(f"destinations.{table().destination_name(route_id)}")


@shared_task(name="router.route")
def route() -> int:
    """Match every batch that waits; return the number of points routed."""
    return journey().route()


@shared_task(name="router.ingest")
def ingest() -> int:
    """Take what others put into the stream; return the number of entries taken."""
    return Ingest(store(), Messages()).run()


@shared_task(name="maint.sweep", send_events=False)
def sweep() -> int:
    """Nudge whatever seems to have lost its nudge; return how many."""
    return journey().sweep()


@shared_task(name="maint.canary")
def canary(name: str) -> None:
    """Sing: whoever sent this sees the name among those served, and knows that the queue lives."""
    store().advertise([name])


def _deliver(self: Task, part_id: str, rows: int = 0) -> int:
    """Deliver one part; return the number of points written. `rows` is for people who watch."""
    route_id = self.name.removeprefix("deliver.")
    try:
        return journey().deliver(route_id, part_id, closes=self.request.chord is None)
    except Again as again:
        if again.delay > LONGEST_RETRY or self.request.retries >= MOST_NUDGES:
            return 0  # it waits in Redis, not in a worker's memory: the sweep nudges it when it is due
        part, kwargs = (again.part_id,), {"rows": again.rows}
        raise self.retry(part, kwargs, countdown=again.delay, exc=again) from again


def _flushed(self: Task, flush: str) -> None:
    """Close a flush whose parts are settled, and cut the next; the flush is named for people who watch."""
    journey().cut([self.name.removeprefix("flushed.")])


class _EveryTickIsNotNews(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop Celery's lines about sweeps that went well: two a second would hide all others."""
        return record.levelno > logging.INFO or getattr(record, "data", {}).get("name") != sweep.name


for _name in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_name).addFilter(_EveryTickIsNotNews())


def _register(known: Route) -> None:
    options = {"bind": True, "max_retries": MOST_NUDGES, "default_retry_delay": LOST_DELAY}
    shared_task(name=f"deliver.{known.route_id}", rate_limit=_fence(known), **options)(_deliver)
    shared_task(name=f"flushed.{known.route_id}", bind=True)(_flushed)


# The limit is kept by `cut`, whose messages hold a point at least: twice as many can only be repeats.
def _fence(known: Route) -> str | None:
    return None if known.rate_limit is None else f"{2 * ceil(known.rate_limit)}/s"


def tick(routes: Iterable[Route]) -> float:
    """Return the seconds between two sweeps: a quarter of the shortest batch_timeout, but from 0.1 to 1.

    For a route with a rate_limit it is at most a quarter of a second, so that its points come evenly.
    """
    waits = [route.batch_timeout / 4 for route in routes if route.batch_size and route.batch_timeout]
    limits = [LIMITED_TICK for route in routes if route.rate_limit is not None]
    return min(1.0, max(0.1, min([1.0, *waits, *limits])))


for _route in table().by_priority():
    _register(_route)
if "sweep" in current_app.conf.beat_schedule:
    _tick = tick(table().by_priority())
    current_app.conf.beat_schedule["sweep"] |= {
        "schedule": _tick,
        "options": {"expires": 2 * _tick, "ignore_result": True},
    }


@celeryd_init.connect
def _prepare(options: Mapping[str, Any], **_: Any) -> None:
    """Refuse to start on a broker that forgets, or for an unknown queue; tell Celery of the known ones."""
    _check_broker()
    store().open_doors()
    wanted = options.get("queues") or ()
    if not wanted:
        current_app.amqp.queues.deselect(QUEUE)
    if QUEUE in wanted and len(wanted) > 1:
        raise SystemExit(f"candlefleet: -Q {QUEUE}: foreign messages need a worker of their own")
    _add_queues()
    known = list(current_app.amqp.queues)
    for name in wanted:
        if name not in known:
            raise SystemExit(
                f"candlefleet: -Q {name}: there is no such queue{nearest(name, known)}; "
                "`candlefleet routes list` shows them"
            )
    _check_destinations([name.removeprefix("destinations.") for name in wanted or known])


def _check_destinations(names: list[str]) -> None:
    try:
        check_destinations(table(), names)
    except ConfigError as error:
        raise SystemExit(f"candlefleet: {error}") from None


@worker_ready.connect
def _name_unknown_routes(**_: Any) -> None:
    warn(store(), table())


@beat_init.connect
def _check_broker(**_: Any) -> None:
    try:
        store().check(volatile=settings().volatile)
        store().mark()
        check(broker_beside(require_state_url()))
    except CandlefleetError as error:
        raise SystemExit(f"candlefleet: {error}") from None


@worker_process_init.connect
def _prepare_child(**_: Any) -> None:
    end_with_parent()
    _add_queues()  # without them a retry, which a child sends itself, is refused
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides


def _add_queues() -> None:
    for known in table().by_priority():
        current_app.amqp.queues.add(_queue(known.route_id))


@worker_process_shutdown.connect
def _close_destinations(**_: Any) -> None:
    journey().close()
