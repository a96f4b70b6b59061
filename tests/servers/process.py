"""What the servers of the tests have in common: a process that may be killed and started again."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from tests.acceptance.fleet_fixture import until
from workers.embedded import end_with_parent

_DICE = random.SystemRandom()  # processes that test side by side, with one seed, are not to pick one port


class OwnServer(ABC):
    """A server that belongs to one test module alone, on a free port of this host.

    Args:
        folder: Where it keeps what it keeps; its working directory.
    """

    #: What people call it.
    title: ClassVar[str]
    #: Who runs it where the tests are run by root and the server refuses that; None: root.
    unprivileged: ClassVar[str | None] = None
    #: Ends it whatever its clients do.
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if self.unprivileged and os.geteuid() == 0:
            self._user = {"user": self.unprivileged, "extra_groups": []}
            os.chown(folder, pwd.getpwnam(self.unprivileged).pw_uid, -1)

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return what starts it in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether it does its work already."""

    def environment(self) -> Mapping[str, str]:
        """Return the environment of its process."""
        return os.environ

    @property
    def pid(self) -> int:
        """Its process id; it was started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        until(self._is_up, f"{self.title} answers", every=0.1)

    def kill(self) -> None:
        """Kill it as a power cut would, were the disk to survive."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it stand still: its connections stay, and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop it, if it runs."""
        self._end(self.stop_signal)

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a program beside it, as its user."""
        environment = dict(self.environment())
        subprocess.run(
            command, cwd=self.folder, env=environment, check=True, capture_output=True, **self._user
        )

    # What a killed server left behind may keep the next from starting for a moment.
    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._process = self._begin()
        return self.answers()

    def _begin(self) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
                **self._user,
            )

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait()


def free_port() -> int:
    """Return a port of loopback that nobody listens to.

    It is none of those that the system picks from: while a killed server is away, its port could go to
    anybody's connection.
    """
    for port in _DICE.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port from 20000 to 30000 is free")


@contextmanager
def own_folder(name: str) -> Iterator[Path]:
    """Give a folder that other users may be let into, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"candlefleet-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def at_work(server: OwnServer) -> Iterator[None]:
    """Start a server, and stop it at the end."""
    try:
        server.start()
        yield
    finally:
        server.stop()
