"""A write in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Writing:
    """A write in a thread of its own, and what became of it."""

    def __init__(self, write: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._write = write
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._write()
        except BaseException as error:
            self.error = error

    def ended(self) -> BaseException | None:
        """Wait for its end and return what it raised."""
        self._thread.join()
        return self.error
