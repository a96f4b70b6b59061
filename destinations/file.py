"""Write points into files that grow: grouped by name, encoded once, appended and recorded in one commit."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from destinations.compression import PLAIN, Content, compression
from destinations.filenames import FilenamePattern, FilePlace, FileRows
from destinations.files import FileWrite
from destinations.growing import GrowingFiles
from destinations.ledger import Ledger
from destinations.ledgered import LedgeredDestination
from destinations.records import Durability
from router.batch import PointBatch
from router.points import NormalizedDataPoint

_NEWLINE: Final = 10


class FileDestination(LedgeredDestination):
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
        packing = compression(compression_name)
        self.pattern = FilenamePattern(filename_pattern.removesuffix(packing.suffix) + packing.suffix)
        self._pack = packing.pack
        opening = bytes(packing.pack(header)) if header else b""
        files = partial(GrowingFiles, header=opening, plain=packing is PLAIN, append=append)
        ledger = Ledger(Path(path), files, durability=durability, shared=shared)
        super().__init__(path, name=name, ledger=ledger)

    @abstractmethod
    def encode(self, frame: pl.DataFrame) -> bytes:
        """Return one line per point, each with its newline; what a line says depends on its point alone."""

    def target(self, point: NormalizedDataPoint) -> str:
        """Return the file that a point goes to."""
        _, (file,) = self.pattern.split(PointBatch.of([point]).frame)
        return str(self.path / file.name)

    def owns(self) -> list[FilePlace]:
        """Return the files that the pattern may name under the root."""
        return [FilePlace(self.path, self.pattern)]

    def _writes(self, batch: PointBatch) -> list[FileWrite]:
        """Return what each file gets of a batch, in one encoding of all."""
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
