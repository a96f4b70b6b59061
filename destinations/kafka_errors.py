"""What a Kafka cluster's answer means for the points: wait, try again, or never."""

from __future__ import annotations

from typing import Final

from kafka import errors

from router.errors import DestinationError, TerminalError, TransientError, UnavailableError

#: The row itself is too large; all others are written.
TOO_LARGE: Final = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)

_MEND: Final = "mend the setting, or the brokers' own"
#: What waits for somebody, and what to do.
_WAITS: Final[dict[type[Exception], str]] = {
    errors.SaslAuthenticationFailedError: "mend sasl_plain_username and sasl_plain_password",
    errors.UnsupportedSaslMechanismError: "name a sasl_mechanism that the brokers have",
    errors.IllegalSaslStateError: "mend security_protocol and sasl_mechanism",
    errors.AuthorizationError: "let this user write to the topic, and use idempotent writes",
    errors.UnknownTopicOrPartitionError: "create the topic, or mend its name",
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
    return UnavailableError if isinstance(error, tuple(_WAITS)) else TransientError


def said(error: BaseException) -> str:
    """Return in words what went wrong, and what to do where that is known."""
    text = " ".join(str(error).split()) or type(error).__name__
    name = type(error).__name__.removesuffix("Error")
    hint = next((hint for kind, hint in _WAITS.items() if isinstance(error, kind)), "")
    return ": ".join(part for part in (text if name in text else f"{name}: {text}", hint) if part)
