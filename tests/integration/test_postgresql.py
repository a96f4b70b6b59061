"""What a real PostgreSQL may answer: each outage, refusal and conflict, and what is done about it."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from destinations.sql_records import SQLRecords
from destinations.sql_upsert import CopyUpsert
from router.batch import PointBatch
from router.errors import ConfigError, DestinationError, TerminalError, TransientError, UnavailableError
from tests.acceptance.fleet_fixture import until
from tests.faults.proxy import MOMENTS, Proxy
from tests.integration.conftest import Database
from tests.integration.writing import Writing
from tests.make import make_batch, make_point
from tests.servers.postgres import LOCKED, plain

PASSWORD = "s3cr3t"


@contextlib.contextmanager
def session(database: Database) -> Iterator[psycopg.Connection]:
    """Give a session of somebody else's, in a transaction."""
    with contextlib.closing(psycopg.connect(plain(database.url))) as other:
        yield other


def waiting(database: Database) -> int:
    """Return how many destinations wait for a lock that somebody else has."""
    asked = "SELECT count(*) AS waiting FROM pg_stat_activity WHERE {wanted}"
    wanted = "application_name = 'candlefleet' AND wait_event_type = 'Lock'"
    return int(database.ask(asked.replace("{wanted}", wanted))[0]["waiting"])


def end_connections(database: Database) -> None:
    """Let the server end every connection of a destination."""
    ours = "application_name = 'candlefleet'"
    database.ask(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {ours}")


def raised(database: Database, url: str, **options) -> DestinationError:
    with pytest.raises(DestinationError) as found:
        database.destination(url, **options).open()
    return found.value


# -- no connection, no permission ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "port", "name", "says", "hint"),
    [
        ("candles", 1, "postgres", "refused", "start the server, or mend host and port"),
        (f"{LOCKED}:{PASSWORD}", None, "postgres", "password", "mend user and password"),
        ("nobody_at_all", None, "postgres", "does not exist", "mend user and password"),
        ("candles", None, "nowhere", "does not exist", "create the database"),
    ],
)
def test_who_is_not_let_in_waits_and_is_told_what_to_do(own, server, user, port, name, says, hint):
    error = raised(own, server.url_for(user, port, name))
    assert isinstance(error, UnavailableError)
    assert f"127.0.0.1:{port or server.port}/{name}" in str(error)
    assert says in str(error)
    assert hint in str(error)
    assert PASSWORD not in str(error)


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("sslmode=bogus", "mend what follows the question mark in url"),
        ("nonsense=1", "mend what follows the question mark in url"),
        ("sslmode=require", "let the server speak TLS, or mend sslmode in url"),
    ],
)
def test_an_option_of_the_url_that_does_not_fit_waits_and_is_named(postgres, query, hint):
    error = raised(postgres, f"{postgres.url}?{query}")
    assert isinstance(error, UnavailableError)
    assert hint in str(error)


def test_a_wrong_password_waits_and_the_right_one_writes(own, server):
    own.ask(f"CREATE ROLE {LOCKED} LOGIN PASSWORD '{PASSWORD}'")
    own.ask(f"GRANT ALL ON SCHEMA public TO {LOCKED}")
    error = raised(own, server.url_for(f"{LOCKED}:wr0ng"))
    assert isinstance(error, UnavailableError)
    assert "password authentication failed" in str(error)
    assert "wr0ng" not in str(error)
    destination = own.destination(server.url_for(f"{LOCKED}:{PASSWORD}"))
    destination.write_batch(make_batch(3))
    assert len(own.rows()) == 3


def test_a_user_who_may_not_make_or_write_tables_waits_until_he_may(own, server):
    own.ask("CREATE ROLE reader LOGIN")
    url = server.url_for("reader")
    assert "permission denied for schema public" in str(raised(own, url))
    own.destination().open()
    own.ask("GRANT SELECT ON {table}, {table}_written TO reader")
    batch = make_batch(3)
    destination = own.destination(url)
    with pytest.raises(UnavailableError, match=r"permission denied.*grant the user"):
        destination.write_batch(batch)
    own.ask("GRANT ALL ON {table}, {table}_written TO reader")
    destination.write_batch(batch)
    assert len(own.rows()) == 3


