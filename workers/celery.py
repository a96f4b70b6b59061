"""The Celery application, where `celery -A workers` looks for it."""

from __future__ import annotations

import celery
from celery import Celery
from kombu.entity import Exchange, Queue

from router.errors import ConfigError
from workers import transport
from workers.steps import Heartbeat, Watchdog

if not celery.__version__.startswith("5.7."):
    raise ConfigError(
        "celery.version",
        "celery",
        f"Candlefleet needs Celery 5.7, not {celery.__version__}: earlier ones can run a chord's body early",
    )

transport.install()
app = Celery("candlefleet")
app.config_from_object("celeryconfig")
app.steps["consumer"].update((Heartbeat, Watchdog))


def client(url: str) -> Celery:
    """Return an application that sends messages to the fleet at a broker, and is not the current one."""
    sender = Celery("candlefleet-client", set_as_current=False)
    sender.config_from_object("celeryconfig")
    sender.conf.update(broker_url=url, result_backend=None)
    return sender


def queue(name: str) -> Queue:
    """Return a queue of the fleet, with an exchange of its own so that nothing else is routed to it."""
    return Queue(name, Exchange(name), routing_key=name)
