"""Keeper: renews the claims in work, so that a short lease suits long writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import CandlefleetError
from workers.records import Claim
from workers.store import Store


class Keeper:
    """Renews the claims in work from a thread of its own, every third of their lease."""

    def __init__(self, store: Store, lease: float) -> None:
        """Start no thread before the first claim."""
        self._store = store
        self._lease = lease
        self._held: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Renew a claim for as long as the context lasts."""
        with self._lock:
            self._held[claim.token] = claim
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._renew, name="candlefleet-keeper", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(claim.token, None)

    def _renew(self) -> None:
        while True:
            time.sleep(self._lease / 3)
            with self._lock:
                held = list(self._held.values())
            for claim in held:
                try:
                    self._store.renew(claim, self._lease)
                except CandlefleetError:
                    continue  # the broker is away: the lease runs out and another worker takes over
