"""Describe the machine and the versions that the figures depend on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import redis

from benchmarks.server import empty_redis


def cores() -> int:
    """Return how many cores this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def describe() -> dict[str, str]:
    """Return date, cores, load before the run, and versions, in the order they are printed."""
    packages = ("celery", "redis", "polars", "pyarrow", "pydantic")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": str(cores()),
        "load before the run": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "server": _server(),
        **{name: version(name) for name in packages},
    }


def _server() -> str:
    with empty_redis() as server, redis.Redis.from_url(server.url) as client:
        info = client.info("server")
    name = info.get("server_name", "redis")
    return f"{name} {info.get(f'{name}_version', info['redis_version'])}"
