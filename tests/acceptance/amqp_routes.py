"""Routes of the fleet over RabbitMQ: one is served, and three of one destination wait for a worker."""

import os
from pathlib import Path

from destinations import JSONLinesDestination
from router import Route, RoutePriority

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])
late = JSONLinesDestination(EXPORTS / "late", "all.jsonl", name="late", durability="process")

routes = [
    Route(
        route_id="jsonl",
        condition="source = 'plain'",
        destination=JSONLinesDestination(EXPORTS / "jsonl", "{symbol}.jsonl", durability="process"),
    ),
    *(
        Route(
            route_id=level.name.lower(),
            condition=f"source = 'late' and symbol = '{level.name}'",
            destination=late,
            priority=level,
        )
        for level in RoutePriority
    ),
]