def test_a_user_who_may_not_make_temporary_tables_writes_all_the_same(own, server):
    own.ask("CREATE ROLE plain LOGIN")
    own.ask("GRANT ALL ON SCHEMA public TO plain")
    own.ask("REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC")
    destination = own.destination(server.url_for("plain"))
    destination.open()
    assert not isinstance(destination._upsert, CopyUpsert)
    for _ in range(2):
        destination.write_batch(make_batch(300, technical_indicators={"rsi": 1.5}))
    assert len(own.rows()) == 300
    own.ask("GRANT TEMPORARY ON DATABASE postgres TO PUBLIC")


def test_a_schema_that_is_not_there_is_named(postgres):
    with pytest.raises(ConfigError, match="CREATE SCHEMA nowhere") as refused:
        postgres.destination(schema="nowhere").open()
    assert refused.value.code == "table.schema"


def test_a_schema_of_the_users_own_holds_both_tables(postgres):
    postgres.ask("CREATE SCHEMA IF NOT EXISTS market")
    destination = postgres.destination(schema="market")
    destination.write_batch(make_batch(3))
    assert len(postgres.ask("SELECT * FROM market.{table}")) == 3
    assert destination.on_record("everything") == 3


def test_a_standby_that_only_reads_waits(postgres):
    destination = postgres.destination(f"{postgres.url}?options=-c%20default_transaction_read_only%3Don")
    postgres.destination().open()
    with pytest.raises(UnavailableError, match=r"read-only transaction.*name the primary"):
        destination.write_batch(make_batch(1))


# -- conflicts -----------------------------------------------------------------------------------


def test_a_deadlock_costs_an_attempt_and_the_same_rows_are_written_again(postgres):
    destination = postgres.destination()
    first = PointBatch.of([make_point(symbol=name) for name in ("A", "B")])
    destination.write_batch(first)
    with session(postgres) as other:
        other.execute("SET deadlock_timeout = '1h'")
        other.execute(f"UPDATE {postgres.table} SET volume = 1 WHERE symbol = 'B'")
        revised = PointBatch.of([make_point(symbol=name, close=42_000.25) for name in ("A", "B")])
        writing = Writing(lambda: destination.write_batch(revised))
        until(lambda: waiting(postgres), "the write waits for B")
        other.execute(f"UPDATE {postgres.table} SET volume = 1 WHERE symbol = 'A'")
        other.rollback()
    error = writing.ended()
    assert isinstance(error, TransientError)
    assert "deadlock detected" in str(error)
    destination.write_batch(revised)
    assert postgres.closes() == [42_000.25, 42_000.25]


def test_a_serialization_failure_costs_an_attempt_and_the_same_rows_are_written_again(postgres):
    strict = f"{postgres.url}?options=-c%20default_transaction_isolation%3Dserializable"
    destination = postgres.destination(strict)
    destination.write_batch(make_batch(1))
    batch = make_batch(1)
    with session(postgres) as other:
        other.execute(f"UPDATE {postgres.table} SET volume = 1")
        writing = Writing(lambda: destination.write_batch(batch))
        until(lambda: waiting(postgres), "the write waits for the row")
        other.commit()
    error = writing.ended()
    assert isinstance(error, TransientError)
    assert "could not serialize access" in str(error)
    destination.write_batch(batch)
    assert len(postgres.rows()) == 1


def test_a_statement_that_takes_too_long_is_given_up_and_tried_again(postgres):
    destination = postgres.destination(timeout=1)
    destination.open()
    batch = make_batch(3)
    with session(postgres) as other:
        other.execute(f"LOCK TABLE {postgres.table}")
        with pytest.raises(TransientError, match="statement timeout"):
            destination.write_batch(batch)
    destination.write_batch(batch)
    assert len(postgres.rows()) == 3


def test_the_time_limit_is_for_our_own_transactions_alone(postgres):
    destination = postgres.destination()
    destination.open()
    assert destination._connection is not None
    shown = destination._connection.exec_driver_sql("SHOW statement_timeout").scalar()
    destination._connection.commit()
    assert shown == "0"


