"""What a Kafka cluster's answer means for the points: wait, try again, or never."""

from __future__ import annotations

from typing import Final

from kafka import errors

from router.errors import DestinationError, TerminalError, TransientError, UnavailableError

#: The row itself is too large, for the client or for the brokers.
TOO_LARGE: Final = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)

_MEND: Final = "mend the setting, or the brokers' own"
#: What to do, where somebody can; all but the row's own fault waits for it.
_HINTS: Final[dict[type[Exception], str]] = {
    errors.SaslAuthenticationFailedError: "mend sasl_plain_username and sasl_plain_password",
    errors.UnsupportedSaslMechanismError: "name a sasl_mechanism that the brokers have",
    errors.IllegalSaslStateError: "mend security_protocol and sasl_mechanism",
    errors.AuthorizationError: "let this user write to the topic, and use idempotent writes",
    errors.UnknownTopicOrPartitionError: "create the topic, or mend its name",
    errors.InvalidRecordError: "the topic takes no such message: a compacted one none without a key",
    errors.InvalidTopicError: "create the topic, or mend its name",
    errors.NotEnoughReplicasError: "bring back the replicas that are away",
    errors.ThrottlingQuotaExceededError: "write less, or let this user write more",
    errors.PolicyViolationError: _MEND,
    errors.InvalidTimestampError: "set the clock of this host",
    errors.UnsupportedVersionError: "Kafka 0.11 or newer is needed",
    errors.UnsupportedCompressionTypeError: "name a compression_type that the brokers take",
    errors.UnsupportedForMessageFormatError: "Kafka 0.11 or newer is needed",
    errors.KafkaConfigurationError: _MEND,
}


def meaning(error: BaseException) -> type[DestinationError]:
    """Return what an error of the client means for the rows it was given for."""
    if isinstance(error, (*TOO_LARGE, errors.InvalidRecordError)):
        return TerminalError
    return UnavailableError if isinstance(error, tuple(_HINTS)) else TransientError


def said(error: BaseException, hint: str = "") -> str:
    """Return in words what went wrong, and what to do where that is known; else the hint."""
    text = " ".join(str(error).split()) or type(error).__name__
    name = type(error).__name__.removesuffix("Error")
    hint = next((found for kind, found in _HINTS.items() if isinstance(error, kind)), hint)
    return ": ".join(part for part in (text if name in text else f"{name}: {text}", hint) if part)


def advice(error: BaseException, *, connected: bool) -> str:
    """Return what to do where no connection came about, or the brokers do not tell of the topic."""
    if connected:
        return "create the topic or mend its name, and see that the brokers run"
    if "Handshake failed" in str(error) or isinstance(error, OSError):
        return "mend security_protocol and ssl_cafile"
    if not isinstance(error, errors.KafkaError):
        return "mend the settings of the client"
    return "start a broker, or mend brokers and security_protocol"
