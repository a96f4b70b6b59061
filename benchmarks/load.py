"""How much of the machine others took while something ran: a busy machine slows peers unequally."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

#: Share of the machine taken by others above which a comparison is not to be trusted.
TOLERABLE: Final = 0.10
_STAT: Final = Path("/proc/stat")


class Others:
    """A context that knows, when it ends, which share of all cores processes other than ours took.

    Our processes count when they have been waited for, so it goes around whatever starts and stops them.

    Attributes:
        share: 0 to 1; None where there is no /proc.
    """

    share: float | None = None

    def __enter__(self) -> Self:
        self._before = _reading()
        return self

    def __exit__(self, *_: object) -> None:
        after = _reading()
        if self._before is not None and after is not None:
            self.share = share(self._before, after, os.cpu_count() or 1)


def our_cpu_seconds() -> float:
    """Return the CPU seconds that this process and all that live below it have used; 0 without /proc."""
    return sum(map(_cpu_seconds, _tree(os.getpid()))) if _STAT.exists() else 0.0


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        found = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it ended meanwhile
        return
    for child in " ".join(found).split():
        yield from _tree(int(child))


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share(before: tuple[float, float, float], after: tuple[float, float, float], cores: int) -> float:
    """Return others' share between two readings of (seconds, all CPU seconds, our CPU seconds)."""
    passed, everyone, ours = (late - early for early, late in zip(before, after, strict=True))
    return min(1.0, max(0.0, (everyone - ours) / (passed * cores)))


# Time stolen by the host counts as taken; waiting for a disk does not.
def _reading() -> tuple[float, float, float] | None:
    if not _STAT.exists():
        return None
    fields = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    everyone = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), everyone, sum(os.times()[:4])
