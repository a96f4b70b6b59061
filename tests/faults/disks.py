"""Small disks that can be filled; they need root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE = 256 << 20  #: bytes of a small disk


def mountable() -> bool:
    """Return whether this process may mount disks."""
    return os.geteuid() == 0 and Path("/proc/filesystems").read_text().find("tmpfs") >= 0


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a disk of its own at a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def filled(place: Path) -> Iterator[None]:
    """Leave no byte of a disk free for a while."""
    filler = place / ".filler"
    with filler.open("ab") as file:
        found = os.statvfs(place)
        with contextlib.suppress(OSError):  # others write at the same time
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_bsize)
        with contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(512))
    try:
        yield
    finally:
        filler.unlink()
