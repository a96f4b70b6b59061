"""Every bar to a Parquet dataset, JSON lines and CSV."""

import os
from pathlib import Path

from destinations import CSVDestination, JSONLinesDestination, ParquetDestination
from router import Route

LAKE = Path(os.environ.get("CANDLEFLEET_EXPORTS", "exports"))
EVERY = "quality >= 0"

routes = [
    Route(route_id="parquet", condition="close is not null", destination=ParquetDestination(LAKE / "parquet")),
    Route(route_id="jsonl", condition="close is not null", destination=JSONLinesDestination(LAKE / "jsonl", "{symbol}_{timeframe}.jsonl")),
    Route(route_id="csv", condition="close is not null", destination=CSVDestination(LAKE / "csv", "{symbol}_{timeframe}.csv")),
]
