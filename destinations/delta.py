"""Write points into a Delta table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import polars as pl
import pyarrow as pa

from destinations.base import DataDestination
from destinations.dataset import PARTITION_BY
from destinations.delta_ledger import DeltaLedger, Mark
from destinations.filenames import AnyName, FilePlace
from destinations.hive import PARTITIONS, HivePartitions
from destinations.root import obstacles_under
from router.batch import PointBatch
from router.errors import ConfigError, DestinationError, Reason, TransientError
from router.rows import Mask


class AnalyticsEngineDestination(DataDestination):
    """A Delta table on this host, for Spark, Flink, DuckDB, Polars or pandas; every row of a batch once.

    What was written survives `kill -9`. A power cut is not promised: the library does not sync its files.

    Args:
        path: The table's folder.
        partition_by: The columns that part it, of `destinations.hive.PARTITIONS`, the outermost first.
        name: The destination's name, and its queue.

    Raises:
        ConfigError: An argument is not one of those allowed, or `deltalake` is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        partition_by: str | Sequence[str] = PARTITION_BY,
        *,
        name: str | None = None,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(name=name)
        if "://" in str(path):
            message = f"{str(path)!r} is no folder of this host: a table in an object store cannot be written"
            raise ConfigError("path.remote", "path", message)
        self.path = Path(path)
        self.table = DeltaFolder(self.path, HivePartitions(partition_by).by)
        self.ledger = DeltaLedger(self.path, self.table)

    def open(self) -> None:
        """Open table and ledger, made if need be, and settle what a crash left.

        Raises:
            ConfigError: The folder holds something else, or a table of other columns.
            UnavailableError: Another host owns the folder, or the disk is full.
        """
        self.ledger.open()

    def check(self) -> None:
        """Refuse a folder that no point could be written to.

        Raises:
            ConfigError: The folder holds something else, or a table of other columns.
        """
        with suppress(DestinationError):
            self.open()
        self.close()

    def write_batch(self, batch: PointBatch) -> None:
        """Commit the rows that are not in the table yet.

        Raises:
            TransientError: The outcome is unknown; write again.
            UnavailableError: The disk is full, or the folder needs a hand.
            TerminalError: A batch of this id with other points was written before.
        """
        self.ledger.commit(batch)

    def close(self) -> None:
        """Close the ledger; twice is harmless."""
        self.ledger.close()

    def place(self) -> str:
        """Return the table's folder."""
        return str(self.path)

    def owns(self) -> list[FilePlace]:
        """Return the whole folder."""
        return [FilePlace(self.path, AnyName())]

    def obstacles(self) -> list[Reason]:
        """Return why the folder cannot be made or written."""
        return obstacles_under(self.path)

    def holds(self, batch: PointBatch) -> Mask:
        """Return of each row whether it is in the table."""
        return self.ledger.holds(batch)

    def on_record(self, route_id: str) -> int | None:
        """Return how many rows of a route are in the table; None: there is no ledger yet."""
        return self.ledger.rows_written(route_id) if self.ledger.exists() else None

    def prune(self, older_than: timedelta, still_owed: Callable[[str], bool] | Collection[str]) -> int:
        """Forget which rows of old, settled batches were written; return how many batches."""
        return self.ledger.prune(older_than, still_owed)


class DeltaFolder:
    """A Delta table in a folder; commits carry their mark as the table's application transaction."""

    def __init__(self, path: Path, by: Sequence[str]) -> None:
        """Remember both; nothing is opened."""
        self._delta = _deltalake()
        self._path = path
        self._by = list(by)
        self.schema = _schema(by)

    def prepare(self) -> None:
        """Make the table, or check the one that is there.

        Raises:
            ConfigError: `path.not_a_table`, or `table.column`, `table.partition` for one that does not fit.
        """
        with _delta_errors(self._path):
            if self._delta.DeltaTable.is_deltatable(str(self._path)):
                self._compare(self._delta.DeltaTable(self._path))
                return
            strangers = sorted(file.name for file in self._path.iterdir() if not file.name.startswith("."))
            if strangers:
                message = f"{self._path} holds {strangers[0]} and is no Delta table: choose an empty folder"
                raise ConfigError("path.not_a_table", "path", message)
            self._delta.DeltaTable.create(self._path, self.schema, partition_by=self._by)

    def append(self, batch: PointBatch, mark: Mark) -> None:
        """Commit rows and mark, both or neither.

        Raises:
            TransientError: The outcome is unknown.
        """
        transaction = self._delta.Transaction(mark.application, mark.number)
        with _delta_errors(self._path):
            self._delta.write_deltalake(
                self._path,
                self.rows(batch),
                mode="append",
                commit_properties=self._delta.CommitProperties(app_transactions=[transaction]),
            )

    def last(self, application: str) -> int:
        """Return the number of the last mark of an application; -1: there is none."""
        with _delta_errors(self._path):
            found = self._delta.DeltaTable(self._path).transaction_version(application)
        return -1 if found is None else int(found)

    def rows(self, batch: PointBatch) -> pa.Table:
        """Return the rows of a batch with the table's columns."""
        frame: pl.DataFrame = batch.frame
        frame = frame.with_columns([PARTITIONS[name] for name in self._by if name not in frame.columns])
        return frame.select(self.schema.names).to_arrow().cast(self.schema)

    def _compare(self, table: object) -> None:
        ours = {field.name: field.type for field in self._delta.Schema.from_arrow(self.schema).fields}
        theirs = {field.name: field.type for field in table.schema().fields}  # type: ignore[attr-defined]
        for name, wanted in ours.items():
            if theirs.get(name) != wanted:
                message = f"{self._path}: column {name} is {theirs.get(name, 'missing')}, not {wanted}"
                raise ConfigError("table.column", "path", message)
        by = table.metadata().partition_columns  # type: ignore[attr-defined]
        if by != self._by:
            message = f"{self._path} is partitioned by {by}, not {self._by}"
            raise ConfigError("table.partition", "partition_by", message)


def _schema(by: Sequence[str]) -> pa.Schema:
    derived = {"date": pa.date32(), "month": pa.string(), "year": pa.int32()}
    extra = [pa.field(name, derived[name]) for name in by if name in derived]
    return pa.schema([*HivePartitions(()).schema, *extra])


def _deltalake() -> ModuleType:
    try:
        import deltalake
    except ImportError as error:
        message = "needs the package deltalake: pip install 'candlefleet[delta]'"
        raise ConfigError("package.missing", "destination", message) from error
    return deltalake


@contextmanager
def _delta_errors(path: Path) -> Iterator[None]:
    from deltalake.exceptions import DeltaError

    try:
        yield
    except DeltaError as error:
        raise TransientError(f"Delta table {path}: {error}") from error
