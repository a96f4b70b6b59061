"""Find the Redis that holds the fleet's state, for destinations that write to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.errors import ConfigError

_FINDERS: Final[list[Callable[[], str]]] = []


def install(find: Callable[[], str]) -> None:
    """Let `fleet_url` ask a function from now on; `workers` installs that of the settings."""
    _FINDERS[:] = [find]


def fleet_url() -> str:
    """Return the URL of the fleet's Redis, as redis-py takes it.

    Raises:
        ConfigError: `url.missing`: this process belongs to no fleet; or what the function raises.
    """
    if not _FINDERS:
        raise ConfigError("url.missing", "url", "no fleet is known here: import workers, or give a url")
    return _FINDERS[0]()
