"""A real PostgreSQL for tests: the one that is given, or one started from the installed programs."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.fleet_fixture import until
from workers.embedded import end_with_parent

GIVEN = "CANDLEFLEET_TEST_POSTGRES_URL"
#: The one user who needs a password.
LOCKED = "locked"
_UNPRIVILEGED = "nobody"


class Postgres:
    """A server of the tests' own on a free port of this host; it may be killed and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._server: subprocess.Popen[bytes] | None = None
        # The server refuses to run as root.
        self._user = {"user": _UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}
        if self._user:
            os.chown(folder, pwd.getpwnam(_UNPRIVILEGED).pw_uid, -1)
        made = ["initdb", "-D", "data", "-U", "candles", "--auth=trust", "--no-sync", "-E", "UTF8"]
        self._run([*made, "--locale=C.UTF-8"])
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {LOCKED} all scram-sha-256\n{rules.read_text()}")

    @property
    def url(self) -> str:
        """Of its database, as SQLAlchemy takes it."""
        return self.url_for("candles")

    def url_for(self, user: str, port: int | None = None, database: str = "postgres") -> str:
        """Return the URL of another user, of a way through another port, or of another database."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        until(self._answers, "PostgreSQL answers", every=0.1)

    def kill(self) -> None:
        """Kill it as a power cut would, were the disk to survive."""
        assert self._server is not None
        self._server.send_signal(signal.SIGKILL)
        self._server.wait()

    def stop(self) -> None:
        """Stop it, whatever its clients do."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()

    # What a killed server left behind keeps the next from starting for a moment.
    def _answers(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            self._server = self._begin()
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(plain(self.url), connect_timeout=5).close()
            return True
        return False

    def _begin(self) -> subprocess.Popen[bytes]:
        settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "shared_buffers": "32MB"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [
                    self._programs / "postgres",
                    "-D",
                    "data",
                    "-p",
                    str(self.port),
                    "-k",
                    self._folder,
                    *options,
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
                **self._user,  # type: ignore[call-overload]
            )

    def _run(self, command: Sequence[str]) -> None:
        subprocess.run(
            [self._programs / command[0], *command[1:]],
            cwd=self._folder,
            check=True,
            capture_output=True,
            **self._user,  # type: ignore[call-overload]
        )


@contextlib.contextmanager
def own_postgres() -> Iterator[Postgres]:
    """Give a server that belongs to nobody else; skip where PostgreSQL is not installed."""
    programs = installed()
    if programs is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="candlefleet-postgres-"))
    try:
        server = Postgres(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def plain(url: str) -> str:
    """Return a URL as psycopg itself takes it."""
    return url.replace("+psycopg", "")


def installed() -> Path | None:
    """Return the folder of the newest PostgreSQL on this host."""
    found = [Path(server).parent for server in [shutil.which("postgres")] if server]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return next((path for path in reversed(found) if (path / "initdb").exists()), None)
