"""The Celery application, where `celery -A workers` looks for it."""

from __future__ import annotations

import celery
from celery import Celery

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
