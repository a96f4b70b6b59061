"""Settings of a fleet, read from the environment (`CANDLEFLEET_…`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from router.errors import ConfigError

_REDIS: Final = ("redis", "rediss")
_RABBITMQ: Final = ("amqp", "amqps")


class Settings(BaseSettings):
    """What a process of the fleet needs to know; every field is `CANDLEFLEET_<FIELD>` in the environment.

    Attributes:
        broker_url: What carries the messages: a Redis, which holds everything else as well, `redis://…`, or a
            RabbitMQ, `amqp://…`; without it, the Redis of `state_url`.
        state_url: The Redis that holds everything but the messages, where the broker is a RabbitMQ; without
            it, the embedded one of `dir`.
        routes: The Python file that defines the routes.
        dir: Where the embedded Redis and the logs of a fleet are.
        memory: Bytes of Redis the fleet may fill; new batches are refused above 60 % of it.
        lease: Seconds after which a part whose worker went silent is given to another.
        task_time_limit: Seconds after which a task is killed; its part goes to another worker.
        visibility_timeout: Seconds after which the broker hands an unacknowledged message out again.
        retry_cap: Most seconds between two attempts of one part.
        remember: Seconds for which a batch id is told from a repeat.
        linger: Seconds for which a producer gathers single points.
        volatile: Accept a broker without an append-only file, which loses everything when it ends.
        flower_port: Where `candlefleet up` serves Flower, on loopback.
        door: Whether `candlefleet up` starts the worker for Celery messages of other producers.
        gateway_port: Where `candlefleet gateway` listens.
        gateway_tokens: Who may use the gateway: tokens, or `file:` and the path of a file with them.
        gateway_origins: Origins of web pages that may use it, between commas.
        gateway_stream: The stream of points it sends on.
        gateway_subscribers: How many it serves at a time.
        gateway_heartbeat: Seconds between two heartbeats to a subscriber.
        gateway_queue: Bytes that may wait for a subscriber before it is cut.
    """

    model_config = SettingsConfigDict(env_prefix="CANDLEFLEET_", extra="ignore", env_ignore_empty=True)

    broker_url: SecretStr | None = None
    state_url: SecretStr | None = None
    routes: Path = Path("routes.py")
    dir: Path = Path(".candlefleet")
    memory: int = Field(default=1 << 30, ge=1 << 20)
    lease: float = Field(default=15.0, gt=0, allow_inf_nan=False)
    task_time_limit: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    visibility_timeout: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    retry_cap: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    remember: int = Field(default=3600, ge=60)
    linger: float = Field(default=0.005, ge=0, le=10, allow_inf_nan=False)
    volatile: bool = False
    flower_port: int = Field(default=5555, ge=0, le=65535)
    door: bool = True
    gateway_port: int = Field(default=8765, ge=0, le=65535)
    gateway_tokens: SecretStr | None = None
    gateway_origins: str | None = None
    gateway_stream: str = "live"
    gateway_subscribers: int = Field(default=5000, ge=1)
    gateway_heartbeat: float = Field(default=15.0, ge=0.1, le=60, allow_inf_nan=False)
    gateway_queue: int = Field(default=8 << 20, ge=1 << 16)

    @field_validator("broker_url")
    @classmethod
    def _broker_is_known(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and _scheme(url) not in _REDIS + _RABBITMQ:
            raise ValueError(
                "must be the URL of a Redis, redis://… or rediss://…, or of a RabbitMQ, amqp://… or amqps://…"
            )
        if url is not None and _scheme(url) in _RABBITMQ and not _has_address(url):
            raise ValueError(
                "cannot be read: write amqp://user:password@host:port/vhost, "
                "and %XX for signs such as / and @"
            )
        return url

    @field_validator("state_url")
    @classmethod
    def _state_is_a_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and _scheme(url) not in _REDIS:
            raise ValueError("must be the URL of a Redis, redis://… or rediss://…")
        if url is not None and not _has_address(url):
            raise ValueError(
                "cannot be read: write redis://user:password@host:port/0, and %XX for signs such as / and @"
            )
        return url

    @model_validator(mode="after")
    def _one_redis(self) -> Settings:
        if self.rabbitmq is None and self.broker_url and self.state_url not in (None, self.broker_url):
            raise ValueError(
                "broker_url and state_url name two Redis: leave state_url out, "
                "a Redis that is the broker holds everything"
            )
        return self

    @model_validator(mode="after")
    def _visibility_covers_the_longest_hold(self) -> Settings:
        held = 1.5 * (self.retry_cap + self.task_time_limit)
        if self.visibility_timeout < held:
            raise ValueError(
                f"visibility_timeout {self.visibility_timeout:g} s is shorter than "
                f"1.5 x (retry_cap + task_time_limit) = {held:g} s: "
                "messages still being worked on would be handed out again"
            )
        return self

    @property
    def rabbitmq(self) -> str | None:
        """The URL of the RabbitMQ that carries the messages; None: the Redis of the state does."""
        if self.broker_url is None or _scheme(self.broker_url) not in _RABBITMQ:
            return None
        return self.broker_url.get_secret_value()

    @property
    def redis(self) -> str | None:
        """The URL of the Redis that holds the state; None: none is configured."""
        url = self.broker_url if self.broker_url and self.rabbitmq is None else self.state_url
        return None if url is None else url.get_secret_value()


def _scheme(url: SecretStr) -> str:
    return url.get_secret_value().partition("://")[0].lower()


def _has_address(url: SecretStr) -> bool:
    try:
        parts = urlsplit(url.get_secret_value())
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, read once.

    Raises:
        ConfigError: A variable holds a value that cannot be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = (
            "CANDLEFLEET_" + "_".join(str(part) for part in first["loc"]).upper()
            if first["loc"]
            else "settings"
        )
        raise ConfigError("settings", name, first["msg"].removeprefix("Value error, ")) from None


def state_url() -> str | None:
    """Return the URL of the Redis configured, else of the embedded one that runs in `dir`, else None."""
    configured = settings().redis
    if configured is not None:
        return configured
    from workers.embedded import running_url

    return running_url(settings().dir)


def broker_url() -> str | None:
    """Return the URL of what carries the messages: of the RabbitMQ configured, else of the state's Redis."""
    return settings().rabbitmq or state_url()


def require_state_url() -> str:
    """Return the URL of the Redis that holds the state.

    Raises:
        ConfigError: There is none; the message says how to get one.
    """
    url = state_url()
    if url is not None:
        return url
    where = settings().dir
    if settings().rabbitmq is not None:
        raise ConfigError(
            "state.missing",
            "CANDLEFLEET_STATE_URL",
            f"RabbitMQ carries messages and keeps nothing else, and no embedded Redis runs in {where}: "
            "start a fleet with `candlefleet up`, or set it to the redis://… that is to hold the state",
        )
    raise ConfigError(
        "broker.missing",
        "CANDLEFLEET_BROKER_URL",
        f"no broker is configured and no embedded Redis runs in {where}: "
        "start a fleet with `candlefleet up`, or set it to redis://…",
    )


def broker_beside(state: str) -> str:
    """Return the URL of what carries the messages of the fleet whose state a Redis holds."""
    return settings().rabbitmq or state
