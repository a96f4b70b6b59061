"""Read back what destinations wrote, with parsers of their own."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import redis
import sqlalchemy as sa
from deltalake import DeltaTable

from router.batch import PointBatch
from router.points import NormalizedDataPoint
from tests.servers.influx import Access
from tests.servers.kafka import messages, without_copies
from tests.servers.rabbitmq import taken


class Row(NamedTuple):
    """What every destination must keep of a point."""

    source: str
    symbol: str
    timeframe: str
    timestamp: str
    close: float
    volume: float | None


def row_of(point: NormalizedDataPoint) -> Row:
    """Return the row that stands for a point."""
    return Row(
        point.source, point.symbol, point.timeframe, point.timestamp.isoformat(), point.close, point.volume
    )


def rows_of(batch: PointBatch) -> list[Row]:
    """Return the rows of a batch, in order."""
    return [row_of(point) for point in batch]


def read_csv(root: Path) -> list[Row]:
    """Return the rows of every CSV file under a root, file by file."""
    return [row for text in _texts(root) for row in map(_row, csv.DictReader(io.StringIO(text)))]


def read_jsonl(root: Path) -> list[Row]:
    """Return the rows of every file of JSON lines under a root, file by file."""
    return [_row(json.loads(line)) for text in _texts(root) for line in text.splitlines()]


def read_dataset(root: Path) -> list[Row]:
    """Return the rows of every file of a dataset, file by file, what its folders say included."""
    return [_row(row) for file in data_files(root) for row in scan_part(file).collect().iter_rows(named=True)]


def read_delta(root: Path) -> list[Row]:
    """Return the rows that a Delta table lists, commit by commit."""
    table = DeltaTable(root)
    added = pl.DataFrame(pa.table(table.get_add_actions())).sort("modification_time", maintain_order=True)
    files = {uri.rpartition("/")[2]: uri for uri in table.file_uris()}
    order = [files[path.rpartition("/")[2]] for path in added["path"]]
    hive = table.metadata().partition_columns
    rows = [scan_listed(file, hive).collect() for file in order]
    return [_row(row) for frame in rows for row in frame.iter_rows(named=True)]


def scan_listed(file: str, by: list[str]) -> pl.LazyFrame:
    """Return what Polars reads in one file of a Delta table, what its folders say included."""
    types = {name: {"date": pl.Date, "year": pl.Int32}.get(name, pl.String) for name in by}
    return pl.scan_parquet(file, hive_partitioning=bool(by), hive_schema=types or None)


def read_sql(url: str, table: str) -> list[Row]:
    """Return the rows of a table, by identity: a table has no other order."""
    return _ask(url, f'SELECT * FROM "{table}" ORDER BY source, symbol, timeframe, timestamp')


def read_review(url: str, table: str) -> list[Row]:
    """Return the rows of a review queue, those that no longer wait too, in the order in which they came."""
    return _ask(url, f'SELECT * FROM "{table}" ORDER BY id')


def _ask(url: str, query: str) -> list[Row]:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return [_row(dict(row)) for row in connection.exec_driver_sql(query).mappings()]


def read_influx(access: Access, measurement: str) -> list[Row]:
    """Return the rows of a measurement, by time."""
    found = access.query(f'SELECT * FROM "{measurement}"')
    return [_row({"volume": None} | row | {"timestamp": moment_of(row["time"])}) for row in found]


def moment_of(microseconds: float) -> datetime:
    """Return the moment so long after 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def read_queue(url: str, queue: str) -> list[Row]:
    """Return the rows of a queue in their order, each message id once, as a reader of ours is told to."""
    once = {(m.headers["route"], m.properties["message_id"]): m.body for m in taken(url, queue)}
    return [_row(json.loads(body)) for body in once.values()]


def read_stream(url: str, stream: str) -> list[Row]:
    """Return the rows of a stream, in its order."""
    with redis.Redis.from_url(url) as client:
        return [_row(json.loads(entry[b"point"])) for _, entry in client.xrange(stream)]


def read_numbered(url: str, stream: str) -> list[Row]:
    """Return the rows of a stream of the gateway, by number; no number may be missing."""
    with redis.Redis.from_url(url) as client:
        entries = [fields for _, fields in client.xrange(f"candlefleet:live:{stream}")]
    numbered = [(int(e[b"first"]) + at, line) for e in entries for at, line in enumerate(_lines(e))]
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    return [_row(json.loads(line)) for _, line in numbered]


def _lines(entry: dict[bytes, bytes]) -> list[bytes]:
    return entry[b"points"].splitlines()


def read_kafka(address: str, topic: str) -> list[Row]:
    """Return the rows of a topic, partition by partition, without copies, as its readers are told to."""
    return [_row(json.loads(message.value())) for message in without_copies(messages(address, topic))]


def scan_part(path: Path) -> pl.LazyFrame:
    """Return what Polars reads in one file of a dataset, or in all, and in the names of its folders."""
    files = data_files(path) if path.is_dir() else [path]
    scan = pl.scan_parquet if files[0].suffix == ".parquet" else pl.scan_ipc
    return scan(path, hive_partitioning=True)


def data_files(root: Path) -> list[Path]:
    """Return the files under a root that hold data, by name."""
    return sorted(file for file in root.rglob("*") if file.is_file() and not file.name.startswith("."))


def snapshot(root: Path) -> dict[str, bytes]:
    """Return the bytes of every data file by its name under the root."""
    return {str(file.relative_to(root)): file.read_bytes() for file in data_files(root)}


def unpacked(file: Path) -> bytes:
    """Return a file's content, decompressed as its name says."""
    return _UNPACK.get(file.suffix, bytes)(file.read_bytes())


def _unpack_zstd(data: bytes) -> bytes:
    content: bytes = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return content


_UNPACK = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".zst": _unpack_zstd}


def _texts(root: Path) -> Iterator[str]:
    return (unpacked(file).decode() for file in data_files(root))


def _row(fields: dict[str, Any]) -> Row:
    volume, timestamp = fields["volume"], fields["timestamp"]
    return Row(
        fields["source"],
        fields["symbol"],
        fields["timeframe"],
        _moment(timestamp).isoformat(),
        float(fields["close"]),
        None if volume in ("", None) else float(volume),
    )


def _moment(timestamp: datetime | str) -> datetime:
    return (datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp).astimezone(UTC)