def test_a_name_that_is_longer_than_the_users_column_is_refused(postgres):
    destination = postgres.destination()
    destination.open()
    postgres.ask("ALTER TABLE {table} ALTER COLUMN symbol TYPE varchar(5)")
    destination = postgres.destination()
    with pytest.raises(TerminalError, match="too long") as refused:
        destination.write_batch(make_batch(4, ["SHORT", "TOO LONG"]))
    assert refused.value.rows is None
    assert postgres.rows() == []


# -- rows that are copied -------------------------------------------------------------------------


def test_a_row_that_another_process_puts_in_meanwhile_is_revised(postgres):
    destination = postgres.destination()
    destination.write_batch(make_batch(1, ["A"]))
    with session(postgres) as other:
        copied = f"INSERT INTO {postgres.table} SELECT source, 'B', timeframe, timestamp, 1, 1, 1, 1,"
        other.execute(copied + f" NULL, asset_class, 1, false, NULL, 0, 0 FROM {postgres.table}")
        writing = Writing(lambda: destination.write_batch(make_batch(4, ["B"])))
        until(lambda: waiting(postgres), "the copy waits for the other row")
        other.commit()
    assert writing.ended() is None
    assert postgres.closes() == [42_000.5, 42_000.5, 42_001.0, 42_001.5, 42_002.0]


def test_a_table_with_row_level_security_takes_new_and_revised_rows(own, server):
    own.ask("CREATE ROLE tenant LOGIN")
    own.ask("GRANT ALL ON SCHEMA public TO tenant")
    destination = own.destination(server.url_for("tenant"))
    destination.open()
    own.ask("ALTER TABLE {table} FORCE ROW LEVEL SECURITY, ENABLE ROW LEVEL SECURITY")
    own.ask("CREATE POLICY mine ON {table} USING (source = 'exchange-a')")
    destination.close()
    for close in (42_000.25, 42_000.75):
        destination.write_batch(make_batch(4, close=close, low=41_000.0, high=43_000.0))
    assert own.closes() == [42_000.75] * 4
    with pytest.raises(UnavailableError, match="row-level security"):
        destination.write_batch(make_batch(4, source="exchange-b"))


@pytest.mark.parametrize("kind", ["json", "text"])
def test_indicators_of_a_users_own_table_may_be_json_or_text(postgres, kind):
    postgres.destination().open()
    postgres.ask("ALTER TABLE {table} ALTER technical_indicators TYPE " + kind)
    destination = postgres.destination()
    for value in (1.5, 2.5):
        destination.write_batch(make_batch(4, technical_indicators={"rsi": value}))
    found = postgres.ask("SELECT technical_indicators::jsonb ->> 'rsi' AS rsi FROM {table}")
    assert [row["rsi"] for row in found] == ["2.5"] * 4


# -- the server goes, and comes back -------------------------------------------------------------


def test_a_connection_that_the_server_ends_is_made_again(postgres):
    destination = postgres.destination()
    destination.write_batch(make_batch(3))
    end_connections(postgres)
    assert destination.on_record("everything") == 3
    destination.open()
    end_connections(postgres)
    batch = make_batch(5, ["OTHER"])
    with pytest.raises(TransientError):
        destination.write_batch(batch)
    destination.write_batch(batch)
    assert len(postgres.rows()) == 8


def test_a_server_killed_in_mid_write_and_started_again_has_every_row_once(own, server):
    destination = own.destination()
    destination.write_batch(make_batch(10, batch_id="before"))
    batch = make_batch(1000, ["A", "B"])
    with session(own) as other:
        other.execute(f"LOCK TABLE {own.table} IN SHARE MODE")
        writing = Writing(lambda: destination.write_batch(batch))
        until(lambda: waiting(own), "the rows are copied, and wait to be merged")
        server.kill()
    assert isinstance(writing.ended(), TransientError)
    with pytest.raises(UnavailableError, match="start the server"):
        destination.write_batch(batch)
    server.start()
    for _ in range(2):
        destination.write_batch(batch)
    assert len(own.rows()) == destination.on_record("everything") == 1010


