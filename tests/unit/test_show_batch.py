"""What a batch looks like to people."""

from __future__ import annotations

import polars as pl

from router.batch import PointBatch
from tests.make import make_batch, make_frame


def test_text_of_a_batch_names_its_rows_and_shows_both_ends() -> None:
    text = str(make_batch(30, ["A", "B"], batch_id="01X").for_route("daily"))
    lines = text.splitlines()
    assert lines[:3] == [
        "PointBatch(30 points of A, B (1m), 2024-01-01 00:00 to 2024-01-01 00:14 UTC)",
        "for route daily",
        "batch 01X Rows(0-29)",
    ]
    assert "42000.0" in lines[6]
    assert "…" in lines[10]
    assert "42007.0" in lines[-2]
    assert len(lines) == 16


def test_all_rows_of_a_small_batch_are_shown_without_a_gap() -> None:
    text = str(make_batch(8))
    assert "…" not in text
    assert len(text.splitlines()) == 3 + 3 + 8 + 1


def test_text_and_html_are_the_same_from_arrow_as_from_polars() -> None:
    batch = make_batch(50, ["A", "B"], batch_id="x")
    arrow = PointBatch(batch.table, batch.parts, batch.route_id)
    assert (repr(arrow), str(arrow), arrow._repr_html_()) == (repr(batch), str(batch), batch._repr_html_())


def test_html_of_a_batch_escapes_what_its_points_hold() -> None:
    html = make_batch(20, ["<script>alert(1)</script>", "&"], source="<b>x</b>")._repr_html_()
    assert "<script" not in html
    assert "<b>x" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, &amp; (1m)" in html
    assert html.count("<tr>") == 1 + 4 + 1 + 4


def test_an_empty_batch_shows_that_it_is_empty() -> None:
    batch = PointBatch(make_frame(0), ())
    assert repr(batch) == str(batch) == "PointBatch(0 points)"
    assert batch._repr_html_() == "<div><b>PointBatch</b>: 0 points</div>"


def test_few_of_many_parts_are_named() -> None:
    batch = PointBatch.concat([make_batch(1, batch_id=f"b{n}") for n in range(5)])
    assert "batch b0 Rows(0), b1 Rows(0), b2 Rows(0), 2 more" in str(batch)


def test_showing_a_large_batch_neither_makes_the_other_columns_nor_reads_every_symbol() -> None:
    frame = pl.concat([make_frame(1_000), make_frame(3_000, ["hidden"]), make_frame(1_000)])
    batch = PointBatch(PointBatch(frame).table)
    text = str(batch)
    assert "5,000 points of BTC/USDT (1m), 2024-01-01 00:00 to 2024-01-03 01:59 UTC" in text
    assert batch._frame is None


def test_showing_does_not_change_how_polars_shows_frames() -> None:
    with pl.Config(tbl_rows=3):
        str(make_batch(20))
        assert pl.Config.state(if_set=True)["POLARS_FMT_MAX_ROWS"] == "3"
