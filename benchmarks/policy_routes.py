"""The two measured routes for points of three sources: without limits, and with writes of two sizes."""

import os
from pathlib import Path

from destinations import CSVDestination, JSONLinesDestination
from router.route import Route

OUT = Path(os.environ["BENCH_OUT"])
DURABILITY = os.environ["BENCH_DURABILITY"]

csv_files = CSVDestination(OUT / "csv", durability=DURABILITY)
json_lines = JSONLinesDestination(OUT / "jsonl", durability=DURABILITY)
LONGER = "timeframe in ('1h','4h','1d')"


def two_routes(source: str, **policy: float) -> list[Route]:
    """Return the routes of one source, with a policy of their own."""
    return [
        Route(route_id=f"csv_{source}", condition=f"source = '{source}'", destination=csv_files, **policy),
        Route(
            route_id=f"jsonl_{source}",
            condition=f"source = '{source}' and {LONGER}",
            destination=json_lines,
            **policy,
        ),
    ]


limits = {"batch_timeout": 1, "rate_limit": 100_000_000}
routes = [
    *two_routes("bench"),
    *two_routes("bench5000", batch_size=5_000, **limits),
    *two_routes("bench100", batch_size=100, **limits),
]
