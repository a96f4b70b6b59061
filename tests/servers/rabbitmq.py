"""A real RabbitMQ for tests: the one that is given, or one started from the installed programs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import amqp
import pytest

from tests.servers.certificates import CA, CERTIFICATE, KEY, make_certificates
from tests.servers.process import OwnServer, at_work, free_port, own_folder

GIVEN = "CANDLEFLEET_TEST_RABBITMQ_URL"
USER, PASSWORD = "candles", "s3cr3t"

_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_CONFIGURATION = """
loopback_users = none
default_user = {user}
default_pass = {password}
listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
management_agent.disable_metrics_collector = true
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 1MB
log.file = false
log.console = true
log.console.level = warning
"""
_SECURE = """
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {folder}/{ca}
ssl_options.certfile = {folder}/{certificate}
ssl_options.keyfile = {folder}/{key}
"""
#: One scheduler that sleeps when it has nothing to do: test servers share the cores with the tests.
_ERLANG = "+S 1:1 +SDio 1 +sbwt none +sbwtdcpu none +sbwtdio none"


class PortMapper(OwnServer):
    """Erlang's own name server: each RabbitMQ of the tests has one to itself, which ends with it."""

    title = "epmd"
    unprivileged = "nobody"

    def command(self) -> Sequence[str | Path]:
        """Return its program, in the foreground."""
        return ["epmd", "-address", "127.0.0.1", "-port", str(self.port)]

    def answers(self) -> bool:
        """Return whether it lists its names."""
        asked = ["epmd", "-port", str(self.port), "-names"]
        return subprocess.run(asked, capture_output=True).returncode == 0


class RabbitMQ(OwnServer):
    """A RabbitMQ of the tests' own, with its management plugin.

    Args:
        secure: Whether it speaks TLS too, on a port of its own.
    """

    title = "RabbitMQ"
    unprivileged = "nobody"
    stop_signal = signal.SIGKILL  # nobody reads what it would tidy up, and tidying takes seconds

    def __init__(self, folder: Path, *, secure: bool = False) -> None:
        super().__init__(folder)
        self.management = free_port()
        self.secure_port = free_port()
        self._distribution = free_port()
        self._names = PortMapper(folder)
        (folder / "plugins").write_text("[rabbitmq_management].")
        written = _CONFIGURATION.format(
            user=USER, password=PASSWORD, port=self.port, management=self.management
        )
        if secure:
            make_certificates(self)
            files = {"folder": folder, "ca": CA, "certificate": CERTIFICATE, "key": KEY}
            written += _SECURE.format(port=self.secure_port, **files)
        (folder / "rabbitmq.conf").write_text(written)

    @property
    def url(self) -> str:
        """Of its default virtual host, as kombu and Celery take it."""
        return self.url_for()

    def url_for(
        self, user: str = USER, password: str = PASSWORD, port: int | None = None, vhost: str = "/"
    ) -> str:
        """Return the URL of another user, of a way through another port, or of another virtual host."""
        return f"amqp://{user}:{password}@127.0.0.1:{port or self.port}/{quote(vhost, safe='')}"

    def command(self) -> Sequence[str | Path]:
        """Return its program, which becomes the Erlang process itself."""
        return [_PROGRAMS / "rabbitmq-server"]

    def environment(self) -> Mapping[str, str]:
        """Return the environment that it and its tools run in."""
        folder = self.folder
        own = {
            "HOME": folder,
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_DIST_PORT": self._distribution,
            "ERL_EPMD_PORT": self._names.port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder / "log",
            "RABBITMQ_PID_FILE": folder / "pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": folder / "generated",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": folder / "none",
            "RABBITMQ_SERVER_START_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
            "RUNNING_UNDER_SYSTEMD": "1",  # no shell stays between us and it
        }
        return os.environ | {name: str(value) for name, value in own.items()}

    def answers(self) -> bool:
        """Return whether it lets us in, and its management answers."""
        with contextlib.suppress(OSError, amqp.AMQPError), channel(self.url):
            return bool(self.api("GET", "overview"))
        return False

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._names.start()
        super().start()

    def stop(self) -> None:
        """Stop it, if it runs."""
        super().stop()
        self._names.stop()

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask its management something, such as to make a user; None: it has nothing to say."""
        who = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management}/api/{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": who, "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def control(self, *words: str) -> None:
        """Run `rabbitmqctl`."""
        self.run([_PROGRAMS / "rabbitmqctl", *words])


@contextlib.contextmanager
def own_rabbitmq(*, secure: bool = False) -> Iterator[RabbitMQ]:
    """Give a server that belongs to nobody else; skip where RabbitMQ is not installed."""
    if not installed():
        pytest.skip("needs RabbitMQ: make servers")
    with own_folder("rabbitmq") as folder:
        server = RabbitMQ(folder, secure=secure)
        with at_work(server):
            yield server


def installed() -> bool:
    """Return whether this host has RabbitMQ."""
    return (_PROGRAMS / "rabbitmq-server").exists()


@contextlib.contextmanager
def channel(url: str) -> Iterator[amqp.Channel]:
    """Give a channel of a client that is not ours."""
    read = urlsplit(url)
    who = {"userid": unquote(read.username or "guest"), "password": unquote(read.password or "guest")}
    where = {"host": f"{read.hostname}:{read.port or 5672}", "virtual_host": unquote(read.path[1:]) or "/"}
    with amqp.Connection(**where, **who, login_method="PLAIN", heartbeat=0) as connection:
        yield connection.channel()


def make_queue(url: str, name: str, key: str = "#", **arguments: Any) -> None:
    """Make a queue that is bound to the exchange of its name, which is made as well."""
    with channel(url) as its:
        its.exchange_declare(name, "topic", durable=True, auto_delete=False)
        options = {option.replace("_", "-"): value for option, value in arguments.items()}
        its.queue_declare(name, durable=True, auto_delete=False, arguments=options)
        its.queue_bind(name, name, key)


def taken(url: str, queue: str) -> list[amqp.Message]:
    """Return all messages of a queue, which keeps them."""
    with channel(url) as its:
        return list(iter(lambda: its.basic_get(queue), None))
