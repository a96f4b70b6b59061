"""A real PostgreSQL for tests: the one that is given, or one started from the installed programs."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from tests.servers.process import OwnServer, at_work, own_folder

GIVEN = "CANDLEFLEET_TEST_POSTGRES_URL"
#: The one user who needs a password.
LOCKED = "locked"


class Postgres(OwnServer):
    """A PostgreSQL of the tests' own."""

    title = "PostgreSQL"
    unprivileged = "nobody"
    stop_signal = signal.SIGQUIT

    def __init__(self, programs: Path, folder: Path) -> None:
        super().__init__(folder)
        self._programs = programs
        made = ["-D", "data", "-U", "candles", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        self.run([programs / "initdb", *made])
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {LOCKED} all scram-sha-256\n{rules.read_text()}")

    @property
    def url(self) -> str:
        """Of its database, as SQLAlchemy takes it."""
        return self.url_for("candles")

    def url_for(self, user: str, port: int | None = None, database: str = "postgres") -> str:
        """Return the URL of another user, of a way through another port, or of another database."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{port or self.port}/{database}"

    def command(self) -> Sequence[str | Path]:
        """Return its program with the settings of a test server."""
        settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "shared_buffers": "32MB"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        where = ["-D", "data", "-p", str(self.port), "-k", self.folder]
        return [self._programs / "postgres", *where, *options]

    def answers(self) -> bool:
        """Return whether it lets us in."""
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(plain(self.url), connect_timeout=5).close()
            return True
        return False


@contextlib.contextmanager
def own_postgres() -> Iterator[Postgres]:
    """Give a server that belongs to nobody else; skip where PostgreSQL is not installed."""
    programs = installed()
    if programs is None:
        pytest.skip("needs PostgreSQL: make servers")
    with own_folder("postgres") as folder:
        server = Postgres(programs, folder)
        with at_work(server):
            yield server


def plain(url: str) -> str:
    """Return a URL as psycopg itself takes it."""
    return url.replace("+psycopg", "")


def installed() -> Path | None:
    """Return the folder of the newest PostgreSQL on this host."""
    found = [Path(server).parent for server in [shutil.which("postgres")] if server]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return next((path for path in reversed(found) if (path / "initdb").exists()), None)
