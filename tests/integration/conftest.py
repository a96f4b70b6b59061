"""The databases that the tests of this folder write to."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ulid import ULID

from destinations import SQLDestination
from tests.servers.postgres import Postgres, own_postgres


@dataclass(frozen=True)
class Database:
    """One database, and a table in it that no other test knows."""

    url: str
    table: str
    made: list[SQLDestination] = field(default_factory=list)

    def destination(self, url: str | None = None, **options: Any) -> SQLDestination:
        """Return a destination for the table, by another URL if it is said; it is closed after the test."""
        self.made.append(SQLDestination(url or self.url, self.table, **options))
        return self.made[-1]

    def close(self) -> None:
        """Close every destination."""
        for destination in self.made:
            destination.close()

    def ask(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Execute a statement by itself and return its rows; {table} stands for the table."""
        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            done = connection.execute(sa.text(statement.format(table=self.table)), values)
            return [dict(row) for row in done.mappings()] if done.returns_rows else []

    def rows(self) -> list[dict[str, Any]]:
        """Return every row, by identity."""
        return self.ask("SELECT * FROM {table} ORDER BY source, symbol, timeframe, timestamp")

    def closes(self) -> list[float]:
        """Return the closing price of every row, by identity."""
        return [row["close"] for row in self.rows()]


def new_table() -> str:
    """Return a name that no table has."""
    return f"bars_{ULID()}".lower()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give each database in turn."""
    url = f"sqlite:///{tmp_path / 'bars.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    with closing(Database(url, new_table())) as found:
        yield found


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """Give an SQLite."""
    with closing(Database(f"sqlite:///{tmp_path / 'bars.db'}", "ohlcv")) as found:
        yield found


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    """Give the PostgreSQL that all tests share."""
    with closing(Database(postgres_url, new_table())) as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Give a PostgreSQL that may be killed."""
    with own_postgres() as its_own:
        yield its_own


@pytest.fixture
def own(server: Postgres) -> Iterator[Database]:
    """Give a table of the server that may be killed."""
    with closing(Database(server.url, new_table())) as found:
        yield found


@pytest.fixture(scope="module")
def sockets() -> Iterator[None]:
    """Collect the sockets that kafka-python leaves behind where no connection came about."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
