"""The peer that keeps nothing safe: one process, points in memory, `csv` and `json`, files kept open."""

from __future__ import annotations

import csv
import json
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any, Final

from benchmarks.bars import make_bars
from benchmarks.timing import Run
from router.batch import PointBatch

HEADER: Final = (
    *("timestamp", "open", "high", "low", "close", "volume", "symbol", "asset_class", "timeframe"),
    *("source", "data_quality_score"),
)


@dataclass(slots=True)
class Point:
    """What such a script would use: a plain class with slots."""

    timestamp: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    symbol: str
    asset_class: str
    timeframe: str
    source: str
    data_quality_score: float
    is_realtime: bool
    technical_indicators: dict[str, float] | None


class CSVFiles:
    """One CSV file for each symbol, timeframe and day."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        folder.mkdir()
        self._folder, self._files = folder, files
        self._writers: dict[tuple[str, str, date], Any] = {}

    def write(self, p: Point) -> None:
        """Append one line."""
        key = (p.symbol, p.timeframe, p.timestamp.date())
        writer = self._writers.get(key)
        if writer is None:
            file = self._files.enter_context(_path(self._folder, key, "csv").open("w", newline=""))
            writer = self._writers[key] = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
        writer.writerow(
            (p.timestamp.isoformat(), p.open, p.high, p.low, p.close, p.volume, p.symbol, p.asset_class,
             p.timeframe, p.source, p.data_quality_score)
        )  # fmt: skip


class JSONFiles:
    """One file of JSON lines for each symbol, timeframe and day."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        folder.mkdir()
        self._folder, self._files = folder, files
        self._open: dict[tuple[str, str, date], IO[str]] = {}

    def write(self, p: Point) -> None:
        """Append one line."""
        key = (p.symbol, p.timeframe, p.timestamp.date())
        file = self._open.get(key)
        if file is None:
            file = self._open[key] = self._files.enter_context(_path(self._folder, key, "jsonl").open("w"))
        fields = {
            "timestamp": p.timestamp.isoformat(), "open": p.open, "high": p.high, "low": p.low,
            "close": p.close, "volume": p.volume, "symbol": p.symbol, "asset_class": p.asset_class,
            "timeframe": p.timeframe, "source": p.source, "data_quality_score": p.data_quality_score,
            "is_realtime": p.is_realtime, "technical_indicators": p.technical_indicators,
        }  # fmt: skip
        file.write(json.dumps(fields) + "\n")


def route(points: Iterable[Point], folder: Path) -> None:
    """Hand every point to the destination of each route whose condition holds."""
    with ExitStack() as files:
        routes: list[tuple[Callable[[Point], bool], Callable[[Point], None]]] = [
            (lambda p: True, CSVFiles(folder / "csv", files).write),
            (lambda p: p.timeframe in ("1h", "4h", "1d"), JSONFiles(folder / "jsonl", files).write),
        ]
        for point in points:
            for condition, write in routes:
                if condition(point):
                    write(point)


def measure(rows: int, folder: Path, *, mixed: bool) -> Run:
    """Return what `route` takes for points already in memory, until the files are closed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # it keeps all its files open
    points = light_points(PointBatch(make_bars(rows, mixed=mixed)))
    began, spent = time.perf_counter(), time.process_time()
    route(points, folder)
    return Run(rows / (time.perf_counter() - began), 1e6 * (time.process_time() - spent) / rows)


def light_points(batch: PointBatch) -> list[Point]:
    """Return the points of a batch as `Point`s."""
    return [Point(**values | {"asset_class": values["asset_class"].value}) for values in batch.to_dicts()]


def _path(folder: Path, key: tuple[str, str, date], suffix: str) -> Path:
    symbol, timeframe, day = key
    return folder / f"{symbol}_{timeframe}_{day:%Y%m%d}.{suffix}"
