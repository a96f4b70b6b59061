"""Check what a user says of brokers, topic and client, before anything connects."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from kafka import KafkaProducer
from kafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from kafka.net.sasl import SASL_MECHANISMS

from router.errors import ConfigError
from router.names import nearest
from router.yaml_secrets import is_secret

COMPRESSIONS: Final = {"gzip": has_gzip, "lz4": has_lz4, "snappy": has_snappy, "zstd": has_zstd}

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

_LOGIN: Final = ("sasl_plain_username", "sasl_plain_password")
_NUMBERED: Final = "every row is acknowledged by all replicas and numbered by its producer"
_TIMED: Final = "timeout says it"
_ENCODED: Final = "keys and values are made from the columns of a point"
_INNER: Final = "it is the client's own affair"
#: Settings of the client that belong to the destination, and why.
_OURS: Final = {
    **dict.fromkeys(("acks", "enable_idempotence", "retries", "transactional_id"), _NUMBERED),
    **dict.fromkeys(("transaction_timeout_ms", "max_in_flight_requests_per_connection"), _NUMBERED),
    **dict.fromkeys(("delivery_timeout_ms", "request_timeout_ms", "max_block_ms"), _TIMED),
    "bootstrap_timeout_ms": _TIMED,
    "bootstrap_servers": "brokers says it",
    **dict.fromkeys(("key_serializer", "value_serializer", "partitioner"), _ENCODED),
    **dict.fromkeys(("metric_reporters", "selector", "kafka_client"), _INNER),
}
_ALLOWED: Final = frozenset(KafkaProducer.DEFAULT_CONFIG) - frozenset(_OURS)
_BROKER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


def check_brokers(brokers: str | Sequence[str]) -> tuple[str, ...]:
    """Return the brokers, each ``host:port``; a text holds them with commas between.

    Raises:
        ConfigError: `brokers`; what was written is not shown, as it may hold a password.
    """
    found = brokers.split(",") if isinstance(brokers, str) else list(brokers)
    found = [broker.strip() if isinstance(broker, str) else "" for broker in found]
    if not found or not all(_is_broker(broker) for broker in found):
        raise ConfigError("brokers", "brokers", "name brokers as host:port, such as ['localhost:9092']")
    return tuple(found)


def check_topic(topic: str) -> str:
    """Return the topic.

    Raises:
        ConfigError: `topic`: Kafka takes no such name.
    """
    if not isinstance(topic, str) or topic in (".", "..") or _TOPIC.fullmatch(topic) is None:
        message = f"{topic!r} cannot name a topic: 1 to 249 letters, digits and . _ -, not '.' or '..'"
        raise ConfigError("topic", "topic", message)
    return topic


def check_compression(compression: str | None) -> str | None:
    """Return the compression.

    Raises:
        ConfigError: `enum`.
    """
    if compression is not None and compression not in COMPRESSIONS:
        known = ", ".join(COMPRESSIONS)
        message = f"{compression!r} is none of {known}, nor null{nearest(str(compression), COMPRESSIONS)}"
        raise ConfigError("enum", "compression_type", message)
    return compression


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of the client that a user may make.

    Raises:
        ConfigError: `setting.fixed` for one that belongs to the destination, `setting.unknown` for another;
            `enum`, `required`, `type` and `login.unused` for security that is not what it looks like.
    """
    for name in settings:
        if name in _OURS:
            raise ConfigError("setting.fixed", name, f"it cannot be set: {_OURS[name]}")
        if name not in _ALLOWED:
            message = f"the Kafka client has no setting {name!r}{nearest(name, _ALLOWED)}"
            raise ConfigError("setting.unknown", name, message)
    _check_security(settings)
    version = settings.get("api_version")
    return {**settings, "api_version": tuple(version)} if isinstance(version, list) else dict(settings)


def secrets_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the values among settings that no message may show."""
    found = [value for name, value in settings.items() if is_secret(name) and isinstance(value, str)]
    password = urlsplit(str(settings.get("proxy_url") or "")).password
    return [*found, password] if password else found


# The client takes what it does not know for PLAINTEXT.
def _check_security(settings: Mapping[str, Any]) -> None:
    protocol = settings.get("security_protocol", "PLAINTEXT")
    _check_one_of("security_protocol", protocol, PROTOCOLS)
    if protocol.startswith("SASL"):
        mechanism = settings.get("sasl_mechanism")
        _check_one_of("sasl_mechanism", mechanism, SASL_MECHANISMS)
        needed = _LOGIN if str(mechanism).startswith(("PLAIN", "SCRAM")) else ()
        for name in needed:
            if settings.get(name) in (None, ""):
                raise ConfigError("required", name, f"{mechanism} needs it")
    for name in _LOGIN:
        if name in settings and not protocol.startswith("SASL"):
            message = f"{protocol} does not log in: set security_protocol to SASL_SSL"
            raise ConfigError("login.unused", name, message)
        if not isinstance(settings.get(name, ""), str):
            raise ConfigError("type", name, "it is no text: put it into quotes")


def _check_one_of(name: str, value: object, known: Collection[str]) -> None:
    if value not in known:
        message = f"{value!r} is none of {', '.join(known)}{nearest(str(value), known)}"
        raise ConfigError("enum", name, message)


def _is_broker(text: str) -> bool:
    found = _BROKER.fullmatch(text)
    return found is not None and 0 < int(found["port"] or 9092) < 65536