@pytest.mark.slow
def test_a_server_killed_again_and_again_has_every_row_once(own, server):
    batches = [make_batch(200, ["A", "B"], source=f"exchange-{number}") for number in range(60)]
    destination, done = own.destination(), threading.Event()

    def write_all() -> None:
        for batch in batches:
            until(lambda batch=batch: is_written(batch), "the batch is written")
        done.set()

    def is_written(batch: PointBatch) -> bool:
        try:
            destination.write_batch(batch)
        except (TransientError, UnavailableError):
            return False
        return True

    destination.open()
    writing, dice = Writing(write_all), random.Random(5)
    for _ in range(5):
        done.wait(dice.uniform(0.05, 0.3))
        server.kill()
        server.start()
    assert writing.ended() is None
    assert len(own.rows()) == destination.on_record("everything") == 12_000


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_commit_whose_answer_is_lost_is_written_once(own, server, moment):
    proxy = Proxy(server.port)
    try:
        destination = own.destination(server.url_for("candles", proxy.port) + "?sslmode=disable")
        destination.write_batch(make_batch(5, batch_id="before"))
        batch = make_batch(500, ["A", "B"])
        cut = proxy.arm(b"COMMIT", moment)
        with pytest.raises(TransientError):
            destination.write_batch(batch)
        assert cut.done.is_set()
        held = destination.holds(batch).tolist()
        assert held == [len(own.rows()) == 505] * 500
        for _ in range(2):
            destination.write_batch(batch)
        assert len(own.rows()) == destination.on_record("everything") == 505
        destination.close()
    finally:
        proxy.close()


def test_two_workers_that_make_the_tables_at_once_both_write(own):
    barrier = threading.Barrier(4)

    def write(number: int) -> None:
        destination = own.destination()
        barrier.wait()
        destination.write_batch(make_batch(20, [f"S{number}"]))

    writings = [Writing(lambda number=number: write(number)) for number in range(4)]
    assert [writing.ended() for writing in writings] == [None] * 4
    assert len(own.rows()) == 80


# -- what is forgotten ---------------------------------------------------------------------------


def test_what_is_written_while_it_is_about_to_be_forgotten_stays_on_record(postgres):
    batch, destination, writer = make_batch(20), postgres.destination(), postgres.destination()
    destination.write_batch(batch.slice(0, 5))

    def settled(*_asked: object) -> list[str]:
        writer.write_batch(batch.slice(5, 20))
        return []

    assert destination.prune(timedelta(0), settled) == 0
    assert destination.holds(batch).all()
    assert destination.on_record("everything") == 20


def test_what_is_forgotten_before_a_write_could_lock_it_is_recorded_anew(postgres, monkeypatch):
    batch, destination, writer = make_batch(20), postgres.destination(), postgres.destination()
    destination.write_batch(batch.slice(0, 5))
    real, gone = SQLRecords._begin, []

    def begin(*arguments: object) -> None:
        real(*arguments)
        monkeypatch.setattr(SQLRecords, "_begin", real)
        gone.append(destination.prune(timedelta(0), lambda *_: []))

    monkeypatch.setattr(SQLRecords, "_begin", begin)
    writer.write_batch(batch.slice(5, 20))
    assert gone == [1]
    assert destination.holds(batch).tolist() == [row >= 5 for row in range(20)]
    assert destination.on_record("everything") == 20


def test_forgetting_waits_for_a_write_and_leaves_what_it_recorded(postgres):
    batch, destination, writer = make_batch(20), postgres.destination(), postgres.destination()
    destination.write_batch(batch.slice(0, 5))
    with session(postgres) as other:
        other.execute(f"LOCK TABLE {postgres.table} IN SHARE MODE")
        write = Writing(lambda: writer.write_batch(batch.slice(5, 20)))
        until(lambda: waiting(postgres) == 1, "a write is under way")
        forget = Writing(lambda: destination.prune(timedelta(0), lambda *_asked: []))
        until(lambda: waiting(postgres) == 2, "it is waited for")
        other.commit()
    assert [write.ended(), forget.ended()] == [None, None]
    assert destination.holds(batch).all()
    assert destination.on_record("everything") == 20
