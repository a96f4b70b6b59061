"""Nanoseconds a point costs to become text, beside the standard library."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any, Final

import polars as pl

from benchmarks.bars import make_bars
from benchmarks.progress import say
from benchmarks.results import Figure
from benchmarks.timing import alternate, environment, in_fresh_process
from destinations.csv_file import CSV_COLUMNS, encode_csv
from destinations.jsonl_file import encode_jsonl
from router.batch import PointBatch

ROWS: Final = 10_000


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure both encoders on one core."""
    for name, (_, _, peer_name) in ENCODERS.items():
        say(f"encoders: {name}")
        with environment(POLARS_MAX_THREADS=1):
            ours, peer = in_fresh_process(measure, name, 0.5 if quick else 2.0)
        yield Figure(
            case="encoders", what=f"{name}, one core", unit="ns/point", runs=[1e9 / rate for rate in ours],
            peer=peer_name, peer_runs=[1e9 / rate for rate in peer], less_is_better=True,
        )  # fmt: skip


def measure(name: str, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of an encoder and of its peer, on the same points in memory."""
    encode, write, _ = ENCODERS[name]
    frame = make_bars(ROWS)
    points = PointBatch(frame).to_dicts()

    def ours() -> int:
        encode(frame)
        return len(frame)

    def peer() -> int:
        write(points)
        return len(points)

    return alternate(ours, peer, seconds=seconds)


def write_csv(points: list[dict[str, Any]]) -> str:
    """Return the lines that `csv.writer` makes."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for p in points:
        writer.writerow([p["timestamp"].isoformat(), *(p[name] for name in CSV_COLUMNS[1:])])
    return out.getvalue()


def write_jsonl(points: list[dict[str, Any]]) -> str:
    """Return the lines that `json.dumps` makes."""
    return "".join(json.dumps({**p, "timestamp": p["timestamp"].isoformat()}) + "\n" for p in points)


_Encoder = tuple[Callable[[pl.DataFrame], bytes], Callable[[list[dict[str, Any]]], str], str]
ENCODERS: Final[dict[str, _Encoder]] = {
    "encode_csv": (encode_csv, write_csv, "csv.writer"),
    "encode_jsonl": (encode_jsonl, write_jsonl, "json.dumps"),
}
