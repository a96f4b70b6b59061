"""Read the URL of a database, and say where it leads without saying its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchModuleError

from router.errors import ConfigError
from router.hidden import scrub
from router.names import nearest
from router.yaml_secrets import is_secret

#: What to do about a driver that is missing, by the module that could not be imported.
_DRIVERS: Final = {
    "psycopg": "pip install 'candlefleet[postgres]'",
    "MySQLdb": "pip install mysqlclient, or write mysql+pymysql:// and pip install pymysql",
}
_DIALECTS: Final = ("sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")
_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "oracle": 1521, "mssql": 1433}
_SCHEMAS: Final = {"postgresql": "public", "sqlite": "main", "mssql": "dbo"}
_HERE: Final = frozenset({None, "", "localhost", "127.0.0.1", "::1"})
_HOW: Final = "write dialect://user:password@host:port/database, such as sqlite:///bars.db"


class Server:
    """Where a database is; `str` tells people, without user's secrets.

    Args:
        url: As SQLAlchemy takes it. ``postgres://`` is read as ``postgresql://``.

    Raises:
        ConfigError: `url.syntax`, `url.dialect`, or `url.memory` for an SQLite that nobody could read.
    """

    def __init__(self, url: str) -> None:
        """Read a URL; nothing is connected, no driver is needed."""
        self.url = _read(url)
        self.dialect = _dialect(self.url)
        self._secrets = _secrets(self.url)
        if self.dialect == "sqlite":
            _check_file(self.url)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database; None: it is a server."""
        return Path(self.url.database or "") if self.dialect == "sqlite" else None

    def scrub(self, text: str) -> str:
        """Return what a driver said, without the secrets of this URL."""
        return scrub(text, self._secrets)

    def engine(self, **options: Any) -> sa.Engine:
        """Return an engine, which connects to nothing yet.

        Raises:
            ConfigError: `url.driver`, or `url.option` where the driver takes none of that name or value.
        """
        self.check_driver()
        try:
            return sa.create_engine(self.url, **options)
        except (sa.exc.ArgumentError, ValueError) as error:
            message = f"what follows the question mark is not for this driver: {self.scrub(str(error))}"
            raise ConfigError("url.option", "url", message) from None

    def check_driver(self) -> None:
        """Refuse a URL whose driver is not installed, or does not wait for answers.

        Raises:
            ConfigError: `url.driver`.
        """
        try:
            dialect = self.url.get_dialect()
            dialect.import_dbapi()
        except ImportError as error:
            hint = _DRIVERS.get(str(error.name), f"install the Python package {error.name}")
            message = f"the driver for {self.url.drivername} is not installed ({error}): {hint}"
            raise ConfigError("url.driver", "url", message) from error
        if dialect.is_async:
            message = f"{self.url.drivername} is for asyncio: name a driver that is not"
            raise ConfigError("url.driver", "url", message)

    def __str__(self) -> str:
        shown = sa.URL.create(
            self.dialect, self.url.username, None, self.url.host, self.url.port, self.url.database
        )
        return shown.render_as_string()


@dataclass(frozen=True, slots=True)
class TablePlace:
    """One table of one database: what a destination owns."""

    server: Server
    schema: str | None
    table: str

    def overlaps(self, other: object) -> bool:
        """Return whether it is the same table, as far as two URLs tell."""
        return isinstance(other, TablePlace) and self._key() == other._key()

    def _key(self) -> tuple[object, ...]:
        url, dialect = self.server.url, self.server.dialect
        schema = self.schema or _SCHEMAS.get(dialect)
        if self.server.file is not None:
            return dialect, self.server.file.resolve(), schema, self.table.lower()
        host = "localhost" if url.host in _HERE else str(url.host).lower()
        return dialect, host, url.port or _PORTS.get(dialect), url.database, schema, self.table

    def __str__(self) -> str:
        name = f"{self.schema}.{self.table}" if self.schema else self.table
        return f"{self.server}, table {name}"


# What cannot be read is not shown: nobody knows where in it the password is.
def _read(url: str) -> sa.URL:
    try:
        read = sa.make_url(re.sub(r"^postgres(?=[:+])", "postgresql", url))
    except (sa.exc.ArgumentError, ValueError, TypeError):
        raise ConfigError("url.syntax", "url", f"cannot be read as the URL of a database: {_HOW}") from None
    return read


def _dialect(url: sa.URL) -> str:
    name = url.get_backend_name()
    try:
        url.get_dialect()
    except NoSuchModuleError:
        message = f"{url.drivername!r} is no database that SQLAlchemy knows{nearest(name, _DIALECTS)}: {_HOW}"
        raise ConfigError("url.dialect", "url", message) from None
    except ImportError:
        return name  # some dialects look for their driver at once: `check_driver` says it
    return name


def _secrets(url: sa.URL) -> list[str]:
    query: Mapping[str, str | tuple[str, ...]] = url.query
    found = [str(url.password)] if url.password else []
    for name, value in query.items():
        if is_secret(name):
            found += [value] if isinstance(value, str) else value
    return found


def _check_file(url: sa.URL) -> None:
    database = url.database or ""
    if not database or database == ":memory:":
        message = "an SQLite in memory ends with its process: name a file, or use MemoryDestination"
        raise ConfigError("url.memory", "url", message)
    if database.startswith("file:") or "\0" in database:
        raise ConfigError("url.syntax", "url", "name the file itself: sqlite:///folder/bars.db")
    if url.query:
        raise ConfigError("url.syntax", "url", f"an SQLite here takes no ?{min(url.query)}: leave it out")
