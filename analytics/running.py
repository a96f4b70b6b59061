"""Run a command to its end, and nothing of it longer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.embedded import end_with_parent


class Failed(Exception):  # noqa: N818  # what it says is for a person
    """A command did not end well; the message says how, and its last words."""


def run(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path, within: float = 600.0
) -> None:
    """Run a command, its words in a log; on return neither it nor a process it started is left.

    Args:
        command: The program and its arguments.
        environment: All of its environment.
        log: Where it says what it has to say.
        within: Seconds it may take.

    Raises:
        Failed: It could not be started, ended with another status than 0, or did not end in time.
    """
    with log.open("wb") as words:
        try:
            process = subprocess.Popen(  # noqa: S603
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from error
        try:
            status = process.wait(within)
        except subprocess.TimeoutExpired:
            raise Failed(f"did not end within {within:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status:
        raise Failed(f"ended with status {status}:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
