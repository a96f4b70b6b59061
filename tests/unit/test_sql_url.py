"""The URL of a database: read, refused with what to do, and never shown with its secrets."""

from __future__ import annotations

import re

import pytest

from destinations import SQLDestination
from destinations.sql_errors import sql_errors
from destinations.sql_url import Server
from router.errors import ConfigError, DestinationError
from router.route import Route
from router.table import RouteTable
from tests.make import make_point

SECRET = "s3cr3t"
URL = f"postgresql://candles:{SECRET}@db.example:5433/market?sslpassword={SECRET}2&application_name=x"


def refusal(url: str) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        SQLDestination(url)
    return refused.value


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("", "url.syntax", "sqlite:///bars.db"),
        ("bars.db", "url.syntax", "dialect://"),
        ("stand-in", "url.syntax", "dialect://"),
        (f"postgresql://u:{SECRET}@host:port/db", "url.syntax", "dialect://"),
        ("postgre://host/db", "url.dialect", "did you mean 'postgresql'"),
        ("sqlite+nothing:///bars.db", "url.dialect", "sqlite+nothing"),
        ("sqlite://", "url.memory", "MemoryDestination"),
        ("sqlite:///:memory:", "url.memory", "MemoryDestination"),
        ("sqlite:///file:bars.db?mode=ro&uri=true", "url.syntax", "name the file itself"),
        ("sqlite:///bars.db?mode=ro", "url.syntax", "takes no ?mode"),
        ("sqlite:///a\0b.db", "url.syntax", "name the file itself"),
        (None, "url.syntax", "dialect://"),
        (5432, "url.syntax", "dialect://"),
    ],
)
def test_a_wrong_url_is_refused_with_what_to_write(url, code, says):
    error = refusal(url)
    assert (error.code, error.where) == (code, "url")
    assert says in error.message
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("oracle+cx_oracle://u:p@h/d", "cx_Oracle"),
        ("postgresql+asyncpg://u:p@h/d", "asyncpg"),
        ("sqlite+aiosqlite:///bars.db", "aiosqlite"),
    ],
)
def test_a_driver_that_cannot_serve_is_refused_at_start(url, says):
    with pytest.raises(ConfigError, match=says) as refused:
        SQLDestination(url).check()
    assert refused.value.code == "url.driver"


@pytest.mark.parametrize(
    ("query", "says"),
    [("plugin=foo", "foo"), ("port=abc", "non-integer port"), ("plugin=s3cr3t&password=s3cr3t", r"\*\*\*")],
)
def test_an_option_that_cannot_be_read_is_refused_at_start(query, says):
    with pytest.raises(ConfigError, match=says) as refused:
        SQLDestination(f"postgresql://u@h/d?{query}").check()
    assert refused.value.code == "url.option"
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u@h/d", "pip install mysqlclient, or write mysql\\+pymysql://"),
        ("postgresql+psycopg2cffi://u@h/d", "install the Python package psycopg2cffi"),
    ],
)
def test_a_missing_driver_is_among_the_obstacles_with_what_to_install(url, says):
    (reason,) = SQLDestination(url).obstacles()
    assert reason.code == "url.driver"
    assert re.search(says, reason.message)


def test_the_scheme_that_hosters_give_is_read_as_the_one_that_works():
    assert Server("postgres://u@h/d").url.drivername == "postgresql"


def test_nothing_that_a_destination_says_of_itself_holds_a_secret():
    destination = SQLDestination(URL, schema="bars")
    said = f"{destination!r} {destination} {destination.place()} {destination.target(make_point())}"
    said += f"{destination.owns()} {destination.owns()[0]} {vars(destination)}"
    assert "postgresql://candles@db.example:5433/market, table bars.ohlcv" in said
    assert SECRET not in said


def test_what_a_driver_says_is_shown_without_secrets():
    server = Server(URL)
    driver = SQLDestination(URL)._server.url.get_dialect().import_dbapi()
    with pytest.raises(DestinationError) as raised, sql_errors(server, driver):
        raise driver.OperationalError(f"cannot log in with {SECRET} nor {SECRET}2")
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("sqlite:///bars.db",), ("sqlite:///./x/../bars.db",)),
        (("sqlite:///bars.db", "OHLCV"), ("sqlite:///bars.db",)),
        (("sqlite:///bars.db", "ohlcv_written"), ("sqlite:///bars.db",)),
        (("postgresql://a@localhost/d",), ("postgresql+psycopg2://b:p@127.0.0.1:5432/d", "ohlcv", "public")),
    ],
)
def test_two_destinations_for_one_table_are_refused(one, other):
    routes = [
        Route(route_id=name, condition="close > 0", destination=SQLDestination(*arguments))
        for name, arguments in (("one", one), ("other", other))
    ]
    with pytest.raises(ConfigError, match="give both routes one destination") as refused:
        RouteTable(routes)
    assert refused.value.code == "destination.shared_place"


@pytest.mark.parametrize(
    "other",
    [
        ("postgresql://a@localhost/d", "other"),
        ("postgresql://a@localhost/d", "ohlcv", "bars"),
        ("postgresql://a@localhost/e",),
        ("postgresql://a@localhost:5433/d",),
        ("postgresql://a@db.example/d",),
    ],
)
def test_two_tables_are_two_places(other):
    mine, yours = SQLDestination("postgresql://a@localhost/d").owns(), SQLDestination(*other).owns()
    assert not any(one.overlaps(another) for one in mine for another in yours)


@pytest.mark.parametrize(
    ("where", "arguments"),
    [
        ("table", {"table": ""}),
        ("table", {"table": "t" * 60}),
        ("table", {"table": "a\nb"}),
        ("schema", {"schema": ""}),
        ("timeout", {"timeout": 0}),
        ("timeout", {"timeout": float("nan")}),
        ("timeout", {"timeout": float("inf")}),
    ],
)
def test_arguments_out_of_range_are_refused(where, arguments):
    with pytest.raises(ConfigError) as refused:
        SQLDestination("sqlite:///bars.db", **arguments)
    assert (refused.value.code, refused.value.where) == ("range", where)
