"""Disks and files that fail under a destination: at a system call, by a limit, or because they are full."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.fleet_fixture import CELERY, QUIET, alive, files_under, running, until
from tests.faults import disks
from tests.faults.fault import Fault
from tests.faults.scene import LEASE, REPOSITORY, Scene, send_signal

OWNERS = ("csv", "jsonl", "default")  #: whose pool processes write files
CALLS = ("pwrite64", "fsync", "openat", "fdatasync")


@contextlib.contextmanager
def tampered(scene: Scene, pid: int, call: str, what: str) -> Iterator[Path]:
    """Let strace change what a system call of a process does; its log says INJECTED when it did."""
    log = scene.folder / "strace.log"
    log.unlink(missing_ok=True)
    command = ["strace", "-f", "-qq", "-p", str(pid), "-o", str(log)]
    tracer = subprocess.Popen(
        [*command, "-e", f"trace={call}", "-e", f"inject={call}:{what}"], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _traced(pid) or not alive(pid), f"{pid} is traced", every=0.005)
        yield log
    finally:
        _end(tracer)


# When threads die under it, strace may wait for the last of them for ever.
def _end(tracer: subprocess.Popen[bytes]) -> None:
    tracer.terminate()
    try:
        tracer.wait(1)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()


def _traced(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    return False


def killed_at_a_call(scene: Scene, turn: int) -> str:
    """Kill a pool process as it calls the system to write, sync or open; at times its successor too."""
    name, call = OWNERS[turn % len(OWNERS)], CALLS[turn % len(CALLS)]
    pid = scene.child(name)
    with tampered(scene, pid, call, f"signal=KILL:when={scene.dice.randint(1, 2) if call != 'fsync' else 1}"):
        until(lambda: not alive(pid), f"{name} died at {call}", within=40, every=0.005)
    if call != "fsync":
        return f"{name} at {call}"
    heir = until(lambda: (child := scene.child(name)) != pid and child, f"{name} has a pool again")
    with tampered(scene, heir, "ftruncate,pwrite64", "signal=KILL:when=1"):
        until(lambda: not alive(heir), f"{name} died while it recovered", within=40, every=0.005)
    return f"{name} at {call}, again while it recovered"


ERRORS = (
    ("pwrite64", "ENOSPC"),
    ("fsync", "EIO"),
    ("openat", "EROFS"),
    ("pwrite64", "EIO"),
    ("fdatasync", "EIO"),
    ("openat", "EMFILE"),
    ("pwrite64", "EDQUOT"),
)


def error_of_the_system(scene: Scene, turn: int) -> str:
    """Let one system call of a pool process fail."""
    name, (call, error) = OWNERS[turn % len(OWNERS)], ERRORS[turn % len(ERRORS)]
    pid = scene.child(name)
    with tampered(scene, pid, call, f"error={error}:when=1") as log:
        failed = lambda: log.exists() and "INJECTED" in log.read_text()  # noqa: E731
        until(failed, f"{call} of {name} failed with {error}", within=40, every=0.01)
    return f"{name}: {call} {error}"


def short_write(scene: Scene, turn: int) -> str:
    """Let files grow by a few bytes only for a moment, so that writes end in the middle of a line."""
    name = OWNERS[turn % len(OWNERS)]
    source = scene.exports / name / scene.feeder.source
    until(lambda: source.is_dir() and files_under(source), f"{name} has a file", every=0.01)
    size = max(path.stat().st_size for path in files_under(source))
    limit = size + scene.dice.randint(10, 200)
    pid = scene.child(name)
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        until(lambda: _cut(scene, source, limit), f"a write of {name} was short", within=40, every=0.005)
        scene.rest(0.2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return f"{name} at {limit} bytes"


# The ledger may be longer than the limit already: then it is the one that cannot be written.
def _cut(scene: Scene, source: Path, limit: int) -> bool:
    said = ("File too large", "disk I/O error", "full")
    return any(path.stat().st_size == limit for path in files_under(source)) or any(
        words in error for error in scene.errors() for words in said
    )


def disk_full(scene: Scene, turn: int) -> str:
    """Fill the disk of the files until a destination says so, then free it."""
    with disks.filled(scene.exports):
        said = lambda: any("No space" in error or "full" in error for error in scene.errors())  # noqa: E731
        until(said, "a destination noticed that its disk is full", within=40, every=0.01)
        scene.rest(0.3)
    return "files"


@contextlib.contextmanager
def second_owner(scene: Scene) -> Iterator[None]:
    """Let a second worker write the same files."""
    command = [*CELERY, "worker", "-Q", "destinations.csv", "-n", "csv2@%h", "-c", "1", *QUIET]
    with running(command, scene.logs / "csv2.log", scene.worker_environment(), cwd=REPOSITORY):
        ready = lambda: " ready." in (scene.logs / "csv2.log").read_text()  # noqa: E731
        until(ready, "the second worker is ready")
        yield


def lease_run_out(scene: Scene, turn: int) -> str:
    """Stop a pool process in the middle of a part for longer than its lease, then let it go on."""

    def stopped_at_work() -> int | None:
        pid = scene.busy_child("csv")
        send_signal(pid, signal.SIGSTOP)
        if pid in scene.holders():
            return pid
        send_signal(pid, signal.SIGCONT)
        return None

    pid = until(stopped_at_work, "a pool process was stopped while it held a part")
    try:
        scene.rest(LEASE + 0.5)
    finally:
        send_signal(pid, signal.SIGCONT)
    return "csv"


FAULTS = (
    Fault("kill -9 at a system call", killed_at_a_call, needs="strace"),
    Fault("system call fails", error_of_the_system, needs="strace"),
    Fault("write cut short by a limit", short_write),
    Fault("disk of the files full", disk_full, needs="root"),
    Fault("two owners of one file, lease run out", lease_run_out, around=second_owner),
)
