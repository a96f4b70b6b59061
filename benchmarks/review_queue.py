"""Points/s into a review queue, revisions and record and all, beside a plain INSERT of the same rows."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
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
from destinations import QualityReviewQueue
from destinations.review_table import COMES_WITH, review_columns
from destinations.sql_tables import POINT_COLUMNS
from router.batch import PointBatch
from tests.servers.postgres import installed, own_postgres, plain

#: What a part holds.
PART: Final = 10_000
SQLITE: Final = "sqlite3, executemany of a plain INSERT, with no index and no record"
POSTGRES: Final = "psycopg, executemany of a plain INSERT, with no index and no record"


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure SQLite, and PostgreSQL where it is installed."""
    rows, seconds = (20_000, 2.0) if quick else (100_000, 15.0)
    databases = [("SQLite", SQLITE, measure_sqlite)]
    if installed() is None:
        say("review_queue: PostgreSQL is not installed")
    else:
        databases.append(("PostgreSQL", POSTGRES, measure_postgres))
    for name, peer, measure in databases:
        say(f"review_queue: {rows:,} bars that wait in {name}, beside {peer}")
        ours, theirs = in_fresh_process(measure, rows, seconds)
        yield Figure(
            case="review_queue", what=f"bars that wait in {name}", unit="points/s", runs=ours,
            peer=peer, peer_runs=theirs, goal=Goal(0.5, "ratio"),
        )  # fmt: skip


def measure_sqlite(rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the queue and of the driver, each into files of its own."""
    parts = list(batches(make_bars(rows), PART))

    def ours(folder: Path) -> None:
        write(QualityReviewQueue(f"sqlite:///{folder / 'ours.db'}"), parts)

    def theirs(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "peer.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(definition("sqlite", "peer"))
            for number, part in enumerate(parts):
                connection.executemany(plain_insert("peer", "?"), plain_rows(part, number, "2026-01-01"))
                connection.commit()

    return alternate(partial(in_folder, ours, rows), partial(in_folder, theirs, rows), seconds=seconds)


def measure_postgres(rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the queue and of the driver, each into tables of its own."""
    parts = list(batches(make_bars(rows), PART))
    tables = (f"review_{number}" for number in count())
    with own_postgres() as server, psycopg.connect(plain(server.url)) as connection:

        def ours() -> int:
            write(QualityReviewQueue(server.url, next(tables)), parts)
            return rows

        def theirs() -> int:
            table = next(tables)
            connection.execute(definition("postgresql", table))
            for number, part in enumerate(parts):
                with connection.cursor() as cursor:
                    cursor.executemany(plain_insert(table, "%s"), plain_rows(part, number, "2026-01-01Z"))
                connection.commit()
            return rows

        return alternate(ours, theirs, seconds=seconds)


def plain_rows(part: PointBatch, number: int, now: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows as a driver takes them, in the order of `COMES_WITH`."""
    first = number * PART
    for row, point in enumerate(part.frame.select(POINT_COLUMNS).iter_rows()):
        moment = (*point[:3], point[3].isoformat(" "), *point[4:])
        yield (first + row + 1, "poor", *moment, number, row, "batch", "a reason", now, "waiting")


def plain_insert(table: str, mark: str) -> str:
    """Return the statement for one row."""
    return f"INSERT INTO {table} ({', '.join(COMES_WITH)}) VALUES ({', '.join([mark] * len(COMES_WITH))})"


def definition(dialect: str, table: str) -> str:
    """Return the statement that makes the same table, without its indexes."""
    columns = [item for item in review_columns(dialect) if isinstance(item, sa.Column)]
    made = sa.create_engine(f"{dialect}://").dialect
    return str(CreateTable(sa.Table(table, sa.MetaData(), *columns)).compile(dialect=made))


def write(queue: QualityReviewQueue, parts: list[PointBatch]) -> None:
    """Write all parts."""
    for part in parts:
        queue.write_batch(part)
    queue.close()


def in_folder(work: Any, rows: int) -> int:
    """Let something be written into a folder that was not there before; return how many rows."""
    with tempfile.TemporaryDirectory() as name:
        work(Path(name))
    return rows
