"""Read Parquet and Arrow files as frames, a chunk at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from router.blocks import Block
from router.errors import DecodeError
from router.from_frames import columns_of
from router.sources import Source

_PARQUET: Final = b"PAR1"
_ENCRYPTED: Final = b"PARE"
_ARROW_FILE: Final = b"ARROW1"
_ARROW_STREAM: Final = b"\xff\xff\xff\xff"
_FEATHER_1: Final = b"FEA1"
#: What files begin with, and their format.
MAGIC: Final = {
    **dict.fromkeys((_PARQUET, _ENCRYPTED), "parquet"),
    **dict.fromkeys((_ARROW_FILE, _ARROW_STREAM, _FEATHER_1), "arrow"),
}
_BUFFER: Final = 1 << 20
#: What damage leads to: its lengths ask for any amount of memory, its names are no text.
_FAULTS: Final = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


class TableRows:
    """The rows of a Parquet file, an Arrow IPC file or stream, or a Feather file of version 2.

    Attributes:
        names: Its columns.

    Raises:
        DecodeError: `envelope.table`, if it is none of these or damaged, or what damaged its packing.
    """

    counts = " row "
    nameless = False

    def __init__(self, source: Source) -> None:
        """Read what the file says of itself."""
        self._source = source
        self._seen = 0
        try:
            self._table = _opened(source)
            self.names: list[str] | None = list(self._table.schema.names)
            self._none = self._table.schema.empty_table()
        except _FAULTS as error:
            raise self._fault(error) from error

    def blocks(self, chunk: int, columns: Collection[str]) -> Iterator[Block]:
        """Yield so many rows at a time, wherever the file has its own divisions."""
        for table in self._tables(chunk, list(columns)):
            numbers = range(self._seen + 1, self._seen + table.num_rows + 1)
            self._seen += table.num_rows
            yield Block(columns_of(table), numbers, self._table.done(self._seen))

    def _tables(self, chunk: int, columns: list[str]) -> Iterator[pa.Table]:
        held = self._none.select(columns)
        try:
            for batch in self._table.batches(chunk, columns):
                batch.validate(full=True)  # damaged text and positions would end the process
                held = pa.concat_tables([held, pa.table(batch)])
                while held.num_rows >= chunk:
                    yield held.slice(0, chunk)
                    held = held.slice(chunk)
        except _FAULTS as error:
            if held.num_rows:
                yield held
            raise self._fault(error) from error
        if held.num_rows:
            yield held

    def _fault(self, error: Exception) -> DecodeError:
        message = f"cannot be read: {str(error).partition(chr(10))[0] or 'it asks for too much memory'}"
        return self._source.fault or DecodeError("envelope.table", message)


class _Table(Protocol):
    schema: Any

    def batches(self, chunk: int, columns: list[str]) -> Iterator[Any]: ...

    def done(self, rows: int) -> int: ...


class _Parquet:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = pq.ParquetFile(source.seekable(), buffer_size=_BUFFER)
        self.schema = self._file.schema_arrow

    def batches(self, chunk: int, columns: list[str]) -> Iterator[Any]:
        yield from self._file.iter_batches(batch_size=chunk, columns=columns)

    def done(self, rows: int) -> int:
        return (self._source.total or 0) * rows // max(1, int(self._file.metadata.num_rows))


class _ArrowFile:
    def __init__(self, source: Source) -> None:
        self._file = source.seekable()
        self._reader = ipc.open_file(self._file)
        self.schema = self._reader.schema

    def batches(self, chunk: int, columns: list[str]) -> Iterator[Any]:
        for index in range(self._reader.num_record_batches):
            yield self._reader.get_batch(index).select(columns)

    def done(self, rows: int) -> int:
        return int(self._file.tell())


class _ArrowStream:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader = ipc.open_stream(source.stream)
        self.schema = self._reader.schema

    def batches(self, chunk: int, columns: list[str]) -> Iterator[Any]:
        for batch in self._reader:
            yield batch.select(columns)
        if self._source.stream.read(1):
            raise pa.ArrowInvalid(
                "its stream ends before the file does: send what is behind it as another file"
            )

    def done(self, rows: int) -> int:
        return self._source.taken()


def _opened(source: Source) -> _Table:
    if source.head.startswith(_PARQUET):
        return _Parquet(source)
    if source.head.startswith(_ARROW_FILE):
        return _ArrowFile(source)
    if source.head.startswith(_ENCRYPTED):
        raise pa.ArrowInvalid("it is encrypted: write it without encryption")
    if source.head.startswith(_FEATHER_1):
        raise pa.ArrowInvalid("it is Feather of version 1: write it as version 2, which is Arrow IPC")
    if not source.head.startswith(_ARROW_STREAM):
        raise pa.ArrowInvalid("its content is neither Parquet nor Arrow IPC")
    return _ArrowStream(source)
