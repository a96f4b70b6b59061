"""The Celery application, where `celery -A workers` looks for it."""

from __future__ import annotations

import os

import celery
from celery import Celery

from router.errors import ConfigError
from workers import rabbitmq, transport
from workers.steps import Heartbeat, Watchdog

if not celery.__version__.startswith("5.7."):
    raise ConfigError(
        "celery.version",
        "celery",
        f"Candlefleet needs Celery 5.7, not {celery.__version__}: earlier ones can run a chord's body early",
    )

# Flower reads its options from here when it is started as `celery -A workers flower`: one line tells part and
# rows of a delivery, and it listens to this machine only.
os.environ.setdefault("FLOWER_TASKS_COLUMNS", "name,args,kwargs,result,state,received,runtime,worker")
os.environ.setdefault("FLOWER_ADDRESS", "127.0.0.1")

transport.install()
rabbitmq.install()
app = Celery("candlefleet")
app.config_from_object("celeryconfig")
app.steps["consumer"].update((Heartbeat, Watchdog))
