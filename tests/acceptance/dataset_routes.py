"""Routes that write every point into a dataset of each kind, and into a Delta table."""

import os
from pathlib import Path

from destinations import (
    AnalyticsEngineDestination,
    ArrowFileDestination,
    CSVDestination,
    FeatherDestination,
    ParquetDestination,
)
from router import Route

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])

routes = [
    Route(
        route_id="parquet",
        condition="close > 0",
        destination=ParquetDestination(EXPORTS / "parquet", ["timeframe", "symbol"]),
    ),
    Route(
        route_id="arrow",
        condition="close > 0",
        destination=ArrowFileDestination(EXPORTS / "arrow", durability="process"),
    ),
    Route(
        route_id="feather",
        condition="close > 0",
        destination=FeatherDestination(EXPORTS / "feather", (), durability="process"),
    ),
    Route(
        route_id="delta",
        condition="close > 0",
        destination=AnalyticsEngineDestination(EXPORTS / "delta"),
        batch_timeout=0.5,
    ),
    Route(route_id="csv", condition="source = 'nobody'", destination=CSVDestination(EXPORTS / "csv")),
]
