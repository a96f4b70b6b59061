"""Who answers may be no RabbitMQ and no Redis; who writes may be the child of whoever connected."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from ulid import ULID

from destinations import DataDestination, RabbitMQDestination, RedisStreamDestination
from router.errors import UnavailableError
from tests.make import make_batch
from tests.servers.rabbitmq import make_queue, taken

ANSWERS = {
    "nothing": b"",
    "a web server's": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "another protocol's header": b"AMQP\x00\x01\x00\x00",
    "a secure server's": bytes.fromhex("15030300020246"),
    "zeros": b"\0" * 64,
    "a frame without an end": b"\x01\x00\x00\x7f\xff\xff\xff" + b"x" * 64,
}


@contextlib.contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """Give the port of a server that says one thing to everybody, and keeps its connections."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    kept.append(client)
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in kept:
                client.close()


@pytest.mark.parametrize("kind", [RabbitMQDestination, RedisStreamDestination])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_stranger_at_the_address_is_waited_for(kind: type[DataDestination], answer: bytes):
    scheme = "amqp" if kind is RabbitMQDestination else "redis"
    with stranger(answer) as port:
        destination = kind(f"{scheme}://me:s3cr3t@127.0.0.1:{port}/0", timeout=1)
        with pytest.raises(UnavailableError, match="start the server, or mend host and port") as found:
            destination.write_batch(make_batch(1))
        destination.close()
    assert "s3cr3t" not in str(found.value)


def test_a_child_leaves_the_connection_of_its_parent_alone(rabbitmq_url: str, monkeypatch):
    name = f"bars-{ULID()}"
    make_queue(rabbitmq_url, name)
    with contextlib.closing(RabbitMQDestination(rabbitmq_url, name)) as destination:
        destination.write_batch(make_batch(3, batch_id="parent"))
        inherited = destination._publisher
        monkeypatch.setattr(os, "getpid", lambda: 1)
        destination.write_batch(make_batch(3, batch_id="child"))
        assert destination._publisher is not inherited
        assert inherited.is_alive()
        inherited.close()
    batches = [message.headers["batch"] for message in taken(rabbitmq_url, name)]
    assert batches == ["parent"] * 3 + ["child"] * 3
