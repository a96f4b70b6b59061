"""The tasks of the peer that gives every point, and every delivery, a Celery task of its own."""

from __future__ import annotations

import csv
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

from celery import Celery

OUT: Final = Path(os.environ.get("BENCH_OUT", "."))

app = Celery("bench", broker=os.environ.get("BENCH_BROKER_URL"))
# What costs time and is not needed is off; prefetching is left at Celery's default of four a process,
# and messages are acknowledged when they are taken, which is faster than acknowledging them when done.
app.conf.update(
    task_ignore_result=True,
    worker_send_task_events=False,
    worker_disable_rate_limits=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="route_point")
def route_point(point: dict[str, Any]) -> None:
    """Send one delivery for every route whose condition holds."""
    for condition, deliver in ROUTES:
        if condition(point):
            deliver.delay(point)


@app.task(name="deliver_csv")
def deliver_csv(point: dict[str, Any]) -> None:
    """Append one line of CSV; where the point says when it was sent, note how long that took."""
    sent = point.pop("sent", None)
    file = _file("csv", point["symbol"], point["timeframe"], point["timestamp"][:10])
    csv.writer(file, lineterminator="\n").writerow(list(point.values())[:11])
    file.flush()
    if sent is not None:
        with (OUT / "seconds.txt").open("a") as notes:
            notes.write(f"{time.monotonic() - sent}\n")


@app.task(name="deliver_jsonl")
def deliver_jsonl(point: dict[str, Any]) -> None:
    """Append one JSON object."""
    file = _file("jsonl", point["symbol"], point["timeframe"], point["timestamp"][:10])
    file.write(json.dumps(point) + "\n")
    file.flush()


ROUTES: Final = (
    (lambda point: True, deliver_csv),
    (lambda point: point["timeframe"] in ("1h", "4h", "1d"), deliver_jsonl),
)


# Kept open by each process: every line goes out whole, in append mode, so two may write one file.
@cache
def _file(kind: str, symbol: str, timeframe: str, day: str) -> IO[str]:
    folder = OUT / kind
    folder.mkdir(exist_ok=True)
    return (folder / f"{symbol}_{timeframe}_{day.replace('-', '')}.{kind}").open("a", newline="")
