"""Every bar to all that an analytics engine reads: a dataset, a Delta table, JSON lines and CSV."""

import os
from pathlib import Path

from destinations import (
    AnalyticsEngineDestination,
    CSVDestination,
    DataDestination,
    JSONLinesDestination,
    ParquetDestination,
)
from router import Route

EXPORTS = Path(os.environ.get("CANDLEFLEET_EXPORTS", "exports"))

DESTINATIONS: dict[str, DataDestination] = {
    "parquet": ParquetDestination(EXPORTS / "parquet"),
    "delta": AnalyticsEngineDestination(EXPORTS / "delta", partition_by=["symbol", "year"]),
    "jsonl": JSONLinesDestination(EXPORTS / "jsonl", filename_pattern="{symbol}_{timeframe}.jsonl"),
    "csv": CSVDestination(EXPORTS / "csv", filename_pattern="{symbol}_{timeframe}.csv"),
}

routes = [
    Route(route_id=name, condition="data_quality_score >= 0", destination=destination)
    for name, destination in DESTINATIONS.items()
]
