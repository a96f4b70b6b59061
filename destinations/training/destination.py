"""Write the examples that points complete into a training set for language models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from destinations.compression import Content
from destinations.filenames import AnyName, FilePlace
from destinations.files import FileWrite
from destinations.ledgered import LedgeredDestination
from destinations.part_ledger import PartLedger
from destinations.records import Durability
from destinations.root import disk_errors
from destinations.training.examples import Examples, examples_of
from destinations.training.lines import ExampleLines
from destinations.training.options import PARTS, SETTINGS, TrainingOptions
from destinations.training.tables import ExampleTable
from router.batch import PointBatch
from router.placing import place
from router.points import NormalizedDataPoint
from router.series import History, Places, SeriesPolicy, Standing

#: Bytes that the examples of one file take in memory at most, about.
_ROOM: Final = 32 << 20
#: Bytes that a bar takes in a line of JSON, about.
_BAR: Final = 130


class _Encoder(Protocol):
    def encode(self, some: Places) -> Content: ...


_ENCODERS: Final[dict[str, Callable[[Examples, TrainingOptions], _Encoder]]] = {
    "jsonl": ExampleLines,
    "parquet": ExampleTable,
}


class LLMTrainingDatasetDestination(LedgeredDestination):
    """Examples for language models: bars up to one moment, and what came after it.

    An example is written when the bar its target comes from is complete, and never again unless that bar
    is revised. What came before is known from the series' windows, which the fleet keeps: the destination
    itself remembers nothing, and several workers may write one dataset. Its part files are made into one
    that libraries load by `candlefleet dataset finalize`. See docs/destinations/llm_dataset.md.

    Args:
        output_path: The dataset's folder.
        format: "jsonl" or "parquet".
        context_window: Bars of an example, the current one included; from 2 up.
        include_features: What is said of each bar: "ohlcv", "ohlc", "volume", "technical_indicators".
        target_column: "next_close" or another column of the bar `horizon` later, "next_return_bps" or
            "direction".
        stride: Every how many bars an example begins.
        horizon: Bars from the current one to that of the target.
        max_gap: Most bars that may be missing between two of an example; those that have a gap say so.
        splits: Names of parts, each with the moment at which it ends (UTC), in the order of time; the last
            may be None: ``{"train": "2023-01-01", "validation": None}``. None: all is "train".
        embargo: Seconds after the end of a split that no example of the next touches.
        allowed_lateness: Seconds that a bar may come behind the newest of its series; the route's own
            counts where it has one.
        name: The destination's name, and its queue.
        durability: "power" survives a power cut, "process" survives kill -9 and is faster.
        shared: Several hosts write here over a file system that has locks.

    Raises:
        ConfigError: An argument is not one of those allowed (`target.leak` if the example would hold its own
            target); nothing is opened before `open`.
    """

    def __init__(
        self,
        output_path: str | Path,
        format: str = "jsonl",
        context_window: int = 100,
        include_features: Sequence[str] | None = None,
        target_column: str = "next_close",
        *,
        stride: int = 1,
        horizon: int = 1,
        max_gap: int = 0,
        splits: Mapping[str, Any] | None = None,
        embargo: float | timedelta = 0.0,
        allowed_lateness: float | None = None,
        name: str | None = None,
        durability: Durability = "power",
        shared: bool = False,
    ) -> None:
        """Check the arguments; nothing is opened."""
        self.options = TrainingOptions.of(
            format=format,
            context_window=context_window,
            horizon=horizon,
            stride=stride,
            max_gap=max_gap,
            target_column=target_column,
            include_features=include_features,
            splits=splits,
            embargo=embargo,
        )
        self.allowed_lateness = allowed_lateness
        self.output_path = Path(output_path)
        self._settings = json.dumps(self.options.to_dict())
        self._most_rows = max(1, _ROOM // (_BAR * self.options.context_window))
        parts = self.output_path / PARTS
        ledger = PartLedger(parts, self._settings, durability=durability, shared=shared)
        super().__init__(parts, name=name, ledger=ledger)

    @property
    def history(self) -> SeriesPolicy:
        """How many bars before its own it needs of each series."""
        return SeriesPolicy(self.options.span, max_gap=self.options.max_gap)

    def open(self) -> None:
        """Open the ledger, and say in the dataset's folder what its examples are.

        Raises:
            ConfigError: `path.not_writable`, or the dataset was begun with other options.
            UnavailableError: Another host owns the path, or the disk is full.
            TransientError: The ledger stayed locked by another process.
        """
        super().open()
        self._describe()

    # Also for whoever writes without opening, which the ledger allows.
    def _describe(self) -> None:
        settings = self.output_path / SETTINGS
        with disk_errors(self.output_path):
            if not settings.exists():
                beside = settings.with_name(f".{SETTINGS}.{os.getpid()}")
                beside.write_text(self.options.to_json())
                beside.replace(settings)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Join nothing: windows are many times larger than their bars, so every write is a commit."""
        yield

    def write_batch(self, batch: PointBatch) -> None:
        """Write the examples that rows complete which are not recorded yet.

        Raises:
            TransientError: The outcome is unknown; write again.
            UnavailableError: The disk is full, or the folder needs a hand.
            TerminalError: A batch of this id with other points was written before.
        """
        if batch.standing is None:  # outside a delivery nothing came before
            batch = batch.with_standing(Standing(place(History.empty(), batch.frame, self.history)))
        writes = self._writer(batch)
        for chunk in batch.chunks(self._most_rows):
            self.ledger.commit(chunk, writes)
        self._describe()

    def place(self) -> str:
        """Return the dataset's folder."""
        return str(self.output_path)

    def target(self, point: NormalizedDataPoint) -> str:
        """Return the folder of the parts: which split an example is of depends on bars around it."""
        return str(self.path)

    def owns(self) -> list[FilePlace]:
        """Return the whole folder: a reader takes whatever lies in it for a part of the dataset."""
        return [FilePlace(self.output_path, AnyName())]

    def _writes(self, batch: PointBatch) -> list[FileWrite]:
        return self._writer(batch)(batch)

    # What gives the files of some rows of a batch: a file of examples for each split that some are of.
    def _writer(self, batch: PointBatch) -> Callable[[PointBatch], list[FileWrite]]:
        examples = examples_of(_standing(batch).placed, self.options, self._version(batch.route_id))
        encoder = _ENCODERS[self.options.format](examples, self.options)
        splits = examples.said["split"].to_numpy()

        def writes(rows: PointBatch) -> list[FileWrite]:
            made = examples.of(_standing(rows).rows)
            by_split = {name: made[splits[made] == name] for name in sorted(set(splits[made].tolist()))}
            return [self._file(name, encoder.encode(some), len(some)) for name, some in by_split.items()]

        return writes

    def _file(self, split: str, content: Content, examples: int) -> FileWrite:
        return FileWrite(f"split={split}/part.{self.options.format}", self._settings, examples, content)

    def _version(self, route_id: str | None) -> str:
        return blake2b(f"{route_id}\0{self._settings}".encode(), digest_size=4).hexdigest()


def _standing(batch: PointBatch) -> Standing:
    assert batch.standing is not None  # `write_batch` sees to it
    return batch.standing


def example_lines(
    batch: PointBatch, options: TrainingOptions, history: History | None = None
) -> dict[str, bytes]:
    """Return the line of JSON of each example that the rows of a batch complete, by its id.

    Args:
        batch: Rows in order of acceptance.
        options: What makes an example.
        history: The bars before them; None: there are none.
    """
    policy = SeriesPolicy(options.span, max_gap=options.max_gap)
    examples = examples_of(place(history or History.empty(), batch.frame, policy), options)
    lines = ExampleLines(examples, options).encode(np.arange(len(examples))).splitlines()
    return dict(zip(examples.said["example_id"], lines, strict=True))
