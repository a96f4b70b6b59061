"""Builders of bars and of the examples made of them: the definitions word for word, a loop at a time."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from destinations.training.options import DIRECTION, NEXT, PARTS, PURGED, RETURN, SETTINGS, TrainingOptions

Values = dict[str, Any]

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
#: From the start of a bar to that of the next; None where the calendar says it.
LENGTHS: dict[str, timedelta | None] = {
    "tick": timedelta(0),
    **{f"{n}s": timedelta(seconds=n) for n in (1, 5, 10, 15, 30)},
    **{f"{n}m": timedelta(minutes=n) for n in (1, 2, 3, 5, 10, 15, 20, 30, 45)},
    **{f"{n}h": timedelta(hours=n) for n in (1, 2, 3, 4, 6, 8, 12)},
    "1d": DAY,
    "3d": 3 * DAY,
    "1w": 7 * DAY,
    "1M": None,
    "3M": None,
    "1y": None,
}
MONTHS = {"1M": 1, "3M": 3, "1y": 12}
MONTH = 30.436875 * DAY


def make_bars(
    count: int = 20,
    *,
    timeframe: str = "1d",
    skip: Iterable[int] = (),
    closes: Sequence[float] | None = None,
    start: datetime = START,
    **changes: Any,
) -> list[Values]:
    """Return bars of one series, in order; those that `skip` names by position are missing.

    Their closes wander about 100, or are those given; `changes` hold for every bar.
    """
    bars = []
    at = start
    for row in range(count):
        close = closes[row] if closes is not None else 100 + (row * 37 % 23) / 4
        bars.append(
            {
                "timestamp": at,
                "open": close - 0.25,
                "high": close + 0.5,
                "low": close - 0.75,
                "close": close,
                "volume": 1000.0 + row,
                "symbol": "AAPL",
                "asset_class": "equity",
                "timeframe": timeframe,
                "source": "quandl_wiki",
                "data_quality_score": 1.0 - row % 7 / 100,
                "technical_indicators": None,
            }
            | changes
        )
        at = bar_end(at, timeframe) if timeframe != "tick" else at + timedelta(seconds=1)
    return [bar for row, bar in enumerate(bars) if row not in set(skip)]


def make_examples(
    bars: Sequence[Mapping[str, Any]], options: TrainingOptions | None = None, *, route_version: str = "v1"
) -> pa.Table:
    """Return the examples of bars, as `options.schema()` has them: by series, then by time."""
    options = options or TrainingOptions.of(context_window=5)
    rows = [row for run in runs(bars, options.max_gap) for row in _of_run(run, options, route_version)]
    return pa.Table.from_pylist(rows, options.schema())


def runs(bars: Sequence[Mapping[str, Any]], max_gap: int) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the bars of each series between gaps that are too long."""
    in_order = sorted(bars, key=lambda bar: (*series(bar), bar["timestamp"]))
    for _, of_series in groupby(in_order, series):
        first, *others = of_series
        run = [first]
        for bar in others:
            if missing(run[-1], bar) > max_gap:
                yield run
                run = []
            run.append(bar)
        yield run


