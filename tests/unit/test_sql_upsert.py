"""The statements of an upsert, as their database gets them."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite
from sqlalchemy.schema import CreateTable

from destinations.sql_tables import Tables
from destinations.sql_upsert import CopyUpsert, GenericUpsert, on_conflict

DIALECTS = {
    "postgresql": postgresql.dialect(),
    "sqlite": sqlite.dialect(),
    "mysql": mysql.dialect(),
    "oracle": oracle.dialect(),
    "mssql": mssql.dialect(),
}
NEWER = (
    "excluded.acceptance_number > coalesce(ohlcv.acceptance_number, 0)"
    " OR excluded.acceptance_number = coalesce(ohlcv.acceptance_number, 0)"
    " AND excluded.acceptance_row >= coalesce(ohlcv.acceptance_row, 0)"
)


def text(statement, dialect: str) -> str:
    return " ".join(str(statement.compile(dialect=DIALECTS[dialect])).split())


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_row_takes_the_place_of_an_older_one_only(dialect):
    said = text(on_conflict(dialect, Tables(dialect, "ohlcv").points), dialect)
    assert "ON CONFLICT (source, symbol, timeframe, timestamp) DO UPDATE SET open = excluded.open" in said
    assert said.endswith(f"WHERE {NEWER}")


def test_copied_rows_are_merged_in_one_statement():
    upsert = CopyUpsert(Tables("postgresql", "ohlcv", "bars").points)
    assert text(upsert._stage, "postgresql").startswith(
        'CREATE TEMPORARY TABLE IF NOT EXISTS candlefleet_staged ( source TEXT COLLATE "C" NOT NULL'
    )
    assert upsert._into_staged.startswith('COPY "candlefleet_staged" ("source", "symbol"')
    assert upsert._into_staged.endswith('"acceptance_number", "acceptance_row") FROM STDIN (FORMAT binary)')
    assert text(upsert._merge, "postgresql").startswith("INSERT INTO bars.ohlcv (source, symbol")


def test_odd_names_are_quoted_where_rows_are_copied():
    upsert = CopyUpsert(Tables("postgresql", 'a"b%c', "Bars").points)
    assert upsert._into_table.startswith('COPY "Bars"."a""b%c" (')
    assert 'FROM "Bars"."a""b%%c" AS there' in upsert._overlaps


@pytest.mark.parametrize("dialect", DIALECTS)
def test_any_database_understands_an_update_and_an_insert_of_what_is_absent(dialect):
    upsert = GenericUpsert(Tables(dialect, "ohlcv").points)
    update, insert = text(upsert._update, dialect), text(upsert._insert, dialect)
    assert update.startswith("UPDATE ohlcv SET ")
    assert "coalesce(ohlcv.acceptance_number, 0)" in update
    assert insert.startswith("INSERT INTO ohlcv (source, symbol")
    assert "WHERE NOT (EXISTS (SELECT" in insert


@pytest.mark.parametrize(
    ("dialect", "types"),
    [
        ("sqlite", ("timestamp TEXT NOT NULL", "open DOUBLE NOT NULL", "volume DOUBLE,", "JSON")),
        ("postgresql", ("timestamp TIMESTAMP WITH TIME ZONE NOT NULL", "open DOUBLE PRECISION", "JSONB")),
        ("mysql", ("timestamp DATETIME(6) NOT NULL", "VARCHAR(128) COLLATE utf8mb4_bin", "open DOUBLE")),
        ("oracle", ("BINARY_DOUBLE", "TIMESTAMP")),
        ("mssql", ("DATETIME2(6)", "COLLATE Latin1_General_100_BIN2_UTF8")),
    ],
)
def test_columns_hold_every_value_as_it_is(dialect, types):
    made = text(CreateTable(Tables(dialect, "ohlcv").points), dialect)
    assert [each for each in types if each not in made] == []
