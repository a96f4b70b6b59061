"""Points/s into RabbitMQ, each confirmed, beside kombu."""

from benchmarks.queues import run_rabbitmq as run

__all__ = ["run"]
