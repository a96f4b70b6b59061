"""What `make analytics-check` does before and after the engines are asked; they need Java, this does not."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from analytics import engines
from analytics.__main__ import FILES
from analytics.comparing import differences
from analytics.engines import ENGINES, Engine
from analytics.expected import by_duckdb, by_polars
from analytics.files import active_files
from analytics.running import Failed, run
from destinations import AnalyticsEngineDestination, load_routes
from router import admit
from tests.make import make_batch

ANALYTICS = Path(engines.__file__).parent
YEAR = {"symbol": "AAPL", "timeframe": "1d", "year": 2024, "rows": 252, "low": 164.0}
BAR = {"source": "s", "symbol": "AAPL", "timeframe": "1d", "timestamp": 0, "volume": None, "average": 0.3}


def test_every_source_that_an_engine_reads_has_a_route():
    table = load_routes(ANALYTICS / "routes.py")
    read = {source for engine in ENGINES for source in engine.reads}
    assert {route.route_id for route in table.by_priority()} == read


def test_every_bar_that_is_sent_is_valid():
    bars = [admit(pl.read_csv(path, infer_schema=False)) for path in FILES]
    assert [len(found.refused) for found in bars] == [0, 0, 0]
    assert sum(len(found.batch) for found in bars) == 11_580


def test_polars_and_duckdb_expect_the_same_answers():
    one, other = by_polars(FILES), by_duckdb(FILES)
    assert len(one["bars"]) == 11_580
    assert {name: differences(name, rows, other[name]) for name, rows in one.items()} == {
        "years": [],
        "bars": [],
    }


def test_active_files_are_those_of_the_newest_version_only(tmp_path: Path):
    table = AnalyticsEngineDestination(tmp_path / "table", partition_by=["symbol"])
    for chunk in make_batch(40, ["BTC/USD", "^GSPC", "贵州茅台"]).chunks(10):
        table.write_batch(chunk)
    table.close()
    before = active_files(table.path)

    DeltaTable(table.path).optimize.compact()

    after = active_files(table.path)
    assert len(after) == 3 < len(before)
    assert not {*after} & {*before}
    assert sum(len(pl.read_parquet(path, hive_partitioning=False)) for path in after) == 40


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "AAPL 1d 2024: missing"),
        ([YEAR, YEAR], "AAPL 1d 2024: 2 times"),
        ([YEAR, YEAR | {"year": 2025}], "AAPL 1d 2025: not expected"),
        ([YEAR | {"rows": 251}], "AAPL 1d 2024: rows is 251, expected 252"),
        ([YEAR | {"low": 164.00000000000003}], "AAPL 1d 2024: low is 164.00000000000003, expected 164.0"),
    ],
)
def test_a_row_that_differs_is_named_with_what_differs(found, said):
    assert differences("years", [YEAR], found) == [said]


def test_averages_may_differ_in_the_last_digit_and_an_absent_volume_is_not_zero():
    assert differences("bars", [BAR], [BAR | {"average": 0.1 + 0.2}]) == []
    assert differences("bars", [BAR], [BAR | {"volume": 0.0}]) == [
        "s AAPL 1d 0: volume is 0.0, expected None"
    ]
    assert differences("bars", [BAR], [BAR | {"average": 0.300001}]) != []
    assert differences("bars", [BAR], [BAR | {"average": None}]) != []


def test_an_engine_without_java_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed, match="not run: no java: install Java 17"):
        ENGINES[0].answers({}, tmp_path)


def test_a_java_home_without_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(Failed, match=f"no java in JAVA_HOME, {tmp_path}: install"):
        ENGINES[0].answers({}, tmp_path)


def test_an_engine_without_its_environment_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines.shutil, "which", lambda name, path: "/usr/bin/java")
    with pytest.raises(Failed, match=r"not run: no \.venv-nowhere"):
        Engine("Nowhere", ()).answers({}, tmp_path)


def test_a_command_that_fails_or_never_ends_says_so_and_leaves_nothing(tmp_path: Path):
    log = tmp_path / "log"
    with pytest.raises(Failed, match="status 3:\nits last words"):
        run(["sh", "-c", "echo its last words; exit 3"], {"PATH": "/usr/bin:/bin"}, log)
    with pytest.raises(Failed, match=r"within 0\.1 s"):
        run(["sleep", "600"], {"PATH": "/usr/bin:/bin"}, log, within=0.1)
    with pytest.raises(Failed, match="No such file"):
        run([tmp_path / "none"], {}, log)


@pytest.mark.parametrize("engine", ["spark", "flink"])
def test_lock_of_an_engine_has_a_hash_of_every_package_and_no_address(engine: str):
    lock = (ANALYTICS / f"{engine}.lock").read_text()
    packages = re.split(r"\n(?=\S+==)", lock)
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in lock
    assert "index-url" not in lock
