"""What a Kafka destination refuses before it connects, and the keys and headers it makes."""

from __future__ import annotations

import pytest
from kafka import errors

from destinations import KafkaDestination
from destinations.kafka import KEY_FIELDS, encode_keys, place_of, row_headers
from destinations.kafka_client import Cause
from destinations.kafka_errors import meaning, said
from router.batch import PointBatch
from router.errors import ConfigError, TerminalError, TransientError, UnavailableError
from tests.make import make_batch, make_frame

LOGIN = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "me",
    "sasl_plain_password": "hunter2",
}


def refused(brokers="localhost:9092", topic="bars", **arguments) -> ConfigError:
    with pytest.raises(ConfigError) as found:
        KafkaDestination(brokers, topic, **arguments)
    return found.value


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"key_field": "__class__"}, "unknown_field", "'__class__' cannot be the key"),
        ({"key_field": "symbl"}, "unknown_field", "did you mean 'symbol'?"),
        ({"key_field": "technical_indicators"}, "unknown_field", "cannot be the key"),
        ({"topic": ""}, "topic", "1 to 249"),
        ({"topic": ".."}, "topic", "not '.' or '..'"),
        ({"topic": "bars/1d"}, "topic", "'bars/1d' cannot name a topic"),
        ({"topic": "bars\n"}, "topic", "cannot name a topic"),
        ({"topic": "x" * 250}, "topic", "cannot name a topic"),
        ({"compression_type": "zst"}, "enum", "did you mean 'zstd'?"),
        ({"brokers": []}, "brokers", "host:port"),
        ({"brokers": ["localhost:99999"]}, "brokers", "host:port"),
        ({"brokers": "kafka://me:hunter2@broker:9092"}, "brokers", "host:port"),
        ({"timeout": 0}, "range", "from 1 up"),
        ({"timeout": float("nan")}, "range", "from 1 up"),
        ({"acks": 1}, "setting.fixed", "acknowledged by all replicas"),
        ({"enable_idempotence": False}, "setting.fixed", "numbered by its producer"),
        ({"retries": 0}, "setting.fixed", "it cannot be set"),
        ({"value_serializer": str}, "setting.fixed", "made from the columns"),
        ({"request_timeout_ms": 1}, "setting.fixed", "timeout says it"),
        ({"security_protocol": "sasl_ssl"}, "enum", "did you mean 'SASL_SSL'?"),
        ({"security_protocol": "SASL_SSL"}, "enum", "None is none of"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "required", "PLAIN needs it"),
        ({"sasl_plain_password": "hunter2"}, "login.unused", "PLAINTEXT does not log in"),
        ({**LOGIN, "sasl_plain_password": 12345}, "type", "put it into quotes"),
        ({"sasl_plain_user": "me"}, "setting.unknown", "did you mean 'sasl_plain_username'?"),
    ],
)
def test_an_argument_that_cannot_work_is_refused_with_what_would(arguments, code, says):
    error = refused(**arguments)
    assert error.code == code
    assert says in str(error)
    assert "hunter2" not in str(error)


def test_brokers_may_be_written_as_one_text():
    destination = KafkaDestination("one:9092, [::1]:9093", "bars")
    assert destination.place() == "Kafka at one:9092, [::1]:9093, topic bars"


def test_settings_of_the_client_pass_through_and_are_not_shown():
    destination = KafkaDestination("one:9092", "bars", api_version=[2, 3], linger_ms=1, **LOGIN)
    made = destination._client_settings()
    assert LOGIN.items() <= made.items()
    assert (made["acks"], made["enable_idempotence"]) == ("all", True)
    assert (made["api_version"], made["linger_ms"]) == ((2, 3), 1)
    assert "hunter2" not in repr(destination) + str(destination) + destination.place()


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("symbol", "Ünïcode\x00/USDT".encode()),
        ("timestamp", b"2024-01-01T00:00:00+00:00"),
        ("close", b"42000.5"),
        ("volume", None),
        ("asset_class", b"crypto"),
        ("is_realtime", b"false"),
    ],
)
def test_a_key_is_the_text_of_a_field_and_null_is_no_key(field, key):
    assert encode_keys(make_frame(2, ["Ünïcode\x00/USDT"], volume=None), field)[0] == key


def test_every_field_but_the_indicators_may_be_the_key():
    assert len(KEY_FIELDS) == 12
    for field in KEY_FIELDS:
        assert len(encode_keys(make_frame(3), field)) == 3


def test_a_key_goes_where_other_clients_send_it():
    places = [place_of(key, range(100)) for key in (b"21", b"foobar", b"a-little-bit-long-string")]
    assert places == [
        number % 100 for number in (-973932308 & 0x7FFFFFFF, -790332482 & 0x7FFFFFFF, -985981536 & 0x7FFFFFFF)
    ]


def test_headers_name_the_accepted_row_in_whatever_part():
    one, two = make_batch(3, batch_id="one"), make_batch(2, batch_id="two")
    part = PointBatch.concat([one.slice(1, 3), two])
    found = [dict(headers) for headers in row_headers(part)]
    assert [(row["candlefleet-batch"], row["candlefleet-row"]) for row in found] == [
        (b"one", b"1"), (b"one", b"2"), (b"two", b"0"), (b"two", b"1"),
    ]  # fmt: skip
    assert {row["candlefleet-route"] for row in found} == {b"everything"}


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (errors.MessageSizeTooLargeError(), TerminalError, ""),
        (errors.InvalidRecordError(), TerminalError, ""),
        (errors.TopicAuthorizationFailedError(), UnavailableError, "let this user write"),
        (errors.ClusterAuthorizationFailedError(), UnavailableError, "let this user write"),
        (errors.SaslAuthenticationFailedError(), UnavailableError, "mend sasl_plain_username"),
        (errors.UnknownTopicOrPartitionError(), UnavailableError, "create the topic"),
        (errors.NotEnoughReplicasError(), UnavailableError, "bring back the replicas"),
        (errors.NotEnoughReplicasAfterAppendError(), TransientError, ""),
        (errors.NotLeaderForPartitionError(), TransientError, ""),
        (errors.RequestTimedOutError(), TransientError, ""),
        (errors.KafkaStorageError(), TransientError, ""),
        (errors.OutOfOrderSequenceNumberError(), TransientError, ""),
        (errors.UnknownProducerIdError(), TransientError, ""),
        (errors.ProducerFencedError(), TransientError, ""),
        (errors.KafkaTimeoutError(), TransientError, ""),
    ],
)
def test_an_answer_means_wait_or_try_again_or_never(error, kind, hint):
    assert meaning(error) is kind
    assert hint in said(error)
    assert type(error).__name__.removesuffix("Error") in said(error)


def test_a_destination_that_never_connected_is_closed_as_often_as_wished():
    destination = KafkaDestination("one:9092", "bars")
    destination.close()
    destination.close()


def test_a_file_of_certificates_that_is_not_there_is_refused():
    destination = KafkaDestination("one:9092", "bars", security_protocol="SSL", ssl_cafile="nowhere.pem")
    with pytest.raises(ConfigError, match=r"ssl_cafile: there is no file nowhere\.pem"):
        destination.check()


def test_an_error_that_says_nothing_has_the_cause_that_was_noted():
    cause = Cause(errors.NotEnoughReplicasError())
    assert cause.of(errors.KafkaTimeoutError("expired")) is cause.error
    assert cause.of(errors.KafkaError("unexpected")) is cause.error
    assert cause.of(told := errors.KafkaStorageError()) is told
    assert Cause().of(late := errors.KafkaTimeoutError("expired")) is late
