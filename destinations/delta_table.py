"""Make, check and commit to a Delta table with the library of its name."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pyarrow as pa

from destinations.delta_files import LOG, Add, Mark
from destinations.delta_torn import OURS
from destinations.hive import HivePartitions
from destinations.revisions import ACCEPTANCE_FIELDS
from destinations.root import disk_errors
from router.errors import ConfigError, TransientError, UnavailableError

#: Settings of a table that a writer of plain files would break.
_RULES: Final = ("delta.constraints.", "delta.columnMapping.mode")
#: What a column of a table may ask of its writers.
_COLUMN_RULES: Final = frozenset({"delta.invariants", "delta.generationExpression", "delta.identity.start"})
_DERIVED: Final = {"date": pa.date32(), "month": pa.string(), "year": pa.int32()}
_SYSTEM_ERROR: Final = re.compile(r"\(os error (\d+)\)")


class DeltaTable:
    """A Delta table in a folder, as `destinations.delta_files.MarkedTable` has it.

    Commits carry their mark as the table's application transaction.

    Args:
        path: The folder.
        by: The columns it is partitioned by, the outermost first.

    Raises:
        ConfigError: `package.missing`.
    """

    def __init__(self, path: Path, by: Sequence[str]) -> None:
        """Remember both; nothing is opened."""
        self._delta = _deltalake()
        self._path = path
        self._by = list(by)
        self._found: Any = None
        self.schema = _schema(by)

    def prepare(self, *, begun: bool) -> None:
        """Make the table, unless it was begun before, or check the one that is there.

        Raises:
            ConfigError: `path.not_a_table`; `table.column`, `table.partition` or `table.rule` for one that
                points do not fit into.
            UnavailableError: It was begun and is gone, or cannot be read.
        """
        with self._errors():
            if begun or self._delta.DeltaTable.is_deltatable(str(self._path)):
                self._compare(self._load())
                return
            names = sorted(file.name for file in self._path.iterdir())
            if strangers := [name for name in names if name != LOG and not name.startswith(".")]:
                message = f"{self._path} holds {strangers[0]} and is no Delta table: choose an empty folder"
                raise ConfigError("path.not_a_table", "path", message)
            self._delta.DeltaTable.create(self._path, self.schema, partition_by=self._by)

    def last(self, application: str) -> int:
        """Return the number of the last mark of an application; -1: there is none."""
        with self._errors():
            self._found = self._load()
            number = self._found.transaction_version(application)
        return -1 if number is None else int(number)

    def commit(self, adds: Sequence[Add], mark: Mark) -> None:
        """Commit files and mark, both or neither, to the table as `last` found it.

        Raises:
            TransientError: The outcome is unknown, or somebody else changed the table.
            UnavailableError: It is no longer a table that points fit into, or cannot be written.
        """
        table, delta = self._found, self._delta
        try:
            self._compare(table)
        except ConfigError as error:
            raise UnavailableError(f"{error.message}: mend the table, or take another") from error
        properties = delta.CommitProperties(
            custom_metadata={OURS: str(mark.number)}, app_transactions=[delta.Transaction(*mark)]
        )
        with self._errors():
            table.create_write_transaction(
                [self._action(add) for add in adds],
                "append",
                table.schema(),
                self._by,
                commit_properties=properties,
            )

    def _action(self, add: Add) -> object:
        from deltalake.transaction import AddAction

        values, stats = json.loads(add.holds)
        return AddAction(add.name, add.size, values, time.time_ns() // 1_000_000, True, json.dumps(stats))

    def _load(self) -> Any:
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return self._delta.DeltaTable(self._path)
        except TableNotFoundError as error:
            message = (
                f"the table in {self._path} is gone: put its {LOG} back, or empty the folder to begin anew"
            )
            raise UnavailableError(message) from error
        except DeltaError as error:
            raise _system_error(error) or UnavailableError(
                f"the table in {self._path} cannot be read: {_first_line(error)}. Mend it, or put {LOG} back"
            ) from error

    def _compare(self, table: Any) -> None:
        theirs = {field.name: field for field in table.schema().fields}
        for name, wanted in self._fields().items():
            found = theirs[name].type if name in theirs else "missing"
            if found != wanted.type:
                message = f"{self._path}: column {name} is {found}, not {wanted.type}"
                raise ConfigError("table.column", "path", message)
        by = table.metadata().partition_columns
        if by != self._by:
            message = f"{self._path} is partitioned by {by}, not {self._by}"
            raise ConfigError("table.partition", "partition_by", message)
        self._refuse_rules(table)

    def _refuse_rules(self, table: Any) -> None:
        always = {name for name, field in self._fields().items() if not field.nullable}
        rules = [key for key in table.metadata().configuration if key.startswith(_RULES)]
        for field in table.schema().fields:
            rules += [f"{rule} of {field.name}" for rule in _COLUMN_RULES & field.metadata.keys()]
            rules += [] if field.nullable or field.name in always else [f"NOT NULL of {field.name}"]
        if rules:
            message = f"{self._path} has a rule that is not kept here, {rules[0]}: choose a table without"
            raise ConfigError("table.rule", "path", message)

    def _fields(self) -> dict[str, Any]:
        return {field.name: field for field in self._delta.Schema.from_arrow(self.schema).fields}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from deltalake.exceptions import DeltaError

        with disk_errors(self._path), _panics():
            try:
                yield
            except (DeltaError, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                if (system := _system_error(error)) is not None:
                    raise system from error
                message = f"the table in {self._path}: {_first_line(error)}"
                if isinstance(error, DeltaError) and not _is_passing(error):
                    raise UnavailableError(f"{message}: mend the table, or take another") from error
                raise TransientError(message) from error


@contextmanager
def _panics() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # no module gives it to be named
            raise
        if "forked" in str(error).lower():
            raise UnavailableError(
                "deltalake was used before this process was forked, and cannot be used in it: start workers"
                " with worker_pool_start_method = 'spawn'"
            ) from error
        raise TransientError(f"deltalake: {_first_line(error)}") from error


def _is_passing(error: Exception) -> bool:
    from deltalake.exceptions import CommitFailedError

    return isinstance(error, CommitFailedError) and "table features" not in str(error).lower()


# Backtraces of the library come with its messages.
def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


# The library raises errors of the system without their numbers.
def _system_error(error: Exception) -> OSError | None:
    found = _SYSTEM_ERROR.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _schema(by: Sequence[str]) -> pa.Schema:
    extra = [pa.field(name, _DERIVED[name]) for name in by if name in _DERIVED]
    return pa.schema([*HivePartitions((), ACCEPTANCE_FIELDS).schema, *extra])


def _deltalake() -> ModuleType:
    try:
        import deltalake
    except ImportError as error:
        message = "needs the package deltalake: pip install 'candlefleet[delta]'"
        raise ConfigError("package.missing", "destination", message) from error
    return deltalake
