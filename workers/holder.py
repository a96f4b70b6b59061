"""Who holds a claim: a name from which any process of the same machine can tell that the holder is dead."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def token(claim_id: str) -> str:
    """Return a token for one claim of this process: machine, process id, its start, the claim's id."""
    pid = os.getpid()
    return "/".join((_machine(), str(pid), _started(pid), claim_id))


def is_dead(token_: str) -> bool:
    """Return whether the process that made a token is known to be gone; False if it is not ours to know.

    A process id alone would not do: it is used again, so the time at which the process started goes along.
    """
    machine, pid, started, _ = token_.split("/", 3) if token_.count("/") >= 3 else ("", "0", "", "")
    return bool(machine) and machine == _machine() and _started(int(pid)) != started


@cache
def _machine() -> str:
    """Name the kernel and process namespace within which a process id means one process; '' if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks since boot; '' if there is none.

    Source: proc(5), /proc/pid/stat, field 22.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
