"""Two routes that write every point: into CSV files and into JSON lines, one file a symbol."""

import os
from pathlib import Path

from destinations import CSVDestination, JSONLinesDestination
from router import Route

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])

routes = [
    Route(route_id="csv", condition="true", destination=CSVDestination(EXPORTS / "csv", "{symbol}.csv")),
    Route(
        route_id="jsonl",
        condition="timeframe = '1m'",
        destination=JSONLinesDestination(EXPORTS / "jsonl", "{symbol}.jsonl"),
    ),
]
