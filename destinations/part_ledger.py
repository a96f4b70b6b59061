"""The ledger of a dataset: beside the dataset's folder, where no reader of that comes across it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from destinations.files import FileWrite
from destinations.ledger import Ledger
from destinations.part_files import LISTING, PartFiles
from destinations.records import Durability, FileTally
from router.errors import ConfigError, UnavailableError


class PartLedger(Ledger):
    """Remembers what is in a dataset, and lets files of it be replaced.

    Args:
        path: The dataset's folder. For ``lake/bars`` the ledger is in ``lake/.bars.candlefleet``.
        layout: How files are encoded and named after their rows.
        durability: See `Ledger`.
        shared: See `Ledger`.

    Raises:
        ConfigError: `path.root`: nothing can lie beside that folder.
    """

    def __init__(self, path: Path, layout: str, *, durability: Durability, shared: bool) -> None:
        """Remember what to do; nothing is opened."""
        place = _resolved(path)
        super().__init__(
            place.with_name(f".{place.name}.candlefleet"),
            partial(PartFiles, path=place, layout=layout),
            durability=durability,
            shared=shared,
        )
        self.path = place
        self._parts = cast(PartFiles, self._files)

    def _open(self) -> None:
        above = self.path.parent
        if above.is_dir() and not os.access(above, os.W_OK | os.X_OK):
            message = f"{above} cannot be written, and the ledger of {self.path} has to lie there, beside it"
            raise ConfigError("path.not_writable", "path", f"{message}: name a folder inside {self.path}")
        super()._open()

    def replace(self, gone: Sequence[str], write: FileWrite) -> FileTally | None:
        """Let a new file take the place of some, at once for every reader.

        Args:
            gone: Names of recorded files of one folder, by name.
            write: The same rows, as a file of that folder.

        Returns:
            The new file; None: somebody else replaced or removed one of the old ones meanwhile.

        Raises:
            UnavailableError: The file system cannot exchange two folders, or needs a hand.
            TransientError: Try again.
        """
        with self._opened():
            with self._records.transaction():
                name = self._parts.replace(gone, write)
            self._parts.finish()
            if name is None:
                return None
            entry = self._records.files([name]).get(name)
        if entry is None:
            raise UnavailableError(
                f"the system cannot exchange two folders of {self.path} in one step ({self._parts.refusal}):"
                " files stay as they are, for a reader would see rows twice or not at all while one by one is"
                " replaced"
            )
        return FileTally(name, entry.rows, entry.bytes)

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        with self._opened():
            return self._parts.read(name)

    def remove_replaced(self) -> None:
        """Remove the files that others replaced, once no reader can be in the middle of listing them."""
        while not self._remove_replaced():
            time.sleep(LISTING / 10)

    def _remove_replaced(self) -> bool:
        with self._opened(), self._records.transaction():
            return self._parts.remove_replaced()

    def missing(self, *, forget: bool = False) -> list[str]:
        """Return the names of files that were written and somebody removed; if asked, forget them."""
        with self._opened(), self._records.transaction():
            names = self._parts.missing()
            for name in names if forget else ():
                self._records.forget_file(name)
            return names


def _resolved(path: Path) -> Path:
    try:
        place = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError("path.not_writable", "path", f"{path}: {error}") from error
    if not place.name:
        raise ConfigError("path.root", "path", f"{path} is a root folder: name a folder inside it")
    return place
