"""Routes whose destinations tell every write: batch sizes, limits, priorities, outages."""

import json
import os
import time
from pathlib import Path

from destinations import DataDestination, JSONLinesDestination
from router import (
    PointBatch,
    Route,
    RoutePriority,
    TerminalError,
    TransientError,
    UnavailableError,
)

EXPORTS = Path(os.environ["CANDLEFLEET_EXPORTS"])


class Diary(DataDestination):
    """Keeps a line for every write: when it ended, for which route, and its symbols; repeats are kept too.

    While a file `<name>.<error>` lies beside it, every write raises that error instead.
    """

    def __init__(self, name: str, *, ordered: bool = True, seconds: float = 0.0) -> None:
        super().__init__(name=name)
        self.ordered = ordered
        self.seconds = seconds

    def write_batch(self, batch: PointBatch) -> None:
        for error in (UnavailableError, TransientError, TerminalError):
            if (EXPORTS / f"{self.name}.{error.__name__}").exists():
                self._note("asked", batch)
                raise error("as told")
        time.sleep(self.seconds)
        self._note("writes", batch)

    def _note(self, what: str, batch: PointBatch) -> None:
        line = json.dumps([time.time(), batch.route_id, batch.frame["symbol"].to_list()])
        with (EXPORTS / f"{self.name}.{what}").open("a") as diary:
            diary.write(line + "\n")


class FailsAt(JSONLinesDestination):
    """JSON lines whose write fails the first time it meets the symbol BAD."""

    def write_batch(self, batch: PointBatch) -> None:
        met = EXPORTS / "fails_at.met"
        with (EXPORTS / "fails_at.writes").open("a") as diary:
            diary.write(json.dumps([0, batch.route_id, batch.frame["symbol"].to_list()]) + "\n")
        if "BAD" in batch.frame["symbol"] and not met.exists():
            met.touch()
            raise TransientError("reset")
        super().write_batch(batch)


served = Diary("served", seconds=0.05)
routes = [
    Route(
        route_id="tens",
        condition="source = 'tens'",
        destination=Diary("tens"),
        batch_size=10,
        batch_timeout=1,
    ),
    Route(
        route_id="thousands",
        condition="source = 'thousands'",
        destination=Diary("thousands"),
        batch_size=1000,
        batch_timeout=3600,
    ),
    Route(
        route_id="many",
        condition="source = 'many'",
        destination=Diary("many", ordered=False),
        batch_size=5000,
        batch_timeout=1,
    ),
    Route(
        route_id="fails_at",
        condition="source = 'fails_at'",
        destination=FailsAt(EXPORTS / "fails_at", "{source}.jsonl", name="fails_at"),
        batch_size=10,
        batch_timeout=0.5,
        retry_delay=0.05,
    ),
    Route(
        route_id="sealed",
        condition="source = 'sealed'",
        destination=Diary("sealed"),
        batch_size=4,
        batch_timeout=0.5,
        retry_delay=0.05,
        max_retries=1,
    ),
    Route(
        route_id="limited",
        condition="source = 'limited'",
        destination=Diary("limited"),
        rate_limit=200,
    ),
    Route(
        route_id="limited_tens",
        condition="source = 'limited_tens'",
        destination=Diary("limited_tens"),
        batch_size=50,
        batch_timeout=1,
        rate_limit=100,
    ),
    Route(route_id="away", condition="source = 'away'", destination=Diary("away"), retry_delay=0.1),
    Route(route_id="there", condition="source = 'there'", destination=Diary("there")),
    *(
        Route(
            route_id=name,
            condition=f"source = 'served' and symbol = '{name.upper()}'",
            destination=served,
            priority=RoutePriority[name.upper()],
        )
        for name in ("low", "normal", "high")
    ),
]
