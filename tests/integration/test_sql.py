"""What arrives in real databases: every value as it was, the newest revision of each point, once."""

from __future__ import annotations

import json
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest

from destinations import SQLDestination
from router.batch import BatchRows, PointBatch
from router.errors import ConfigError, TerminalError, TransientError, UnavailableError
from router.points import NormalizedDataPoint
from router.rows import Rows
from router.schema import COLUMNS
from tests.integration.conftest import Database
from tests.make import make_batch, make_point

NUMBERS = (0.1 + 0.2, 1e-300, 1.7976931348623157e308, 392.35000000000002, 5e-324, 123456789.12345679)
SYMBOLS = (
    "BTC/USDT",
    'A"quoted", and, commas',
    "it's; DROP TABLE ohlcv; --",
    '=HYPERLINK("http://x.invalid","a")',
    "NULL",
    "Übergröße",
    "日本",
    "\u0412\u0422\u0421",
    "🚀",
    "a",
    "A",
    "%s %(x)s :x ?",
    "007",
)


def make_accepted(number: int, row: int = 0, **changes) -> PointBatch:
    part = BatchRows(f"batch-{number}", Rows([row]), number)
    return PointBatch(PointBatch.of([make_point(**changes)]).table, [part], "everything")


def read_back(database: Database) -> list[NormalizedDataPoint]:
    points = []
    for row in database.rows():
        given = {name: row[name] for name in COLUMNS}
        if isinstance(given["technical_indicators"], str):
            given["technical_indicators"] = json.loads(given["technical_indicators"])
        given["is_realtime"] = bool(given["is_realtime"])
        points.append(NormalizedDataPoint(**given))
    return points


# -- values --------------------------------------------------------------------------------------


def test_every_field_of_every_point_is_read_back_as_it_was(database):
    points = [
        make_point(
            row=row,
            symbol=symbol,
            timestamp=datetime(2004, 1, 1, 5, 30, 0, row, tzinfo=UTC) + timedelta(days=400 * row),
            timeframe="tick",
            **dict.fromkeys(("open", "high", "low", "close"), NUMBERS[row % len(NUMBERS)]),
            volume=(None, 0.0, 12.5)[row % 3],
            technical_indicators=(None, {}, {"rsi": 66.3, 'a"b': -1e-7})[row % 3],
            is_realtime=row % 2 == 0,
            data_quality_score=row / 20,
        )
        for row, symbol in enumerate(SYMBOLS)
    ]
    points.append(
        make_point(asset_class="futures", symbol="CL", open=-37.0, high=-36.0, low=-40.0, close=-37.63)
    )
    database.destination().write_batch(PointBatch.of(points))
    assert sorted(read_back(database), key=repr) == sorted(points, key=repr)


def test_an_absent_volume_is_null_and_absent_indicators_are_no_json(database):
    database.destination().write(make_point(volume=None))
    query = "SELECT count(*) AS nulls FROM {table} WHERE volume IS NULL AND technical_indicators IS NULL"
    assert database.ask(query) == [{"nulls": 1}]


def test_timestamps_sort_and_compare_as_time_does(database):
    database.destination().write_batch(make_batch(10))
    query = "SELECT count(*) AS rows FROM {table} WHERE timestamp >= '2024-01-01 00:07:00.000000+00:00'"
    assert database.ask(query) == [{"rows": 3}]


# -- revisions -----------------------------------------------------------------------------------


def test_a_revision_takes_the_place_of_the_older_row(database):
    destination = database.destination()
    destination.write_batch(make_accepted(5, close=42_000.25, volume=None))
    destination.write_batch(make_accepted(7, close=42_000.75, volume=3.0))
    (row,) = database.rows()
    assert (row["close"], row["volume"], row["acceptance_number"]) == (42_000.75, 3.0, 7)


def test_a_retry_of_an_old_batch_leaves_the_newer_revision(database):
    destination = database.destination()
    destination.write_batch(make_accepted(7, close=42_000.75))
    destination.write_batch(make_accepted(5, close=42_000.25))
    assert database.closes() == [42_000.75]
    assert destination.on_record("everything") == 2


