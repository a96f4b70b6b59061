"""Routes by quality: what can be trusted goes to analysis with technical indicators, what cannot to review.

`CANDLEFLEET_ROUTES=examples/conditional_routes.py candlefleet up`; it needs `candlefleet[delta,indicators]`.
What waits is shown by `candlefleet review list`, and what is approved goes to analysis after all.
"""

import os
from pathlib import Path

from destinations import AnalyticsEngineDestination, QualityReviewQueue
from router import Route, RouteTest

EXPORTS = Path(os.environ.get("CANDLEFLEET_EXPORTS", "exports"))

routes = [
    Route(
        route_id="analytics_high_quality",
        name="Trusted bars, with indicators",
        condition="data_quality_score >= 0.95",
        destination=AnalyticsEngineDestination(EXPORTS / "analytics"),
        transform=lambda dp: dp.enrich_with_indicators(),
        allowed_lateness=7 * 86_400,  # a person has a week to decide on a bar
    ),
    Route(
        route_id="quality_review",
        name="Bars to look at",
        condition="data_quality_score < 0.8",
        destination=QualityReviewQueue(f"sqlite:///{EXPORTS / 'review.db'}"),
    ),
]

tests = [
    RouteTest(
        name="a trusted bar is analysed",
        points=[{"data_quality_score": 0.95}, {"data_quality_score": 1}, {}],
        routes=["analytics_high_quality"],
    ),
    RouteTest(
        name="a doubtful bar is reviewed as it came",
        points=[{"data_quality_score": 0.79, "symbol": "AAPL"}, {"data_quality_score": 0, "symbol": "AAPL"}],
        routes=["quality_review"],
        payload={"quality_review": {"symbol": "AAPL", "technical_indicators": None}},
    ),
    RouteTest(
        name="a bar between the two goes nowhere",
        points=[{"data_quality_score": 0.8}, {"data_quality_score": 0.94}],
        routes=[],
    ),
]
