"""A Kafka destination and brokers that want TLS or a login: it gets in, or says what keeps it out."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka.protocol.sasl import SaslAuthenticateRequest

from destinations import KafkaDestination
from router.errors import UnavailableError
from tests.make import make_batch
from tests.servers.certificates import CA, STRANGER
from tests.servers.kafka import closes, guarded_kafka, messages, own_kafka

PASSWORD = "s3cr3t"
LOGIN = {"sasl_plain_username": "candlefleet", "sasl_plain_password": PASSWORD}

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.usefixtures("sockets"),
]


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[str, Path]]:
    """Give the address of a broker that clients reach by TLS alone, and the folder of certificates."""
    with guarded_kafka(tls=True) as (server, _):
        yield server.address, server.folder


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    """Give the address of a broker that lets nobody in."""
    with own_kafka(locked=True) as server:
        yield server.address


def kept_out(address: str, **security) -> str:
    """Return what a destination says that does not get in."""
    destination = KafkaDestination(address, "bars", timeout=1, **security)
    with closing(destination), pytest.raises(UnavailableError) as found:
        destination.write_batch(make_batch(1))
    assert address in str(found.value)
    assert PASSWORD not in str(found.value)
    return str(found.value)


def test_points_arrive_by_tls(secured):
    address, folder = secured
    batch, authority = make_batch(20), str(folder / CA)
    security = {"security_protocol": "SSL", "ssl_cafile": authority}
    with closing(KafkaDestination(address, "bars", **security)) as destination:
        destination.write_batch(batch)
    by_tls = {"security.protocol": "ssl", "ssl.ca.location": authority}
    assert closes(messages(address, "bars", by_tls)) == [point.close for point in batch]


def test_a_server_that_nobody_vouches_for_is_not_written_to(secured):
    address, folder = secured
    said = kept_out(address, security_protocol="SSL", ssl_cafile=str(folder / STRANGER))
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert "mend security_protocol and ssl_cafile" in said


def test_a_file_that_holds_no_certificate_is_to_be_mended(secured, tmp_path):
    (tmp_path / "nonsense.pem").write_text("nonsense")
    said = kept_out(secured[0], security_protocol="SSL", ssl_cafile=str(tmp_path / "nonsense.pem"))
    assert "mend security_protocol and ssl_cafile" in said


def test_a_server_that_wants_tls_is_told_from_one_that_is_away(secured):
    said = kept_out(secured[0])
    assert "socket disconnected" in said
    assert "mend brokers and security_protocol" in said


def test_a_server_that_says_nothing_to_tls_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = kept_out(f"127.0.0.1:{silent.getsockname()[1]}", security_protocol="SSL")
    assert "the server says nothing" in said


def test_a_login_that_is_refused_is_said_and_not_tried_again_at_once(locked, caplog):
    caplog.set_level(logging.DEBUG, "kafka")
    said = kept_out(locked, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256", **LOGIN)
    assert "mend sasl_plain_username and sasl_plain_password" in said
    assert caplog.text.count("Exchanging credentials") == 1
    assert PASSWORD not in caplog.text


def test_a_mechanism_that_the_brokers_do_not_have_is_said(kafka_address):
    said = kept_out(kafka_address, security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", **LOGIN)
    assert "name a sasl_mechanism that the brokers have" in said


def test_a_client_that_wants_no_login_is_kept_out_with_what_to_mend(locked):
    assert "mend brokers and security_protocol" in kept_out(locked)


def test_the_password_of_a_login_is_in_no_log_of_the_client(locked, caplog):
    caplog.set_level(logging.DEBUG, "kafka")
    kept_out(locked, security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", **LOGIN)
    request = SaslAuthenticateRequest(f"\0candlefleet\0{PASSWORD}".encode())
    for name in ("kafka.net.connection", "kafka.protocol.parser"):  # they write down every request
        logging.getLogger(name).debug("%s", request)
    assert PASSWORD in str(request)
    assert PASSWORD not in caplog.text
