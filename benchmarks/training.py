"""Examples/s of training sets, beside a script that encodes every window anew."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.bars import SYMBOLS, batches, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.timing import alternate, environment, in_fresh_process
from destinations import LLMTrainingDatasetDestination
from destinations.records import Durability
from destinations.training.examples import examples_of
from destinations.training.lines import ExampleLines
from destinations.training.options import TrainingOptions
from router.batch import PointBatch
from router.placing import place
from router.series import History, SeriesPolicy

WINDOW: Final = 100
#: Rows of a part, and examples of a piece that is written.
PART: Final = 10_000
PIECE: Final = 2_000
PEER: Final = "a deque of the last bars, json.dumps of every window"


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure the lines in memory, on one core; then what is on disk, in both formats."""
    seconds = 2.0 if quick else 15.0
    say("training: lines of JSON")
    with environment(POLARS_MAX_THREADS=1):
        ours, peer = in_fresh_process(measure_lines, seconds)
    yield Figure(
        case="training", what="context_window=100, JSON lines, one core", unit="examples/s", runs=ours,
        peer=PEER, peer_runs=peer, goal=Goal(20, "ratio"),
    )  # fmt: skip
    for format_ in ("jsonl", "parquet"):
        durabilities: tuple[Durability, ...] = ("power", "process")
        for durability in durabilities:
            say(f"training: {format_} written, durability {durability}")
            ours, peer = in_fresh_process(measure_written, format_, durability, seconds)
            yield Figure(
                case="training", what=f'{format_} written, durability="{durability}"', unit="examples/s",
                runs=ours, peer=f"{PEER}; its file is not synced", peer_runs=peer,
            )  # fmt: skip


def measure_lines(seconds: float) -> tuple[list[float], list[float]]:
    """Return the examples/s from the columns of bars to lines, and from points in memory to lines."""
    frame, options = make_bars(PART), TrainingOptions.of(context_window=WINDOW)
    points = PointBatch(frame).to_dicts()

    def ours() -> int:
        examples = examples_of(place(History.empty(), frame, SeriesPolicy(options.span)), options)
        lines = ExampleLines(examples, options)
        for start in range(0, len(examples), PIECE):
            lines.encode(np.arange(start, min(start + PIECE, len(examples))))
        return len(examples)

    def peer() -> int:
        return sum(1 for _ in script_lines(points))

    assert ours() == peer() == PART - SYMBOLS * WINDOW
    return alternate(ours, peer, seconds=seconds)


def measure_written(format_: str, durability: Durability, seconds: float) -> tuple[list[float], list[float]]:
    """Return the examples/s of the destination, ledger and all, and of a script that appends to one file."""
    (part,) = batches(make_bars(PART), PART)
    points = part.to_dicts()

    def ours(folder: Path) -> None:
        destination = LLMTrainingDatasetDestination(folder / "set", format_, WINDOW, durability=durability)
        destination.write_batch(part)
        destination.close()

    def peer(folder: Path) -> None:
        with (folder / "set.jsonl").open("w") as file:
            for line in script_lines(points):
                file.write(line + "\n")

    return alternate(partial(in_new_folder, ours), partial(in_new_folder, peer), seconds=seconds)


def in_new_folder(work: Callable[[Path], None]) -> int:
    """Let something write into an empty folder; return the number of examples that are there then."""
    with tempfile.TemporaryDirectory() as folder:
        work(Path(folder))
    return PART - SYMBOLS * WINDOW


def script_lines(points: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the examples that a script makes of points, with the keys the origin had."""
    windows: dict[str, deque[dict[str, Any]]] = {}
    for point in points:
        window = windows.setdefault(point["symbol"], deque(maxlen=WINDOW + 1))
        window.append(bar_of(point))
        if len(window) > WINDOW:
            *context, current, target = window
            yield json.dumps(
                {
                    **{name: point[name] for name in ("symbol", "timeframe", "asset_class")},
                    "context": context,
                    "current": current,
                    "target": {"next_close": target["close"]},
                    "metadata": {"source": point["source"], "timestamp": current["timestamp"]},
                }
            )


def bar_of(point: dict[str, Any]) -> dict[str, Any]:
    """Return what an example says of a bar."""
    return {
        "timestamp": point["timestamp"].isoformat(),
        **{name: point[name] for name in ("open", "high", "low", "close", "volume")},
    }
