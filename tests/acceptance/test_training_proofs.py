"""`candlefleet dataset verify` and `leakcheck` on training sets that the destination wrote of real bars."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from destinations import LLMTrainingDatasetDestination
from destinations.training.options import PARTS
from router.admission import admit
from router.delivery import DirectDelivery
from router.files import read_bars
from router.matching import match
from router.route import Route
from router.table import RouteTable
from tests.acceptance.fleet_fixture import Said, clean_environment

ROOT = Path(__file__).parents[2]
EQUITIES = ROOT / "examples/data/equity_1d.csv"
INDEX = ROOT / "examples/data/index_1d.csv"
OTHERS = ROOT.parent / "shared/data"

Command = Callable[..., tuple[Said, dict]]


def make_set(folder: Path, file: Path, **given) -> Path:
    """Deliver the bars of a file to a training set, some thousand at a time."""
    destination = LLMTrainingDatasetDestination(folder, durability="process", **given)
    table = RouteTable([Route(route_id="llm", condition="true", destination=destination)])
    delivery = DirectDelivery()
    for chunk in read_bars(file, chunk=3000):
        batch = admit(chunk.rows).batch.accepted_as(f"chunk-{chunk.index}")
        delivery.deliver(batch, match(table, batch), table, {})
    delivery.close()
    return folder


def examples_by_arithmetic(file: Path, window: int, max_gap: int) -> int:
    """Return bars - window + 1 - horizon, summed over the runs without a gap, of daily bars."""
    bars = pl.read_csv(file, try_parse_dates=True).sort("symbol", "timestamp")
    days = pl.col("timestamp").diff().over("symbol").dt.total_days()
    runs = bars.select(((days - 1 > max_gap) | days.is_null()).cum_sum().alias("run"))["run"]
    lengths = runs.value_counts()["count"]
    return int((lengths - window + 1 - 1).clip(lower_bound=0).sum())


@pytest.fixture
def said(candlefleet: Callable[..., Said]) -> Command:
    """Run a command about training sets; return what it said, and the same as JSON."""

    def call(*arguments: str | Path) -> tuple[Said, dict]:
        command = ["dataset", *map(str, arguments)]
        people = candlefleet(*command, environment=clean_environment())
        programs = candlefleet(*command, "--json", environment=clean_environment())
        assert programs.code == people.code
        return people, json.loads(programs.out)

    return call


@pytest.mark.parametrize(("file", "format_"), [(EQUITIES, "jsonl"), (INDEX, "parquet")])
def test_training_set_of_real_bars_is_proven(file: Path, format_: str, tmp_path: Path, said: Command) -> None:
    splits = {"train": "2005-01-01", "validation": "2009-01-01", "test": None}
    folder = make_set(tmp_path / "set", file, format=format_, context_window=30, max_gap=4, splits=splits)
    people, found = said("verify", folder, "--bars", file)
    assert (people.code, people.err) == (0, "")
    assert found["expected"] == sum(found["examples"].values()) == examples_by_arithmetic(file, 30, 4) > 3000
    assert set(found["examples"]) == {*splits, "purged"}
    assert "✓ proven" in people.out
    people, found = said("leakcheck", folder, "--bars", file, "--cuts", "4")
    assert (people.code, people.err) == (0, "")
    assert "✓ no leak" in people.out
    assert found["leaks"] == []
    assert found["cuts"][-1]["examples"] == examples_by_arithmetic(file, 30, 4)


@pytest.mark.skipif(not OTHERS.is_dir(), reason="needs the real bars beside the repository")
def test_training_set_of_late_and_gappy_bars_is_proven(tmp_path: Path, said: Command) -> None:
    folder = make_set(tmp_path / "set", OTHERS / "crypto_1m.csv", format="parquet", context_window=100)
    people, found = said("verify", folder, "--bars", OTHERS / "crypto_1m.csv")
    assert people.code == 0, people.out
    assert found["expected"] == found["examples"]["train"] == 45_122
    assert found["late"] == 712


def test_mismatch_is_told_and_the_exit_status_says_so(tmp_path: Path, said: Command) -> None:
    folder = make_set(tmp_path / "set", INDEX, format="parquet", context_window=30, max_gap=4)
    part = next((folder / PARTS).rglob("part-*.parquet"))
    table = pq.read_table(part, partitioning=None)
    rows = table.slice(0, 50).to_pylist()
    rows[7]["target"]["next_close"] = rows[7]["current"]["close"]
    name = rows.pop(20)["example_id"]
    changed = type(table).from_pylist(rows, table.schema)
    pq.write_table(type(table).from_batches([*changed.to_batches(), *table.slice(50).to_batches()]), part)
    people, found = said("verify", folder, "--bars", INDEX)
    assert people.code == 1
    assert f"example {rows[7]['example_id']} (^GSPC 1d " in people.out
    assert "target.next_close is 1" in people.out
    assert "✗ not proven" in people.out
    assert (found["proven"], found["wrong"], found["missing"]) == (False, 1, 1)
    assert found["mismatches"][0]["column"] == "target.next_close"
    assert name not in {one["example_id"] for one in found["mismatches"]}
    assert said("verify", folder, "--bars", INDEX, "--partial")[0].code == 1


def test_only_a_part_of_the_bars_was_delivered_yet(tmp_path: Path, said: Command) -> None:
    lines = INDEX.read_text().splitlines(keepends=True)
    (tmp_path / "some.csv").write_text("".join(lines[:1000]))
    folder = make_set(tmp_path / "set", tmp_path / "some.csv", context_window=30, max_gap=4)
    assert said("verify", folder, "--bars", INDEX)[0].code == 1
    people, found = said("verify", folder, "--bars", INDEX, "--partial")
    assert people.code == 0
    assert found["missing"] > 3000


BUILDER = """
import json
from tests.unit.test_training_leakcheck import honest, leaky, scaler_fitted_on_everything

