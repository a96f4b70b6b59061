"""The tasks: router.route, deliver.<route>, maint.sweep; each says "look", and does what waits."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from celery import Task, current_app, shared_task
from celery.signals import beat_init, celeryd_init, worker_process_init, worker_process_shutdown
from kombu.entity import Queue

from router.errors import CandlefleetError, ConfigError
from router.names import nearest
from router.route import Route, RoutePriority
from router.table import RouteTable, load_routes
from workers.broker import queue
from workers.embedded import end_with_parent
from workers.failpoints import reach
from workers.journey import Again, Journey
from workers.records import Nudge
from workers.settings import require_broker_url, settings
from workers.store import Store

#: Celery's message priority on a Redis broker, where 0 is served first.
PRIORITIES: Final = {RoutePriority.HIGH: 0, RoutePriority.NORMAL: 3, RoutePriority.LOW: 6}
#: Retries of one message; after them the sweep nudges the part.
MOST_NUDGES: Final = 20
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
    return Store.connect(require_broker_url(), memory=s.memory, remember=s.remember)


@cache
def journey() -> Journey:
    """Return what the tasks of this process work with."""
    s = settings()
    return Journey(store(), table(), send, lease=s.lease, retry_cap=s.retry_cap)


def send(nudge: Nudge | None) -> None:
    """Send a message that says "look": at a part, or, without one, at what waits for routing."""
    reach("nudge.before")
    if nudge is None:
        current_app.send_task("router.route", ignore_result=True)
        return
    current_app.send_task(
        f"deliver.{nudge.route_id}",
        (nudge.part_id,),
        {"rows": nudge.rows},
        queue=_queue(nudge.route_id),
        priority=PRIORITIES[table().route(nudge.route_id).priority],
        ignore_result=True,
    )


def served_by(queues: Iterable[str]) -> list[str]:
    """Return what a worker of these queues serves: `@` and the queue for each, and the ids of its routes."""
    names = list(queues)
    routes = [route.route_id for route in table().by_priority() if _queue(route.route_id).name in names]
    return [f"@{name}" for name in names] + routes


@cache
def _queue(route_id: str) -> Queue:
    return queue(f"destinations.{table().destination_name(route_id)}")


@shared_task(name="router.route")
def route() -> int:
    """Match every batch that waits; return the number of points routed."""
    return journey().route()


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
    try:
        return journey().deliver(part_id)
    except Again as again:
        if self.request.retries >= MOST_NUDGES:
            return 0
        raise self.retry(countdown=again.delay, exc=again) from again


class _EveryTickIsNotNews(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop Celery's lines about sweeps that went well: two a second would hide all others."""
        return record.levelno > logging.INFO or getattr(record, "data", {}).get("name") != sweep.name


for _name in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_name).addFilter(_EveryTickIsNotNews())


def _register(known: Route) -> None:
    options = {"bind": True, "max_retries": MOST_NUDGES, "default_retry_delay": LOST_DELAY}
    shared_task(name=f"deliver.{known.route_id}", **options)(_deliver)


for _route in table().by_priority():
    _register(_route)


@celeryd_init.connect
def _prepare(options: Mapping[str, Any], **_: Any) -> None:
    """Refuse to start on a broker that forgets, or for an unknown queue; tell Celery of the known ones."""
    _check_broker()
    _add_queues()
    known = list(current_app.amqp.queues)
    for name in options.get("queues") or ():
        if name not in known:
            raise SystemExit(
                f"candlefleet: -Q {name}: there is no such queue{nearest(name, known)}; "
                "`candlefleet routes list` shows them"
            )


@beat_init.connect
def _check_broker(**_: Any) -> None:
    try:
        store().check(volatile=settings().volatile)
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
