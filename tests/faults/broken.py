"""Rules left out on purpose, in the processes of a fleet under test: each must make its invariants fail."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
from ulid import ULID

import destinations.repeats
import workers.store
from router.batch import PointBatch
from workers import holder
from workers.deliveries import Deliveries
from workers.journey import Journey
from workers.outcome import Sums
from workers.records import Claim
from workers.transport import SlotFreeingQoS


def without_ledger_check() -> None:
    """Every row is new to a file, whatever its ledger says."""
    real = destinations.repeats.new_rows

    def all_new(batch: PointBatch, written: Any) -> Any:
        return np.ones(len(batch), dtype=np.bool_), real(batch, written)[1]

    destinations.repeats.new_rows = all_new


def settled_before_written() -> None:
    """A part is settled first and written then."""

    def write(self: Deliveries, route_id: str, part_id: str, *, closes: bool = True) -> int:
        name = self._table.destination_name(route_id)
        claim = self._store.claim(part_id, holder.token(str(ULID())), self._lease, name)
        if not isinstance(claim, Claim):
            return 0
        batch = self._store.load(claim)
        self._settle(claim, Sums(claim.rows, 0, []), closes=closes)
        self.destinations.write(self._table, claim.route_id, batch, None)
        return claim.rows

    Deliveries.write = write


def without_tombstone() -> None:
    """A batch that is sent again is taken again."""
    _edit("accept", "if seen then return {'again', seen, 0} end", "")


def without_match_guard() -> None:
    """A batch that was matched may be matched again."""
    _edit(
        "match",
        "if redis.call('ZREM', UNROUTED, id) == 0 then return 'again' end",
        "redis.call('ZREM', UNROUTED, id)",
    )


def without_sweep() -> None:
    """Nobody looks after nudges that were lost."""
    Journey.sweep = lambda self: 0


def without_freed_slots() -> None:
    """A connection lost during an acknowledgement keeps its prefetch slot."""

    @contextmanager
    def as_it_was(self: SlotFreeingQoS, delivery_tag: str) -> Any:
        yield

    SlotFreeingQoS._slot_freed = as_it_was


VARIANTS: dict[str, Callable[[], None]] = {
    act.__name__: act
    for act in (
        without_ledger_check,
        settled_before_written,
        without_tombstone,
        without_match_guard,
        without_sweep,
        without_freed_slots,
    )
}


_EDITED: set[tuple[str, str]] = set()  # a process may read its routes, and so leave out, more than once


def apply(name: str) -> None:
    """Leave out the rule of a name in this process; '' leaves all in."""
    if name:
        VARIANTS[name]()


def _edit(script: str, text: str, instead: str) -> None:
    sources = workers.store._sources()  # cached: a store made later reads what stands there now
    if (script, text) not in _EDITED:
        assert text in sources[script], f"{script}.lua no longer says: {text}"
        sources[script] = sources[script].replace(text, instead)
        _EDITED.add((script, text))
