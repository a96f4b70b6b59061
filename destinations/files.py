"""What a ledger asks of its files, whether they grow or are written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from destinations.compression import Content
from destinations.records import Records
from destinations.root import Root


class FileWrite(NamedTuple):
    """What one file gets from one write.

    Attributes:
        name: The file's name under the root.
        holds: Whose rows it holds and in what format; a file never holds two kinds.
        rows: How many rows.
        content: Their bytes, a whole member if they are compressed.
    """

    name: str
    holds: str
    rows: int
    content: Content


class Files(ABC):
    """The files of one ledger.

    Args:
        root: The ledger's folder.
        records: What the ledger records.
        durable: Whether every write is brought to the disk before it is recorded.
    """

    def __init__(self, root: Root, records: Records, *, durable: bool) -> None:
        """Remember what to do; nothing is opened."""
        self._root = root
        self._records = records
        self._durable = durable

    def open(self) -> None:  # noqa: B027  # files under the ledger's own root need nothing more
        """Open what there is beside the ledger's root; within a transaction."""

    def close(self) -> None:  # noqa: B027  # see `open`
        """Let go of it; twice is harmless."""

    @abstractmethod
    def recover(self) -> None:
        """Mend what a crash left; within a transaction."""

    def register(self, writes: Sequence[FileWrite]) -> None:  # noqa: B027  # new files are never begun twice
        """Record what must be known before a byte is written, in a transaction of its own."""

    @abstractmethod
    def add(self, writes: Sequence[FileWrite]) -> None:
        """Write, and record what the files hold then; within a transaction."""

    def finish(self) -> None:  # noqa: B027  # what was appended is there
        """Do what is recorded and not done yet; after a transaction, and in one of its own."""