def test_of_two_rows_of_one_batch_the_later_stays_whichever_part_comes_last(database):
    destination = database.destination()
    destination.write_batch(make_accepted(5, row=9, close=42_000.75))
    destination.write_batch(make_accepted(5, row=2, close=42_000.25))
    assert database.closes() == [42_000.75]


def test_of_one_identity_twice_in_a_part_the_last_stays(database):
    closes = [42_000.0 + step / 8 for step in range(5)]
    points = [make_point(close=close) for close in closes]
    database.destination().write_batch(PointBatch.of(points))
    assert database.closes() == closes[-1:]


def test_what_is_written_without_a_fleet_is_newer_than_what_was_there(database):
    destination = database.destination()
    for close in (42_000.75, 42_000.25):
        destination.write(make_point(close=close))
    assert database.closes() == [42_000.25]


def test_one_batch_id_for_two_batches_is_refused(database):
    destination = database.destination()
    destination.write_batch(make_batch(3, batch_id="one"))
    with pytest.raises(TerminalError, match="one id stands for two batches"):
        destination.write_batch(make_batch(3, ["OTHER"], batch_id="one"))
    assert len(database.rows()) == 3


# -- what was written ----------------------------------------------------------------------------


def test_the_record_counts_rows_once_for_each_route(database):
    destination = database.destination()
    batch = make_batch(700)
    destination.write_batch(batch.slice(0, 400))
    destination.write_batch(batch.slice(200, 700))
    destination.write_batch(batch.slice(0, 9).for_route("other"))
    reader = database.destination()
    assert [reader.on_record(name) for name in ("everything", "other", "none")] == [700, 9, 0]
    reader.close()


def test_asking_for_the_record_makes_no_table(database, tmp_path):
    assert database.destination().on_record("everything") is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=f"CREATE TABLE {database.table}"):
        database.destination(create=False).open()


def test_a_part_of_a_thousand_small_batches_is_recorded_whole(database):
    batches = [make_batch(1, [f"S{number}"]) for number in range(1200)]
    destination = database.destination()
    for _ in range(2):
        destination.write_batch(PointBatch.concat(batches))
    assert destination.on_record("everything") == len(database.rows()) == 1200


def test_what_is_forgotten_still_counts_and_what_is_owed_is_not_forgotten(database):
    destination = database.destination()
    for name in ("old", "owed"):
        destination.write_batch(make_batch(5, [name], batch_id=name))
    assert destination.prune(timedelta(days=1), lambda *_: []) == 0
    assert destination.prune(timedelta(0), lambda *_: ["owed"]) == 1
    assert destination.prune(timedelta(0), lambda *_: ["owed"]) == 0
    assert destination.on_record("everything") == 10
    assert [row["batch"] for row in database.ask("SELECT batch FROM {table}_written ORDER BY batch")] == [
        "",
        "owed",
    ]
    destination.write_batch(make_batch(5, ["old"], batch_id="old"))
    assert len(database.rows()) == 10


# -- several writers -----------------------------------------------------------------------------