fitted = leaky(scaler_fitted_on_everything)

def broken(batch, options):
    raise ValueError("no idea")
"""


def test_leaky_builder_is_told_and_the_exit_status_says_so(
    tmp_path: Path, said: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_set(tmp_path / "set", INDEX, context_window=30, max_gap=4)
    bars = tmp_path / "some.csv"
    bars.write_text("".join(INDEX.read_text().splitlines(keepends=True)[:120]))
    (tmp_path / "my_builders.py").write_text(BUILDER)
    monkeypatch.chdir(tmp_path)
    people, found = said("leakcheck", folder, "--bars", bars, "--builder", "my_builders:fitted")
    assert people.code == 1
    assert "✗ leaky" in people.out
    assert "close_mean" in people.out
    assert {leak["kind"] for leak in found["leaks"]} == {"changed", "foresight"}
    assert said("leakcheck", folder, "--bars", bars, "--builder", "my_builders:honest")[0].code == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["verify", "nowhere", "--bars", INDEX], "is no training set"),
        (["leakcheck", "nowhere", "--bars", INDEX], "is no training set"),
        (["verify", "set", "--bars", "nothing.csv"], "cannot be read"),
        (["verify", "set", "--bars", INDEX, "--allowed-lateness", "1e30"], "allowed_lateness: 1e+30 is not"),
        (["verify", "set", "--bars", INDEX, "--where", "tmeframe = '1d'"], "timeframe"),
        (["verify", "set", "--bars", INDEX, "--finished"], "is not finished"),
        (["leakcheck", "set", "--bars", INDEX, "--builder", "my_builders"], "module:name"),
        (["leakcheck", "set", "--bars", INDEX, "--builder", "no_such_module:build"], "no_such_module"),
        (["leakcheck", "set", "--bars", INDEX, "--builder", "my_builders:broken"], "no idea"),
        (["leakcheck", "set", "--bars", INDEX, "--builder", "my_builders:json"], "is no function"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    command: list[str | Path],
    says: str,
    tmp_path: Path,
    candlefleet: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "my_builders.py").write_text(BUILDER)
    monkeypatch.chdir(tmp_path)
    make_set(tmp_path / "set", INDEX, context_window=30, max_gap=4)
    found = candlefleet("dataset", *map(str, command), environment=clean_environment())
    assert found.code == 2
    assert says in found.err
    assert len(found.err.splitlines()) == 1


def test_bars_without_examples_show_nothing(tmp_path: Path, said: Command) -> None:
    folder = make_set(tmp_path / "set", INDEX, context_window=30)
    bars = tmp_path / "some.csv"
    bars.write_text("".join(INDEX.read_text().splitlines(keepends=True)[:10]))
    people, _ = said("leakcheck", folder, "--bars", bars)
    assert people.code == 1
    assert "nothing was shown" in people.out
