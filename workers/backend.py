"""A result backend whose tasks do not listen for results they will never read."""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend
from celery.backends.redis import ResultConsumer as RedisResultConsumer


class _DeafConsumer(RedisResultConsumer):  # type: ignore[misc]
    def consume_from(self, task_id: str) -> None:
        """Subscribe to nothing: a chord started in a task leaked one subscription per header for good.

        Source: celery#4824, celery#6963.
        """


class QuietRedisBackend(RedisBackend):  # type: ignore[misc]
    """Celery's Redis backend, for chords whose bodies run but whose results nobody waits for."""

    ResultConsumer: Any = _DeafConsumer
