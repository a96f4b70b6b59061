"""Points/s into SQL tables, upsert and record and all, beside the drivers used as their pages say."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from benchmarks.bars import batches, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.timing import alternate, in_fresh_process
from destinations import SQLDestination
from destinations.revisions import ACCEPTANCE
from destinations.sql_rows import newest_rows
from destinations.sql_tables import POINT_COLUMNS, Tables
from destinations.sql_upsert import COLUMNS
from router.batch import PointBatch
from router.schema import IDENTITY
from tests.servers.postgres import installed, own_postgres, plain

#: What a part holds under backlog.
PART: Final = 50_000
COPY: Final = "psycopg, copy.write_row, which revises nothing"
STAGED: Final = "psycopg, copy.write_row into a temporary table and INSERT … ON CONFLICT"
UPSERT: Final = "psycopg, executemany of the same upsert"
EXECUTEMANY: Final = "sqlite3, executemany of the same upsert"
GIVEN_ROWS: Final = f"{EXECUTEMANY}, of rows made before"
_NAMES: Final = ", ".join(POINT_COLUMNS)
#: A row as a driver takes it.
Row = tuple[Any, ...]


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure SQLite, and PostgreSQL where it is installed."""
    rows, seconds = (50_000, 2.0) if quick else (200_000, 15.0)
    for peer, goal in ((EXECUTEMANY, Goal(1, "ratio")), (GIVEN_ROWS, None)):
        say(f"sql: {rows:,} bars into SQLite, beside {peer}")
        ours, theirs = in_fresh_process(measure_sqlite, peer, rows, seconds)
        yield Figure(
            case="sql", what=f"{rows:,} bars into SQLite", unit="points/s", runs=ours,
            peer=peer, peer_runs=theirs, goal=goal,
        )  # fmt: skip
    if installed() is None:
        say("sql: PostgreSQL is not installed")
        return
    for peer, goal in ((COPY, Goal(1, "ratio")), (STAGED, Goal(1, "ratio")), (UPSERT, Goal(5, "ratio"))):
        say(f"sql: {rows:,} bars into PostgreSQL, beside {peer}")
        ours, theirs = in_fresh_process(measure_postgres, peer, rows, seconds)
        yield Figure(
            case="sql", what=f"{rows:,} bars into PostgreSQL", unit="points/s", runs=ours,
            peer=peer, peer_runs=theirs, goal=goal,
        )  # fmt: skip


def measure_sqlite(peer: str, rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination and of the driver, each into files of its own."""
    frame = make_bars(rows)
    parts = list(batches(frame, PART))
    made = [sqlite_rows(part) for part in parts] if peer == GIVEN_ROWS else None

    def ours(folder: Path) -> None:
        write(SQLDestination(f"sqlite:///{folder / 'ours.db'}"), parts)

    def theirs(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "peer.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(definition("sqlite", "bars", COLUMNS))
            for some in made or map(sqlite_rows, parts):
                connection.executemany(upsert("bars", "?"), some)
                connection.commit()

    return alternate(partial(in_folder, ours, rows), partial(in_folder, theirs, rows), seconds=seconds)


def sqlite_rows(part: PointBatch) -> list[Row]:
    """Return rows as the driver takes them, in the order of a batch."""
    numbered = part.frame.select(POINT_COLUMNS).iter_rows()
    return [(*row[:3], row[3].isoformat(" "), *row[4:], 0, number) for number, row in enumerate(numbered)]


def measure_postgres(peer: str, rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination and of the driver, each into tables of its own.

    The driver gets rows that were made, sorted and rid of doubles before, and records nothing.
    """
    parts = list(batches(make_bars(rows), PART))
    columns = POINT_COLUMNS if peer == COPY else COLUMNS
    made = [newest_rows(part).select(columns).rows() for part in parts]
    tables = (f"bars_{number}" for number in count())
    with own_postgres() as server, psycopg.connect(plain(server.url)) as connection:

        def ours() -> int:
            write(SQLDestination(server.url, next(tables)), parts)
            return rows

        def theirs() -> int:
            table = next(tables)
            connection.execute(definition("postgresql", table, columns))
            for some in made:
                with connection.cursor() as cursor:
                    LOAD[peer](cursor, table, some)
                connection.commit()
            return rows

        return alternate(ours, theirs, seconds=seconds)


def copied(cursor: psycopg.Cursor[Any], table: str, rows: list[Row], columns: Sequence[str]) -> None:
    """Load rows row by row through COPY. Source: psycopg 3 documentation, Using COPY TO and COPY FROM."""
    with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def staged(cursor: psycopg.Cursor[Any], table: str, rows: list[Row]) -> None:
    """Load rows through a temporary table, and from there keep the newest revision of each."""
    cursor.execute(f"CREATE TEMPORARY TABLE staged (LIKE {table}) ON COMMIT DROP")
    copied(cursor, "staged", rows, COLUMNS)
    names = ", ".join(COLUMNS)
    cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM staged {revised(table)}")


def upserted(cursor: psycopg.Cursor[Any], table: str, rows: list[Row]) -> None:
    """Load rows one by one, and keep the newest revision of each."""
    cursor.executemany(upsert(table, "%s"), rows)


def upsert(table: str, mark: str) -> str:
    """Return the statement for one row."""
    marks = ", ".join([mark] * len(COLUMNS))
    return f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({marks}) {revised(table)}"


def revised(table: str) -> str:
    """Return what an INSERT does where a row of that identity is there."""
    changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in IDENTITY)
    newer = ", ".join(f"excluded.{name}" for name in ACCEPTANCE)
    there = ", ".join(f"{table}.{name}" for name in ACCEPTANCE)
    return f"ON CONFLICT ({', '.join(IDENTITY)}) DO UPDATE SET {changed} WHERE ({newer}) >= ({there})"


LOAD: Final[dict[str, Callable[[psycopg.Cursor[Any], str, list[Row]], None]]] = {
    COPY: partial(copied, columns=POINT_COLUMNS),
    STAGED: staged,
    UPSERT: upserted,
}


def definition(dialect: str, table: str, columns: Sequence[str] = POINT_COLUMNS) -> str:
    """Return the statement that makes the same table, of some columns: revisions need all."""
    points = Tables(dialect, table).points
    kept = [column._copy() for column in points.columns if column.name in columns]
    plain_table = sa.Table(table, sa.MetaData(), *kept, sqlite_with_rowid=False)
    made = sa.create_engine(f"{dialect}://").dialect
    return str(CreateTable(plain_table).compile(dialect=made))


def write(destination: SQLDestination, parts: list[PointBatch]) -> None:
    """Write all parts."""
    for part in parts:
        destination.write_batch(part)
    destination.close()


def in_folder(work: Callable[[Path], None], rows: int) -> int:
    """Let something be written into a folder that was not there before; return how many rows."""
    with tempfile.TemporaryDirectory() as name:
        work(Path(name))
    return rows
