"""Points/s into a stream of Redis, on record, beside redis-py."""

from benchmarks.queues import run_redis_stream as run

__all__ = ["run"]
