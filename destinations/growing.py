"""Append to files exactly behind their recorded lengths, whatever a crash left there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from destinations.files import Files, FileWrite
from destinations.records import FileEntry, Records
from destinations.root import OPEN_FILES, Root, sync_files, write_all
from router.errors import UnavailableError


class GrowingFiles(Files):
    """Files under the ledger's root that writes are appended to.

    The arguments are those of `Files`, and:

    Args:
        header: Bytes every file starts with, already compressed.
        plain: They are uncompressed lines: an adopted file that ends in mid-line is given its end first.
        append: True: a file that nobody recorded is adopted, and appended to. False: it is set aside as
            ``name~1`` and a fresh one begun. Either way it loses nothing.
    """

    def __init__(
        self,
        root: Root,
        records: Records,
        *,
        durable: bool,
        header: bytes = b"",
        plain: bool = True,
        append: bool = True,
    ) -> None:
        """Remember what to do; nothing is opened."""
        super().__init__(root, records, durable=durable)
        self._header = header
        self._plain = plain
        self._adopt = append

    def recover(self) -> None:
        """Cut what a crash left behind the recorded lengths; within a transaction."""
        for file in self._records.tallies():
            self._root.cut(file.name, file.bytes)

    def register(self, writes: Sequence[FileWrite]) -> None:
        """Record files that are not known yet, in a transaction of its own.

        It is committed before a byte is written: without it a file torn by a crash could not be told
        from one that was there before.
        """
        names = [write.name for write in writes]
        if len(self._records.files(names)) == len(names):
            return
        with self._records.transaction():
            known = self._records.files(names)
            found = [write for write in writes if write.name not in known]
            self._records.save_files({w.name: FileEntry(w.holds, 0, self._length(w.name)) for w in found})

    def add(self, writes: Sequence[FileWrite]) -> None:
        """Append to registered files and record their new lengths; within a transaction.

        Raises:
            UnavailableError: A file is shorter than recorded, or holds something else.
        """
        known = self._records.files(write.name for write in writes)
        for write in writes:
            self._check(write, known[write.name])
        for start in range(0, len(writes), OPEN_FILES):
            self._records.save_files(self._append_some(writes[start : start + OPEN_FILES], known))
        if self._durable:
            self._root.sync_folders(name for name, file in known.items() if not file.bytes)

    def _length(self, name: str) -> int:
        size = self._root.size(name) or 0
        if size and not self._adopt:
            self._root.set_aside(name)
            return 0
        return size

    def _check(self, write: FileWrite, file: FileEntry) -> None:
        size, where = self._root.size(write.name) or 0, f"{write.name} under {self._root.path}"
        if size < file.bytes:
            raise UnavailableError(
                f"{where} holds {size} bytes of the {file.bytes} written: it was cut, replaced or removed"
                f" since. Put it back, or give it up with Ledger.forget({write.name!r})"
            )
        if write.holds != file.holds:
            raise UnavailableError(
                f"{where} holds {file.holds}, not {write.holds}: give this destination another"
                " filename_pattern or path"
            )

    def _append_some(
        self, writes: Sequence[FileWrite], known: Mapping[str, FileEntry]
    ) -> dict[str, FileEntry]:
        after = {}
        with ExitStack() as files:
            fds = []
            for write in writes:
                fd = self._root.open_file(write.name)
                files.callback(os.close, fd)
                after[write.name] = self._append_one(fd, write, known[write.name])
                fds.append(fd)
            if self._durable:
                sync_files(fds)
        return after

    def _append_one(self, fd: int, write: FileWrite, file: FileEntry) -> FileEntry:
        if os.fstat(fd).st_size > file.bytes:
            os.ftruncate(fd, file.bytes)
        opening = self._opening(fd, file)
        content = b"".join((opening, write.content)) if opening else write.content
        write_all(fd, content, file.bytes)
        return FileEntry(file.holds, file.rows + write.rows, file.bytes + len(content))

    def _opening(self, fd: int, file: FileEntry) -> bytes:
        if not file.bytes:
            return self._header
        adopted_now = self._plain and not file.rows
        return b"\n" if adopted_now and os.pread(fd, 1, file.bytes - 1) != b"\n" else b""