def test_writers_of_overlapping_parts_leave_every_row_once(database):
    batches = [make_batch(60, ["A", "B", "C"], source=f"exchange-{number}") for number in range(4)]
    wrong: list[BaseException] = []

    def write(turn: int) -> None:
        destination = database.destination()
        try:
            for batch in batches[::-1] if turn % 2 else batches:
                destination.write_batch(batch.slice(0, 40))
                destination.write_batch(batch.slice(20, 60))
        except BaseException as error:
            wrong.append(error)
        finally:
            destination.close()

    writers = [threading.Thread(target=write, args=(turn,)) for turn in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert wrong == []
    assert len(database.rows()) == database.destination().on_record("everything") == 240


# -- tables of the user's own --------------------------------------------------------------------


def test_a_table_of_our_making_is_taken_again_with_or_without_create(database):
    database.destination().write_batch(make_batch(2))
    destination = database.destination(create=False)
    destination.write_batch(make_batch(4))
    assert len(database.rows()) == 4


#: What is done to both tables, the code of the refusal, and what it says.
MISFITS = [
    ("ALTER TABLE {table} DROP COLUMN volume", "table.column", "ADD COLUMN volume DOUBLE"),
    (
        "ALTER TABLE {table} DROP COLUMN acceptance_number",
        "table.column",
        "ADD COLUMN acceptance_number BIGINT NOT NULL DEFAULT 0",
    ),
    (
        "ALTER TABLE {table} DROP COLUMN open; ALTER TABLE {table} ADD open TEXT",
        "table.type",
        "open is of type TEXT",
    ),
    (
        "DROP TABLE {table}_written; CREATE TABLE {table}_written (route text)",
        "table.column",
        "no columns batch, digest",
    ),
]
#: SQLite has no statements for these.
MORE_MISFITS = [
    ("ALTER TABLE {table} ADD COLUMN desk INTEGER NOT NULL", "table.column", "desk must be given"),
    ("ALTER TABLE {table} ALTER COLUMN open TYPE real", "table.type", "open is of type REAL"),
    (
        "ALTER TABLE {table} ALTER COLUMN timestamp TYPE timestamp",
        "table.type",
        "WITH TIME ZONE is needed",
    ),
    ("ALTER TABLE {table} ALTER COLUMN timestamp TYPE timestamptz(3)", "table.type", "TIMESTAMP(3)"),
    (
        "ALTER TABLE {table} DROP CONSTRAINT {table}_pkey",
        "table.key",
        "ADD UNIQUE (source, symbol, timeframe",
    ),
    (
        "ALTER TABLE {table} DROP COLUMN is_realtime; ALTER TABLE {table} ADD is_realtime smallint",
        "table.type",
        "is_realtime is of type SMALLINT, and BOOLEAN is needed",
    ),
    (
        "CREATE TYPE {table}_class AS ENUM ('crypto');"
        " ALTER TABLE {table} ALTER COLUMN asset_class TYPE {table}_class USING NULL",
        "table.type",
        "asset_class is of type",
    ),
    (
        "ALTER TABLE {table} DROP CONSTRAINT {table}_pkey;"
        " CREATE UNIQUE INDEX ON {table} (source, symbol, timeframe, timestamp) WHERE close > 0",
        "table.key",
        "no unique key",
    ),
]


def refused_table(database: Database, change: str) -> ConfigError:
    database.destination().open()
    database.close()
    for statement in change.split("; "):
        database.ask(statement)
    with pytest.raises(ConfigError) as refused:
        database.destination().open()
    return refused.value


@pytest.mark.parametrize(("change", "code", "says"), MISFITS)
def test_a_table_that_does_not_fit_is_refused_with_what_to_change(database, change, code, says):
    refused = refused_table(database, change)
    assert refused.code == code
    assert says in refused.message


@pytest.mark.parametrize(("change", "code", "says"), MORE_MISFITS)
def test_a_postgresql_table_that_does_not_fit_is_refused_with_what_to_change(postgres, change, code, says):
    refused = refused_table(postgres, change)
    assert refused.code == code
    assert says in refused.message


def test_every_column_that_is_missing_is_named_at_once(database):
    database.ask("CREATE TABLE {table} (source TEXT, symbol TEXT, close DOUBLE PRECISION)")
    with pytest.raises(ConfigError, match="has no columns timeframe, timestamp, open, high, low") as refused:
        database.destination().open()
    assert "ADD COLUMN timeframe" in refused.value.message
    assert "ADD COLUMN acceptance_row BIGINT NOT NULL DEFAULT 0" in refused.value.message


def test_a_view_is_refused_for_what_it_is(database):
    database.destination().open()
    database.ask("CREATE VIEW {table}_seen AS SELECT * FROM {table}")
    with pytest.raises(ConfigError, match="is a view: name a table") as refused:
        SQLDestination(database.url, f"{database.table}_seen").open()
    assert refused.value.code == "table.view"


def test_a_key_in_another_order_will_do(database):
    with pytest.raises(ConfigError) as refused:
        database.destination(create=False).open()
    create = refused.value.message.partition(": ")[2].partition(";")[0]
    key = "PRIMARY KEY (source, symbol, timeframe, timestamp)"
    other = create.replace(key, "UNIQUE (timestamp, symbol, source, timeframe)")
    assert other != create
    database.ask(other.replace("WITHOUT ROWID", ""))
    for close in (42_000.25, 42_000.75):
        database.destination().write(make_point(close=close))
    assert database.closes() == [42_000.75]


def test_columns_of_the_users_own_are_left_alone_and_rows_without_a_number_are_older(database):
    database.destination().write_batch(make_accepted(1, close=42_000.25))
    database.ask("ALTER TABLE {table} ADD COLUMN note TEXT")
    database.ask("ALTER TABLE {table} DROP COLUMN acceptance_number")
    database.ask("ALTER TABLE {table} ADD COLUMN acceptance_number BIGINT")
    database.ask("UPDATE {table} SET note = 'mine'")
    database.destination().write_batch(make_accepted(2, close=42_000.75))
    (row,) = database.rows()
    assert (row["note"], row["close"], row["acceptance_number"]) == ("mine", 42_000.75, 2)


def test_a_table_that_is_dropped_while_open_is_made_again(database):
    destination = database.destination()
    destination.write_batch(make_batch(3))
    database.ask("DROP TABLE {table}")
    batch = make_batch(2)
    with pytest.raises(TransientError):
        destination.write_batch(batch)
    destination.write_batch(batch)
    assert len(database.rows()) == 2


def test_data_that_the_users_own_constraint_refuses_is_refused_whole(database):
    destination = database.destination()
    destination.open()
    database.ask(
        "CREATE TRIGGER too_high BEFORE INSERT ON {table} WHEN new.close > 50000"
        " BEGIN SELECT RAISE(ABORT, 'too high'); END"
        if "sqlite" in database.url
        else "ALTER TABLE {table} ADD CONSTRAINT too_high CHECK (close <= 50000)"
    )
    batch = PointBatch.of([make_point(), make_point(symbol="HIGH", high=60_000.0, close=60_000.0)])
    with pytest.raises(TerminalError, match=r"too.high") as refused:
        destination.write_batch(batch)
    assert refused.value.rows is None
    assert database.rows() == []
    destination.write_batch(batch.slice(0, 1))
    assert len(database.rows()) == 1


# -- SQLite --------------------------------------------------------------------------------------


def test_a_file_is_made_with_its_folder_and_lets_others_read_meanwhile(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'new' / 'deep' / 'bars.db'}", "ohlcv")
    destination = database.destination()
    destination.check()
    assert database.ask("PRAGMA journal_mode") == [{"journal_mode": "wal"}]
    destination.write_batch(make_batch(3))
    assert len(database.rows()) == 3
    database.close()


def test_a_file_of_the_users_own_keeps_its_journal_mode(sqlite):
    sqlite.ask("CREATE TABLE mine (x INTEGER)")
    sqlite.destination().write_batch(make_batch(3))
    assert sqlite.ask("PRAGMA journal_mode") == [{"journal_mode": "delete"}]


@pytest.mark.parametrize("file", ["", "file/bars.db"])
def test_a_file_that_cannot_be_written_is_refused_at_start(tmp_path, file):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as refused:
        SQLDestination(f"sqlite:///{tmp_path / file}").check()
    assert refused.value.code == "path.not_writable"


def test_a_file_that_is_no_database_waits_for_a_hand_and_stays_as_it_is(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no database at all, but some text. " * 100)
    destination = SQLDestination(f"sqlite:///{file}")
    destination.check()
    with pytest.raises(UnavailableError, match="not a database: name another file"):
        destination.write_batch(make_batch(1))
    assert file.read_text().startswith("no database at all")


def test_a_locked_file_is_tried_again(sqlite, tmp_path):
    destination = sqlite.destination(timeout=1)
    destination.open()
    other = sqlite3.connect(tmp_path / "bars.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = make_batch(3)
    with pytest.raises(TransientError, match="locked"):
        destination.write_batch(batch)
    other.execute("ROLLBACK")
    other.close()
    destination.write_batch(batch)
    assert len(sqlite.rows()) == 3
