"""Transforms change, drop or fail rows; what they give is checked as points are on arrival."""

import functools

import polars as pl
import pytest

from router.batch import PointBatch
from router.route import Route
from router.rows import Rows
from router.transforms import apply_transform
from tests.make import make_days


class Nowhere:
    name = None

    def open(self): ...
    def write_batch(self, batch): ...
    def close(self): ...


def apply(transform, symbols="ABCD", batch=None):
    route = Route(route_id="r", condition="true", destination=Nowhere(), transform=transform)
    return apply_transform(route, make_days(symbols) if batch is None else batch)


def symbols_of(transformed):
    return "".join(transformed.batch.frame["symbol"])


def rows_of(transformed):
    return [int(row) for part in transformed.batch.parts for row in part.rows.positions]


# One and the same transform, point by point and by columns: B is dropped, C raises, D is changed.


def by_point(point):
    if point.symbol == "C":
        raise ValueError("no C")
    return None if point.symbol == "B" else point.revised(volume=99.0) if point.symbol == "D" else point


def by_batch(batch: PointBatch):
    if "C" in batch.frame["symbol"]:
        raise ValueError("no C")
    kept = batch.filter(pl.col("symbol") != "B")
    changed = pl.when(pl.col("symbol") == "D").then(99.0).otherwise(pl.col("volume"))
    return kept.with_frame(kept.frame.with_columns(volume=changed))


class ByPoint:
    def __call__(self, point):
        return by_point(point)


class ByBatch:
    def __call__(self, batch: "PointBatch"):
        return by_batch(batch)


@pytest.mark.parametrize(
    "transform",
    [by_point, by_batch, lambda point: by_point(point), functools.partial(by_batch), ByPoint(), ByBatch()],
)
def test_transform_changes_drops_and_fails_rows_one_by_one(transform):
    done = apply(transform, "ABCDB")
    assert symbols_of(done) == "AD"
    assert done.batch.frame["volume"].to_list() == [10.0, 99.0]
    assert (done.dropped, done.failed, done.rows) == (2, [(2, "ValueError: no C")], Rows([0, 3]))
    assert [part.batch_id for part in done.batch.parts] == ["batch"]
    assert rows_of(done) == [0, 3]


def test_route_without_a_transform_gives_its_rows_as_they_are():
    batch = make_days("AB")
    done = apply(None, batch=batch)
    assert done.batch is batch
    assert (done.dropped, done.failed, done.rows) == (0, [], Rows([0, 1]))


def test_batch_without_rows_is_not_transformed():
    assert len(apply(lambda point: 1 / 0, "").batch) == 0


def as_frame(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(volume=pl.col("volume") * 2)


def as_named_frame(frame: "pl.DataFrame"):
    return as_frame(frame)


def as_unknown(frame: "nowhere.pl.DataFrame"):  # noqa: F821
    return as_frame(frame)


@pytest.mark.parametrize("transform", [as_frame, as_named_frame, as_unknown, functools.partial(as_frame)])
def test_callable_annotated_with_a_frame_is_called_once_with_one(transform):
    assert apply(transform).batch.frame["volume"].to_list() == [20.0] * 4


def test_columns_become_the_types_of_a_point():
    def whole(frame: pl.DataFrame):
        return frame.with_columns(volume=pl.lit(7), extra=pl.lit("x"))

    done = apply(whole)
    assert done.batch.frame.schema == make_days("A").frame.schema
    assert done.batch[0].volume == 7.0


def test_names_of_rows_survive_a_batch_of_several_parts():
    batch = PointBatch.concat([make_days("AB"), make_days("BD").accepted_as("later")])
    done = apply(by_batch, batch=batch)
    assert [(part.batch_id, part.rows) for part in done.batch.parts] == [
        ("batch", Rows([0])),
        ("later", Rows([1])),
    ]


def none(batch: PointBatch):
    return None


def test_column_transform_that_gives_none_drops_every_row():
    done = apply(none)
    assert (len(done.batch), done.dropped, done.failed) == (0, 4, [])


def with_bad_values(frame: pl.DataFrame):
    return frame.with_columns(
        close=pl.when(pl.col("symbol") == "B").then(float("nan")).otherwise(pl.col("close"))
    )


@pytest.mark.parametrize(
    "transform",
    [
        with_bad_values,
        lambda point: point.model_copy(update={"close": float("nan")}) if point.symbol == "B" else point,
    ],
)
def test_result_that_is_no_valid_point_fails_with_every_reason(transform):
    done = apply(transform)
    assert symbols_of(done) == "ACD"
    assert [row for row, _ in done.failed] == [1]
    assert done.failed[0][1].startswith("number.not_finite close: ")


def test_time_that_was_accepted_is_not_judged_again():
    batch = make_days("A")
    late = batch.with_frame(batch.frame.with_columns(pl.col("timestamp").dt.offset_by("30y")))
    assert apply(lambda point: point, batch=late).failed == []


@pytest.mark.parametrize("value", [[], {}, "x", 3, True])
def test_point_transform_that_gives_something_else_fails(value):
    done = apply(lambda point: value, "A")
    assert done.failed == [(0, f"transform returned {type(value).__name__}, not a point or None")]


def as_list(batch: PointBatch):
    return list(batch)


def shorter(frame: pl.DataFrame):
    return frame.head(1)


def longer(frame: pl.DataFrame):
    return pl.concat([frame, frame])


def renamed(batch: PointBatch):
    return PointBatch(batch.frame.head(1))


def without_close(frame: pl.DataFrame):
    return frame.drop("close", "volume")


def lazy(frame: pl.DataFrame):
    return frame.lazy()


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (as_list, "transform returned list, not a batch, a frame or None"),
        (lazy, "transform returned LazyFrame, not a batch, a frame or None"),
        (shorter, "transform returned 1 rows for 4: drop rows with batch.filter()"),
        (longer, "transform returned 8 rows for 4: drop rows with batch.filter()"),
        (renamed, "transform returned 1 rows for 4: drop rows with batch.filter()"),
        (without_close, "transform returned columns without close, volume"),
    ],
)
def test_column_transform_that_gives_something_else_fails_every_row(transform, message):
    done = apply(transform)
    assert done.failed == [(row, message) for row in range(4)]
    assert (len(done.batch), done.dropped) == (0, 0)


def anew(batch: PointBatch):
    return PointBatch(batch.frame)


def test_batch_made_anew_of_as_many_rows_stands_for_them_in_order():
    done = apply(anew)
    assert rows_of(done) == [0, 1, 2, 3]
    assert done.batch.parts[0].batch_id == "batch"


def spoil_frame(frame: pl.DataFrame):
    frame[0, "close"] = 1.25
    return frame


def spoil_batch(batch: PointBatch):
    batch.frame[0, "close"] = 1.25
    return batch


@pytest.mark.parametrize("transform", [spoil_frame, spoil_batch])
def test_change_in_place_stays_with_its_own_route(transform):
    batch = make_days("AB")
    assert apply(transform, batch=batch).batch.frame["close"].to_list() == [1.25, 1.5]
    assert batch.frame["close"].to_list() == [1.5, 1.5]


def test_callable_without_a_signature_gets_points():
    assert apply(dict.fromkeys, "A").failed[0][0] == 0
