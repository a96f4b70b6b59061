"""Write points as lines of JSON, into files or to standard output."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import polars as pl

from destinations.base import DataDestination
from destinations.file import FileDestination
from destinations.records import Durability
from router.batch import PointBatch
from router.errors import ConfigError, UnavailableError
from router.schema import COLUMNS


class JSONLinesDestination(FileDestination):
    """Files of JSON lines, one object a point, by default one file for each symbol, timeframe and UTC day.

    The arguments are those of `FileDestination`. For lines on standard output there is
    `StandardOutputDestination`.
    """

    format = "jsonl"

    def __init__(
        self,
        path: str | Path,
        filename_pattern: str = "{symbol}_{timeframe}_{date}.jsonl",
        append: bool = True,
        compression: str | None = None,
        *,
        name: str | None = None,
        durability: Durability = "power",
        shared: bool = False,
    ) -> None:
        """Check the arguments; nothing is opened."""
        if path == "-":
            raise ConfigError("path.standard_output", "path", "use StandardOutputDestination (stdout)")
        super().__init__(
            path, filename_pattern, append, compression, name=name, durability=durability, shared=shared
        )

    def encode(self, frame: pl.DataFrame) -> bytes:
        """Return the points as JSON lines."""
        return encode_jsonl(frame)


class StandardOutputDestination(DataDestination):
    """JSON lines on standard output, for a pipe or a terminal.

    Nobody remembers what went down a pipe: rows written twice are there twice.
    """

    def write_batch(self, batch: PointBatch) -> None:
        """Write the lines of all rows, and flush them.

        Raises:
            UnavailableError: Whoever read the output has gone.
        """
        try:
            sys.stdout.buffer.write(encode_jsonl(batch.frame))
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise UnavailableError("nobody reads standard output any more") from error


def encode_jsonl(frame: pl.DataFrame) -> bytes:
    """Return one JSON object per point, in order, each with all thirteen fields and a newline.

    Timestamps are ISO 8601 UTC, with microseconds only where there are some. Numbers are the shortest
    text that reads back equal. An absent volume is null; indicators are an object, or null.

    Args:
        frame: Points as columns of `FRAME_SCHEMA`.
    """
    out = BytesIO()
    frame.select(COLUMNS).write_ndjson(out)
    return out.getvalue()
