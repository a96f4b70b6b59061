"""What drives: the Celery application, the tasks, the store and the producer."""

from workers.celery import app
from workers.producer import Producer, Receipt

__all__ = ["Producer", "Receipt", "app"]
