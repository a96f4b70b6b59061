"""An embedded Redis of its own in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from workers.embedded import EmbeddedRedis

_MEMORY: Final = 1 << 30


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder, and remove it with all that is in it; TMPDIR says on which disk."""
    with tempfile.TemporaryDirectory(prefix="candlefleet-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def empty_redis() -> Iterator[EmbeddedRedis]:
    """Start a server as the fleet starts it, append-only file and all; stop it and remove its files."""
    with temporary_folder() as folder, EmbeddedRedis(folder, _MEMORY) as server:
        yield server
