"""The pure parts of the benchmarks: figures, bars, windows, and peers that do the same work."""

import json

import polars as pl
import pytest

from benchmarks.bars import batches, make_bars, real_bars
from benchmarks.encoders import write_csv
from benchmarks.fleet import count_rows
from benchmarks.latency import last_written, windows
from benchmarks.limits import Write, fullest_second, rate
from benchmarks.load import share
from benchmarks.matching import conditions, differing, patterned, route_table
from benchmarks.results import Figure, Goal, headlines, markdown, save
from benchmarks.script_peer import light_points, route
from destinations.csv_file import CSV_HEADER, encode_csv
from destinations.jsonl_file import encode_jsonl
from router.admission import admit
from router.batch import PointBatch
from router.matching import match


def make_figure(**changes):
    given = {"case": "end_to_end", "what": "bars", "unit": "points/s", "runs": [300.0]}
    return Figure(**given | changes)


def test_ratio_compares_round_by_round_so_that_a_slow_round_slows_both():
    figure = make_figure(runs=[100.0, 400.0, 900.0], peer_runs=[50.0, 100.0, 300.0])
    assert figure.ratio == 3.0


def test_ratio_of_unpaired_rounds_compares_the_middle_ones():
    assert make_figure(runs=[100.0, 400.0, 900.0], peer_runs=[40.0]).ratio == 10.0


def test_ratio_of_seconds_says_how_many_times_less():
    assert make_figure(runs=[2.0], peer_runs=[10.0], less_is_better=True).ratio == 5.0


def test_figure_without_a_peer_has_no_ratio():
    assert make_figure().ratio is None


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, None),
        ({"goal": Goal(300, "figure")}, True),
        ({"goal": Goal(301, "figure")}, False),
        ({"goal": Goal(300, "figure"), "less_is_better": True}, False),
        ({"goal": Goal(301, "figure"), "less_is_better": True}, True),
        ({"goal": Goal(1.5, "ratio"), "peer_runs": [200.0]}, True),
        ({"goal": Goal(1.5, "ratio"), "peer_runs": [201.0]}, False),
        ({"goal": Goal(1.5, "ratio")}, False),
    ],
)
def test_goal_is_met_or_not(changes, met):
    assert make_figure(**changes).met is met


def test_table_says_plainly_that_a_goal_is_not_met():
    figure = make_figure(goal=Goal(1.5, "ratio"), peer="a script", peer_runs=[300.0])
    assert markdown([figure]).splitlines()[-1].endswith("| ≥ 1.5 \N{MULTIPLICATION SIGN} | **not met** |")


def test_short_table_holds_the_headlines_only():
    table = headlines([make_figure(what="shown", headline=True), make_figure(what="kept back")])
    assert "shown" in table
    assert "kept back" not in table


def test_saved_figures_hold_every_run_and_the_ratio(tmp_path):
    save(tmp_path / "new" / "a.json", {"cores": "2"}, [make_figure(runs=[1.0, 2.0, 3.0], peer_runs=[1.0])])
    kept = json.loads((tmp_path / "new" / "a.json").read_text())
    assert kept["machine"] == {"cores": "2"}
    assert (kept["figures"][0]["runs"], kept["figures"][0]["ratio"]) == ([1.0, 2.0, 3.0], 2.0)


def test_share_of_others_is_what_all_used_less_what_we_used():
    assert share((0.0, 100.0, 5.0), (10.0, 115.0, 15.0), cores=2) == 0.25


@pytest.mark.parametrize("full_mantissa", [False, True])
def test_bars_are_valid_and_always_the_same(full_mantissa):
    bars = make_bars(200, full_mantissa=full_mantissa)
    admission = admit(bars)
    assert (len(admission.batch), admission.refused) == (200, ())
    assert bars.equals(make_bars(200, full_mantissa=full_mantissa))


def test_mixed_bars_have_as_many_of_each_timeframe_for_each_symbol():
    counts = make_bars(400, mixed=True).group_by("symbol", "timeframe").len()["len"]
    assert counts.to_list() == [10] * 40


def test_real_bars_are_those_of_the_examples():
    assert set(real_bars()["timeframe"]) == {"1d"}


def test_batches_hold_every_row_once_in_order():
    bars = make_bars(100)
    sizes = [len(batch) for batch in batches(bars, 30)]
    assert sizes == [30, 30, 30, 10]
    assert pl.concat([batch.frame for batch in batches(bars, 30)]).equals(bars)


def test_rows_are_counted_without_headers_and_hidden_files(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"head\n1\n2\n")
    (tmp_path / "b.csv").write_bytes(b"head\n3\n")
    (tmp_path / ".ledger").write_bytes(b"\n\n")
    assert count_rows(tmp_path, header=True) == 3


def test_batch_counts_as_written_when_its_last_part_is():
    assert last_written(['[1.5, ["a", "b"]]', '[2.5, ["b"]]']) == {"a": 1.5, "b": 2.5}


def test_windows_give_one_p99_for_each_ten_seconds():
    assert windows([0.0, 9.9, 10.0, 25.0], [1.0, 1.0, 3.0, 5.0]) == [1.0, 3.0, 5.0]


def test_script_writes_what_the_fleet_writes(tmp_path):
    bars = make_bars(40, mixed=True).filter(pl.col("symbol") == "SYM3")
    route(light_points(PointBatch(bars)), tmp_path)
    written = (tmp_path / "csv" / "SYM3_1h_20240101.csv").read_bytes()
    assert written == CSV_HEADER + encode_csv(bars.filter(pl.col("timeframe") == "1h"))
    lines = (tmp_path / "jsonl" / "SYM3_1d_20240101.jsonl").read_text().splitlines()
    ours = encode_jsonl(bars.filter(pl.col("timeframe") == "1d")).decode().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in ours]
    assert not list((tmp_path / "jsonl").glob("*_1m_*"))


def test_encoder_and_its_peer_write_the_same_csv():
    bars = make_bars(100)
    assert write_csv(PointBatch(bars).to_dicts()).encode() == encode_csv(bars)


def test_each_condition_means_the_same_as_sql_and_as_lambda():
    batch = PointBatch(make_bars(400, mixed=True))
    pairs = conditions(40)
    found = match(route_table([sql for sql, _ in pairs]), batch).selections
    points = light_points(batch)
    for number, (sql, holds) in enumerate(pairs):
        rows = [row for row, point in enumerate(points) if holds(point)]
        assert (found[f"r{number}"].positions.tolist() if rows else []) == rows, sql


def test_conditions_said_to_differ_do():
    assert len({*differing(1000), *patterned(1000)}) == 2000


def test_busy_machine_gets_no_verdict():
    row = markdown([make_figure(goal=Goal(1, "figure"))], busy={"end_to_end"}).splitlines()[-1]
    assert row.endswith("| machine busy |")


def test_rate_leaves_out_the_last_write_for_which_nobody_waits():
    assert rate([Write(0.0, 10), Write(1.0, 10), Write(2.0, 3)]) == 10.0


def test_fullest_second_begins_anywhere():
    writes = [Write(0.0, 1), Write(0.875, 5), Write(1.125, 6), Write(1.75, 7), Write(1.875, 1)]
    assert fullest_second(writes) == 18
