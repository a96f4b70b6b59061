"""Write points into files that grow: grouped by name, encoded once, appended and recorded in one commit."""

from __future__ import annotations

import json
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, get_args

import numpy as np
import polars as pl

from destinations.base import DataDestination
from destinations.compression import PLAIN, Content, compression
from destinations.filenames import FilenamePattern, FilePlace, FileRows
from destinations.growing import FileWrite
from destinations.ledger import Ledger
from destinations.records import Durability
from router.batch import PointBatch
from router.errors import ConfigError, DestinationError

_NEWLINE: Final = 10


class FileDestination(DataDestination):
    """The base of destinations whose files are lines, one a point.

    A subclass says what a line is (`encode`) and, if it likes, what a file starts with. Rows written
    twice, by a retry or in another cutting, are in the files once: see `destinations.ledger.Ledger`.

    Args:
        path: The root folder; nothing is written outside it.
        filename_pattern: Names under the root, see `destinations.filenames.FilenamePattern`; the
            suffix of the compression is added where it is missing.
        append: Whether a file that was there before is appended to, or set aside as ``name~1``.
        compression: None, "gzip", "bz2" or "zstd", one member a write.
        name: The destination's name, and its queue.
        durability: "power" survives a power cut, "process" survives kill -9 and is faster.
        shared: Several hosts write here over a file system that has locks.
        header: What every file starts with.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    #: The name of the format, recorded with every file so that no file ever holds two.
    format: str

    def __init__(
        self,
        path: str | Path,
        filename_pattern: str,
        append: bool,
        compression_name: str | None,
        *,
        name: str | None,
        durability: Durability,
        shared: bool,
        header: bytes = b"",
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(name=name)
        if durability not in get_args(Durability):
            allowed = " or ".join(get_args(Durability))
            raise ConfigError("enum", "durability", f"{durability!r} is not {allowed}")
        packing = compression(compression_name)
        self.path = Path(path)
        self.pattern = FilenamePattern(filename_pattern.removesuffix(packing.suffix) + packing.suffix)
        self._pack = packing.pack
        self._task = threading.local()  # what the task of this thread writes together
        self.ledger = Ledger(
            self.path,
            header=bytes(packing.pack(header)) if header else b"",
            plain=packing is PLAIN,
            append=append,
            durability=durability,
            shared=shared,
        )

    @abstractmethod
    def encode(self, frame: pl.DataFrame) -> bytes:
        """Return one line per point, each with its newline; what a line says depends on its point alone."""

    def open(self) -> None:
        """Open root and ledger, and cut what a crash left behind.

        Raises:
            ConfigError: `path.not_writable`.
            UnavailableError: Another host owns the root, or the disk is full.
            TransientError: The ledger stayed locked by another process.
        """
        self.ledger.open()

    def check(self) -> None:
        """Refuse a root that cannot be written.

        Raises:
            ConfigError: `path.not_writable`.
        """
        with suppress(DestinationError):  # busy, or full: it may be well by the time a point comes
            self.open()
        self.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one commit of the writes in a context: it costs as much for a row as for ten thousand."""
        held: list[PointBatch] = []
        self._task.held = held
        try:
            yield
        finally:
            self._task.held = None
            if held:
                self.ledger.commit(PointBatch.concat(held), self._writes)

    def write_batch(self, batch: PointBatch) -> None:
        """Append the rows that are not in the files yet, in the batch's order.

        Raises:
            TransientError: The outcome is unknown; write again.
            UnavailableError: The disk is full, or a file is not what the ledger says it is.
            TerminalError: A batch of this id with other points was written before.
        """
        held: list[PointBatch] | None = getattr(self._task, "held", None)
        if held is None:
            self.ledger.commit(batch, self._writes)
        else:
            held.append(batch)

    def close(self) -> None:
        """Close root and ledger; twice is harmless."""
        self.ledger.close()

    def place(self) -> str:
        """Return the root folder."""
        return str(self.ledger.root.path)

    def owns(self) -> list[FilePlace]:
        """Return the files that the pattern may name under the root."""
        return [FilePlace(self.path, self.pattern)]

    def on_record(self, route_id: str) -> int | None:
        """Return how many rows of a route the ledger says are in the files; None: there is no ledger yet."""
        return self.ledger.rows_written(route_id) if self.ledger.exists() else None

    def _writes(self, batch: PointBatch) -> list[FileWrite]:
        frame, files = self.pattern.split(batch.frame)
        pieces = _pieces(self.encode, frame, [file.rows for file in files])
        return [
            FileWrite(file.name, self._holds(file), file.rows, self._pack(piece))
            for file, piece in zip(files, pieces, strict=True)
        ]

    def _holds(self, file: FileRows) -> str:
        return json.dumps({"format": self.format, **file.values}, ensure_ascii=False)


def _pieces(
    encode: Callable[[pl.DataFrame], bytes], frame: pl.DataFrame, counts: Sequence[int]
) -> Iterator[Content]:
    """Yield the lines of each run of rows; encoded at once, unless some text holds newlines of its own."""
    encoded = encode(frame)
    lines = np.flatnonzero(np.frombuffer(encoded, np.uint8) == _NEWLINE) + 1
    stops = np.cumsum(counts)
    starts = stops - counts
    if len(lines) != len(frame):
        yield from (encode(frame[start:stop]) for start, stop in zip(starts, stops, strict=True))
        return
    offsets = np.concatenate(([0], lines))
    for start, stop in zip(offsets[starts].tolist(), offsets[stops].tolist(), strict=True):
        yield memoryview(encoded)[start:stop]
