"""Why a point waits for a review is said in words that a person can check."""

from __future__ import annotations

import polars as pl
import pytest

from destinations import MemoryDestination, QualityReviewQueue
from destinations.review_reasons import MOST, Rule, reasons, rule_of
from router import DataRouter, Route
from router.batch import PointBatch
from router.errors import ConfigError
from tests.make import make_point


def is_doubtful(point) -> bool:
    return bool(point.data_quality_score < 0.8)


POOR = PointBatch.of([make_point(data_quality_score=0.62, volume=None)])


def reason_of(condition) -> str:
    (reason,) = reasons(
        POOR, rule_of(Route(route_id="r", condition=condition, destination=MemoryDestination()))
    )
    return reason


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("data_quality_score < 0.8", "data_quality_score < 0.8 (data_quality_score 0.62)"),
        (
            "volume is null\n  or  data_quality_score < 0.8",
            "volume is null or data_quality_score < 0.8 (volume absent, data_quality_score 0.62)",
        ),
        ("timestamp < '2025-01-01'", "timestamp < '2025-01-01' (timestamp 2024-01-01T00:00:00+00:00)"),
        ("true", "true"),
        (is_doubtful, "is_doubtful (data_quality_score 0.62)"),
        (lambda point: point.data_quality_score < 0.8, "data_quality_score 0.62"),
    ],
)
def test_a_reason_is_what_the_route_asks_and_what_the_point_has(condition, reason):
    assert reason_of(condition) == reason


def test_an_expression_of_polars_is_shown_as_polars_does():
    assert reason_of(pl.col("data_quality_score") < 0.8).endswith("(data_quality_score 0.62)")


def test_a_long_condition_is_cut():
    reason = reason_of(" or ".join(f"symbol = 'S{number}'" for number in range(100)))
    assert reason.endswith("… (symbol BTC/USDT)")
    assert len(reason) < MOST + 30


def test_a_point_without_a_route_has_its_score_for_a_reason():
    assert reasons(POOR, Rule()) == ["data_quality_score 0.62"]


def test_a_default_destination_says_that_no_route_matched(tmp_path):
    queue = QualityReviewQueue(f"sqlite:///{tmp_path / 'review.db'}")
    DataRouter([], queue, enable_parallel=False).route(list(POOR))
    assert queue.reviews.find(1).reason == "matches no other route"
    queue.close()


@pytest.mark.parametrize("reason", ["", " ", "two\nlines"])
def test_a_reason_that_is_no_line_of_text_is_refused(reason):
    with pytest.raises(ConfigError) as refused:
        QualityReviewQueue(reason=reason)
    assert (refused.value.code, refused.value.where) == ("reason", "reason")


@pytest.mark.parametrize("url", ["mysql://u@h/d", "oracle://u@h/d", "mssql://u@h/d"])
def test_a_database_that_no_two_people_could_share_is_refused(url):
    with pytest.raises(ConfigError, match="SQLite or a PostgreSQL") as refused:
        QualityReviewQueue(url)
    assert refused.value.code == "url.dialect"
