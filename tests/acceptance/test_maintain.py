"""Datasets that a fleet writes, and `candlefleet maintain` beside it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from destinations import AnalyticsEngineDestination, ParquetDestination
from tests.acceptance.fleet_fixture import Crew, alive, crew_at_work, pool, until
from tests.contract.reading import data_files, read_dataset, read_delta, rows_of, scan_part
from tests.make import as_batch, make_batch, make_frame

ROUTES = """
from pathlib import Path
from destinations import ArrowFileDestination, CSVDestination, ParquetDestination
from router import Route

lake = Path(__file__).parent / "lake"
routes = [
    Route(route_id="bars", condition="close > 0", destination=ParquetDestination(lake / "bars")),
    Route(route_id="empty", condition="close > 0", destination=ArrowFileDestination(lake / "empty")),
    Route(route_id="csv", condition="close > 0", destination=CSVDestination(lake / "csv")),
]
"""


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    routes = Path(__file__).with_name("dataset_routes.py")
    with crew_at_work(tmp_path_factory.mktemp("datasets"), routes) as at_work:
        yield at_work


@pytest.fixture
def lake(tmp_path: Path) -> tuple[Path, Mapping[str, str]]:
    """Give the folder of a dataset of ten files, and the environment of a command that knows it."""
    (tmp_path / "routes.py").write_text(ROUTES)
    dataset = ParquetDestination(tmp_path / "lake" / "bars")
    for chunk in make_batch(100, ["BTC/USDT", "ETH/USDT"]).chunks(10):
        dataset.write_batch(chunk)
    dataset.close()
    return dataset.path, {"CANDLEFLEET_ROUTES": str(tmp_path / "routes.py")}


def kill_a_process(crew: Crew) -> None:
    """Kill a process in which the crew runs its tasks."""
    assert alive(crew.pid), (crew.folder / "worker.log").read_text()
    os.kill(until(lambda: pool(crew.pid), "a process of the crew")[0], signal.SIGKILL)


def test_every_row_is_in_every_dataset_once_through_kills_and_merges(crew: Crew, candlefleet):
    batches = [make_frame(60, ["BTC/USD", "^GSPC", "贵州茅台"], source=f"feed-{n}") for n in range(24)]
    for number, frame in enumerate(batches):
        crew.producer.send_batch(frame)
        if not number:
            crew.settled()  # a worker of which a process dies before it is ready ends
        if number % 6 == 3:
            kill_a_process(crew)
            assert candlefleet("maintain", environment=crew.environment).code == 0
    crew.settled()
    assert candlefleet("maintain", environment=crew.environment).code == 0

    expected = sorted(row for frame in batches for row in rows_of(as_batch(frame)))
    for name in ("parquet", "arrow", "feather"):
        assert sorted(read_dataset(crew.exports / name)) == expected, name
        assert crew.route(name).delivered == len(expected)
    assert sorted(read_delta(crew.exports / "delta")) == expected
    assert crew.route("delta").delivered == len(expected)
    assert len(data_files(crew.exports / "parquet")) == 3
    assert scan_part(crew.exports / "parquet").collect()["symbol"].n_unique() == 3
    assert candlefleet("audit", environment=crew.environment).code == 0


def test_dry_run_says_what_would_be_merged_and_merges_nothing(lake, candlefleet):
    path, environment = lake
    before = data_files(path)
    said = candlefleet("maintain", "--dry-run", environment=environment)
    assert said.code == 0
    assert "timeframe=1m/year=2024" in said.out
    assert "would become" in said.out
    assert data_files(path) == before
    found = candlefleet("maintain", "--dry-run", "--json", environment=environment).json
    assert found["dry_run"] is True
    (merge,) = found["destinations"]["bars"]["merged"]
    assert (merge["files"], merge["rows"], merge["into"]) == (10, 100, [])


def test_maintain_merges_once_and_does_not_begin_what_is_not_there(lake, candlefleet):
    path, environment = lake
    rows = sorted(read_dataset(path))
    found = candlefleet("maintain", "--json", environment=environment).json
    (merge,) = found["destinations"]["bars"]["merged"]
    (file,) = data_files(path)
    assert str(file).endswith(merge["into"][0]["name"])
    assert sorted(read_dataset(path)) == rows
    again = candlefleet("maintain", environment=environment)
    assert again.out.splitlines() == ["bars: nothing to merge", "empty: nothing to merge"]
    assert not (path.parent / "empty").exists()


def test_maintain_tells_what_stays_and_what_was_removed(lake, candlefleet):
    path, environment = lake
    files = data_files(path)
    files[0].unlink()
    files[1].write_bytes(b"x" * files[1].stat().st_size)
    said = candlefleet("maintain", "bars", environment=environment)
    assert said.code == 1
    assert "bars: 1 file was removed by somebody; dropped from the ledger" in said.out
    assert "stays as it is" in said.out
    assert "cannot be read as parquet" in said.out
    assert data_files(path) == files[1:]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bats", "no destination has this name (did you mean 'bars'?)"),
        ("csv", "writes no dataset and no Delta table"),
    ],
)
def test_maintain_takes_only_datasets(lake, candlefleet, name: str, message: str):
    _, environment = lake
    said = candlefleet("maintain", name, environment=environment)
    assert said.code == 2
    assert message in said.err


def test_maintain_merges_the_files_of_a_delta_table_and_removes_old_ones(tmp_path: Path, candlefleet):
    (tmp_path / "routes.yaml").write_text(
        f"destinations:\n  bars: {{kind: delta, path: {tmp_path}/lake/bars}}\n"
        "routes:\n  - {route_id: bars, condition: close > 0, destination: bars}\n"
    )
    table = AnalyticsEngineDestination(tmp_path / "lake" / "bars")
    for chunk in make_batch(100, ["BTC/USDT", "ETH/USDT"]).chunks(10):
        table.write_batch(chunk)
    table.close()
    leftover = table.path / "timeframe=1m" / "year=2024" / "part-of-a-killed-writer.parquet"
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    rows = sorted(read_delta(table.path))

    def maintain(*options: str):
        return candlefleet("maintain", "--routes", str(tmp_path / "routes.yaml"), *options, environment={})

    said = maintain("--dry-run")
    assert "timeframe=1m/year=2024" in said.out
    assert "bars: 1 file that no reader needs any more would be removed" in said.out
    assert len(data_files(table.path / "timeframe=1m")) == 11
    found = maintain("--json").json["destinations"]["bars"]
    (merge,) = found["merged"]
    assert (merge["files"], merge["rows"], len(merge["into"])) == (10, 100, 1)
    assert found["removed"] == ["timeframe=1m/year=2024/part-of-a-killed-writer.parquet"]
    assert len(data_files(table.path / "timeframe=1m")) == 11
    assert sorted(read_delta(table.path)) == rows
    assert maintain().out.splitlines() == ["bars: nothing to merge"]


def test_maintain_says_when_there_is_nothing_to_maintain(tmp_path: Path, candlefleet):
    (tmp_path / "routes.py").write_text("routes = []")
    said = candlefleet("maintain", "--routes", str(tmp_path / "routes.py"), environment={})
    assert (said.code, said.out.strip()) == (
        0,
        "no route writes a dataset or a Delta table: there is nothing to maintain",
    )