def series(bar: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what bars of one series share."""
    return bar["source"], bar["symbol"], bar["timeframe"]


def missing(before: Mapping[str, Any], bar: Mapping[str, Any]) -> int:
    """Return how many bars are missing between two neighbours."""
    name = bar["timeframe"]
    nominal = LENGTHS[name] if name in LENGTHS and name not in MONTHS else MONTHS[name] * MONTH
    if not nominal:
        return 0
    apart = (bar["timestamp"] - before["timestamp"]) / nominal
    return max(0, (round(apart) if nominal >= DAY else math.ceil(apart)) - 1)


def bar_end(start: datetime, timeframe: str) -> datetime:
    """Return when a bar ends."""
    length = LENGTHS[timeframe]
    if length is not None:
        return start + length
    months = start.month - 1 + MONTHS[timeframe]
    return start.replace(year=start.year + months // 12, month=months % 12 + 1)


def split_of(example: Mapping[str, Any], options: TrainingOptions) -> str:
    """Return the split an example belongs to, or that it lies across a boundary."""
    before = None
    for split in options.splits:
        if split.until is None or example["label_end"] <= split.until:
            embargo = timedelta(seconds=options.embargo)
            clear = before is None or example["context_start"] > before + embargo
            return split.name if clear else PURGED
        before = split.until
    return PURGED


def write_dataset(folder: Path, examples: pa.Table, options: TrainingOptions) -> Path:
    """Write a dataset's folder as deliveries leave it, one part for each split; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(options.to_json(), encoding="utf-8")
    by_split: dict[str, list[Values]] = {}
    for row in examples.to_pylist(maps_as_pydicts="strict"):
        by_split.setdefault(split_of(row, options), []).append(row)
    for number, (split, rows) in enumerate(by_split.items()):
        write_part(folder, split, number, rows, options)
    return folder


def write_part(folder: Path, split: str, number: int, rows: list[Values], options: TrainingOptions) -> Path:
    """Write one part of some rows; return its path."""
    path = folder / PARTS / f"split={split}" / f"part-{number:016}-ab12.{options.format}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if options.format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows, options.schema()), path)
    else:
        lines = [json.dumps(row, default=datetime.isoformat, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8")
    return path


def _of_run(run: Sequence[Mapping[str, Any]], options: TrainingOptions, version: str) -> Iterator[Values]:
    window = options.context_window
    for at in range(window - 1, len(run) - options.horizon, options.stride):
        yield _example(run[at - window + 1 : at + options.horizon + 1], options, version)


def _example(bars: Sequence[Mapping[str, Any]], options: TrainingOptions, version: str) -> Values:
    known, later = bars[: options.context_window], bars[options.context_window - 1 :]
    *context, current = known
    closes = [bar["close"] for bar in context]
    end = bar_end(current["timestamp"], current["timeframe"])
    return {
        **{name: current[name] for name in ("symbol", "timeframe", "asset_class")},
        "context": [_bar(bar, options) for bar in context],
        "current": _bar(current, options),
        "target": {options.target_column: _target(current, later[-1], options.target_column)},
        "metadata": {
            "source": current["source"],
            "data_quality": current["data_quality_score"],
            "timestamp": current["timestamp"],
        },
        "example_id": _id(current, options),
        "source": current["source"],
        "context_start": context[0]["timestamp"],
        **dict.fromkeys(("context_end", "as_of", "label_start"), end),
        "label_end": bar_end(later[-1]["timestamp"], current["timeframe"]),
        "scale": {"close_mean": statistics.fmean(closes), "close_std": statistics.pstdev(closes)},
        "quality_min": min(bar["data_quality_score"] for bar in bars),
        "flags": [*_flags(known, "context"), *_flags(later, "label")],
        "route_version": version,
    }


def _bar(bar: Mapping[str, Any], options: TrainingOptions) -> Values:
    named = ["timestamp", "open", "high", "low", "close", *(["volume"] if options.has_volume else [])]
    indicators = {"indicators": bar["technical_indicators"]} if options.has_indicators else {}
    return {name: bar[name] for name in named} | indicators


def _target(current: Mapping[str, Any], later: Mapping[str, Any], target: str) -> float | str | None:
    now, then = current["close"], later["close"]
    if target == RETURN:
        return (then / now - 1) * 10_000 if now else None
    if target == DIRECTION:
        return "up" if then > now else "down" if then < now else "flat"
    value: float | None = later[target.removeprefix(NEXT)]
    return value


def _flags(bars: Sequence[Mapping[str, Any]], about: str) -> list[str]:
    gap = any(missing(before, bar) for before, bar in pairwise(bars))
    jump = any(_jumps(before["close"], bar["close"]) for before, bar in pairwise(bars))
    return [name for name, holds in ((f"{about}_gap", gap), (f"{about}_jump", jump)) if holds]


def _jumps(before: float, close: float) -> bool:
    return before > 0 and close > 0 and (close <= 0.7 * before or before <= 0.7 * close)


def _id(current: Mapping[str, Any], options: TrainingOptions) -> str:
    made_of = [*series(current), current["timestamp"].isoformat()]
    made_of += [options.context_window, options.horizon, options.target_column]
    return hashlib.blake2b(json.dumps(made_of).encode(), digest_size=16).hexdigest()
