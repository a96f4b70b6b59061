"""Forget what was written long ago: some at a time, and no lock is held while somebody says what is owed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Final, Protocol

#: Asked for a route and some batch ids: which of them may it still have to write, or write again?
StillOwed = Callable[[str, Sequence[str]], Collection[str]]

AT_ONCE: Final = 500  #: most batches that are read, asked about and forgotten in one step
MOST: Final = 10_000  #: batches after which a call ends, whatever is left


class OldRecords(Protocol):
    """A record of what was written, by route and batch; each method is a step that holds its own lock."""

    def routes(self) -> Sequence[str]:
        """Return every route that anything is recorded of."""

    def old(self, route: str, after: str, before: float) -> Sequence[str]:
        """Return up to `AT_ONCE` batches last written before a moment, those that follow one id, in order."""

    def forget(self, route: str, batches: Sequence[str], before: float) -> int:
        """Forget those of some batches that were still not written since; return how many."""


def prune(
    opened: Callable[[], AbstractContextManager[OldRecords]], older_than: timedelta, still_owed: StillOwed
) -> int:
    """Forget batches last written longer ago than that and of which nothing is owed; return how many."""
    before, gone = written_before(older_than), 0
    with opened() as records:
        routes = records.routes()
    for route in routes:
        after = ""
        while gone < MOST:
            with opened() as records:
                old = records.old(route, after, before)
            if not old:
                break
            if done := settled(route, old, still_owed):
                with opened() as records:
                    gone += records.forget(route, done, before)
            after = old[-1]
    return gone


def written_before(older_than: timedelta) -> float:
    """Return the moment, in seconds since 1970, before which a batch that is older was last written."""
    return time.time() - older_than.total_seconds()


def settled(route: str, batches: Sequence[str], still_owed: StillOwed) -> list[str]:
    """Return those of some batches that a route owes nothing of, in order."""
    owed = set(still_owed(route, batches))
    return [batch for batch in batches if batch not in owed]
