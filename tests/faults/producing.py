"""A producer in a process of its own, as the tests that kill it see it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue

from tests.acceptance.fleet_fixture import stop


class ProducerProcess:
    """A producer that can be killed and started again; it repeats what was not acknowledged, in order."""

    def __init__(self, environment: Mapping[str, str], log: Path | None = None) -> None:
        self.environment = dict(environment)
        self._log = log
        self._open: dict[str, str] = {}  # line by name, oldest first
        self._said: Queue[str] = Queue()
        self.start()

    def start(self) -> None:
        with contextlib.ExitStack() as files:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.send_batches"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=files.enter_context(self._log.open("ab")) if self._log else None,
                text=True,
                env=self.environment,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
        self._said = Queue()
        self._reader = threading.Thread(target=self._read, args=(self.process, self._said), daemon=True)
        self._reader.start()
        for line in list(self._open.values()):
            self._write(line)

    @staticmethod
    def _read(process: subprocess.Popen[str], said: Queue[str]) -> None:
        for line in process.stdout:
            said.put(line.strip())

    def send(self, name: str, rows: range, source: str = "storm") -> None:
        self._open[name] = f"{name} {source} {rows.start} {rows.stop}\n"
        self._write(self._open[name])

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it was killed: the next one is told again
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def unacknowledged(self) -> int:
        """Return how many batches are on their way."""
        with contextlib.suppress(Empty):
            while True:
                self._open.pop(self._said.get_nowait(), None)
        return len(self._open)

    def mend(self) -> None:
        """Start again if it ended."""
        if self.process.poll() is not None:
            self.close()
            self.start()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        stop(self.process)
        self._reader.join()
        self.process.stdout.close()
