from __future__ import annotations

import json
import pickle
from datetime import UTC

import polars as pl
import pyarrow as pa
import pytest

from router.batch import BatchRows, PointBatch, empty_frame
from router.errors import DecodeError
from router.rows import Rows
from router.schema import COLUMNS, FRAME_SCHEMA, POINT_SCHEMA, AssetClass
from tests.make import make_batch, make_frame, make_point, make_values

POINTS = [
    make_point(volume=None),
    make_point(symbol="ETH/USDT", technical_indicators={"rsi": 55.0, "ema": 1.0}),
]


def test_batch_is_the_sequence_of_its_points() -> None:
    batch = PointBatch.of(POINTS)
    assert list(batch) == POINTS
    assert batch[0] == POINTS[0]
    assert batch[-1] == POINTS[1]
    assert len(batch) == 2
    assert POINTS[1] in batch


def test_points_out_of_a_batch_are_typed_as_those_that_went_in() -> None:
    values = PointBatch.of(POINTS).to_dicts()
    assert values == [point.__dict__ for point in POINTS]
    assert values[0]["timestamp"].tzinfo is UTC
    assert values[0]["asset_class"] is AssetClass.CRYPTO


@pytest.mark.parametrize("index", [2, -3])
def test_batch_has_no_point_beyond_its_ends(index: int) -> None:
    with pytest.raises(IndexError, match="batch of 2"):
        PointBatch.of(POINTS)[index]


def test_columns_have_the_schema_whichever_way_they_came() -> None:
    batch = make_batch(rows=5, symbols=["A", "B"])
    assert batch.frame.schema == FRAME_SCHEMA
    assert batch.table.schema == POINT_SCHEMA
    assert PointBatch(batch.table) == batch
    assert PointBatch(batch.table).frame.equals(batch.frame)


def test_slices_and_filters_keep_the_names_of_rows() -> None:
    batch = make_batch(rows=10, batch_id="x")
    assert [(part.batch_id, part.rows) for part in batch[2:5].parts] == [("x", Rows([2, 3, 4]))]
    assert batch[2:5][1:].parts[0].rows == Rows([3, 4])
    assert batch[::4].parts[0].rows == Rows([0, 4, 8])
    assert batch.filter(pl.col("close") > 42_004).parts[0].rows == Rows([8, 9])
    assert batch.filter([True] * 10) is batch
    assert batch.filter([False] * 10).parts == ()
    assert len(batch[7:3]) == len(batch.slice(20, 30)) == 0
    with pytest.raises(ValueError, match="keeps its order"):
        batch[::-1]


def test_a_null_in_a_filter_is_no_match() -> None:
    batch = PointBatch.of(POINTS)
    assert len(batch.filter(pl.col("volume") > 0)) == 1


def test_batches_together_keep_the_names_of_all_their_rows() -> None:
    a, b = make_batch(rows=3, batch_id="a"), make_batch(rows=2, batch_id="b")
    both = PointBatch.concat([a, b])
    assert list(both) == [*a, *b]
    assert [(part.batch_id, part.rows) for part in both[2:].parts] == [("a", Rows([2])), ("b", Rows([0, 1]))]
    assert both.route_id == "everything"
    assert len(PointBatch.concat([])) == 0
    assert PointBatch.concat([a]) is a


def test_other_values_keep_the_names_of_rows() -> None:
    batch = make_batch(rows=3)
    changed = batch.with_frame(batch.frame.with_columns(pl.col("close") + 0.25))
    assert changed.parts == batch.parts
    assert changed != batch
    with pytest.raises(ValueError, match="filter"):
        batch.with_frame(batch.frame.head(2))


def test_batch_says_for_which_route_and_under_which_id_it_stands() -> None:
    batch = make_batch(rows=3, route_id=None)
    assert batch.for_route("csv").route_id == "csv"
    assert batch.accepted_as("y").parts == (BatchRows("y", Rows.all(3)),)
    assert PointBatch(batch.table).for_route("csv") == batch


def test_new_batches_have_names_of_their_own() -> None:
    assert PointBatch(make_frame()).parts[0].batch_id != PointBatch(make_frame()).parts[0].batch_id


def test_arrow_stream_comes_back_equal() -> None:
    batch = PointBatch.of(POINTS)
    parts = [BatchRows("x", Rows.all(2))]
    back = PointBatch.from_ipc(batch.to_ipc(), parts)
    assert back == batch
    assert back.parts == tuple(parts)


def test_what_is_no_arrow_stream_of_points_is_refused() -> None:
    other = pa.BufferOutputStream()
    with pa.ipc.new_stream(other, pa.schema([("x", pa.int64())])) as writer:
        writer.write_table(pa.table({"x": [1]}))
    for data in (b"", b"\x80\x04N.", bytes(other.getvalue())):
        with pytest.raises(DecodeError) as caught:
            PointBatch.from_ipc(data)
        assert caught.value.code == "envelope.arrow"


def test_batch_becomes_a_json_list_of_its_points() -> None:
    assert json.loads(PointBatch.of(POINTS).to_json()) == [point.to_json_dict() for point in POINTS]


def test_fingerprint_depends_on_identities_alone() -> None:
    batch = make_batch(rows=5)
    assert batch.digest() == batch.with_frame(batch.frame.with_columns(close=pl.lit(1.0))).digest()
    assert batch.digest() == PointBatch.from_ipc(batch.to_ipc()).digest()
    assert batch.digest() != batch.with_frame(batch.frame.with_columns(symbol=pl.lit("X"))).digest()
    assert batch.digest() != batch[1:].digest()


def test_batch_shows_what_it_holds() -> None:
    shown = repr(make_batch(rows=5, symbols=["A", "B", "C", "D"]))
    assert shown == "PointBatch(5 points of A, B, C, … (1m), 2024-01-01 00:00 to 2024-01-01 00:01 UTC)"
    assert repr(PointBatch(empty_frame())) == "PointBatch(0 points)"


def test_batch_has_the_columns_of_a_point_and_no_hash() -> None:
    assert tuple(make_values()) == COLUMNS
    with pytest.raises(TypeError):
        hash(PointBatch.of(POINTS))


def test_batch_names_survive_pickling() -> None:
    part = BatchRows("x", Rows([1, 5]), 7, "d")
    assert pickle.loads(pickle.dumps(part)) == part


def test_gather_leaves_out_rows_of_a_batch_that_cannot_be_read():
    good = make_batch(3, batch_id="good")
    pieces = [(b"damaged", BatchRows("bad", Rows.all(2))), (good.to_ipc(), BatchRows("good", Rows([0, 2])))]
    gathered = PointBatch.gather(pieces, "route")
    assert [part.batch_id for part in gathered.parts] == ["good"]
    assert list(gathered) == [good[0], good[2]]


def test_pieces_of_one_batch_become_one_name_again_and_others_stay_apart():
    one, other = make_batch(6), make_batch(4)
    (name,) = one.parts
    assert PointBatch.concat(list(one.chunks(2))).parts == one.parts
    assert PointBatch.concat([one[:2], other, one[2:]]).parts == (
        one[:2].parts[0],
        *other.parts,
        one[2:].parts[0],
    )
    assert PointBatch.concat([one[3:], one[:3]]).parts == (one[3:].parts[0], one[:3].parts[0]), "not in order"
    assert [len(part.rows) for part in PointBatch.concat([one, one]).parts] == [6, 6], "twice the same rows"
    assert name.rows == Rows.all(6)
