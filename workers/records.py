"""What passes between the fleet's state and those who work with it: values, one line of meaning each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from router.rows import Rows


class Letter(NamedTuple):
    """A dead letter to be: the route it belongs to ('' if none), and what is kept of it."""

    route_id: str
    original: Any
    reasons: Sequence[Mapping[str, str]]
    where: str = ""
    batch_id: str = ""
    row: int = -1
    attempts: int = 0
    first: float = 0.0
    rows: int = 1  #: how many rows it stands for

    def to_json(self) -> str:
        """Return the letter as it is kept; times are seconds since 1970 UTC."""
        at = time.time()
        kept = self._asdict() | {"first": self.first or at, "last": at}
        return json.dumps(kept, separators=(",", ":"), default=str)


class Accepted(NamedTuple):
    """What accept answered: the acceptance number, or why not; and whether to nudge the router."""

    verdict: Literal["accepted", "again", "busy", "expired", "gone"]
    detail: str
    nudge: bool


class Entry(NamedTuple):
    """An entry of the stream that others write to: its name, and what stands in it."""

    name: str
    fields: Sequence[tuple[bytes, bytes]]

    @property
    def batch_id(self) -> str:
        """The name of its batch, unless its producer gave one."""
        return f"stream-{self.name}"


class Note(NamedTuple):
    """What kombu keeps of a message that somebody holds: under which keys, tag and time, and the message."""

    held: str
    order: str
    tag: str
    at: float
    text: str


class Waiting(NamedTuple):
    """A batch lent to a router: its points as IPC bytes, how many, and the context they came with.

    `tries` counts its loans, this one included: above one, a router did not live to say what it found.
    """

    batch_id: str
    data: bytes
    points: int
    context: dict[str, Any]
    tries: int = 1


class Debt(NamedTuple):
    """What one route owes of one batch after matching."""

    route_id: str
    rows: Rows
    max_owed: int | None


class Verdict(NamedTuple):
    """What matching found in one batch; `letters` are rows whose condition failed.

    Each point is counted once: `matched` by at least one route, `unmatched` by none, or `failed`, when the
    conditions that did not decline it could not be evaluated.
    """

    batch_id: str
    debts: Sequence[Debt]
    matched: int
    unmatched: int
    failed: int
    letters: Sequence[Letter] = ()

    def arguments(self) -> list[Any]:
        """Return the arguments of `match.lua`."""
        flat: list[Any] = [self.batch_id, self.matched, self.unmatched, self.failed, len(self.debts)]
        for debt in self.debts:
            flat += [debt.route_id, len(debt.rows), debt.rows.encode(), debt.max_owed or 0]
        return flat + pairs(self.letters)


class Nudge(NamedTuple):
    """A message to send: look at this part of this route; `rows` is for people who watch."""

    part_id: str
    route_id: str
    rows: int

    @property
    def flush(self) -> str:
        """The flush the part is of."""
        return self.part_id.partition("-")[0]


class Rest(NamedTuple):
    """Rows of a part that are to become a part of their own; it is due in `wait` seconds."""

    rows: int
    attempts: int = 0
    silent: int = 0
    wait: float = 0.0


class Settlement(NamedTuple):
    """What settle answered.

    Attributes:
        verdict: ``stale``: the part is another's, or done; ``full``: no dead letter may be added.
        complete: No part of the flush is left: the next one may be cut.
        nudges: Parts whose turn it is now.
        waiting: New parts that are due later.
        why: What is full.
    """

    verdict: Literal["settled", "stale", "full"]
    complete: bool = False
    nudges: Sequence[Nudge] = ()
    waiting: Sequence[Nudge] = ()
    why: str = ""


class Sweep(NamedTuple):
    """What waits for a nudge: the router, parts, and routes with pending rows."""

    router: bool
    parts: list[Nudge]
    routes: list[str]


@dataclass(frozen=True, slots=True)
class Claim:
    """A part held by this process.

    Attributes:
        pieces: Which of the selected rows of which batch: (batch id, start, stop) in the selection.
        attempts: Claims so far, this one included.
        silent: Claims in a row, this one included, after which nobody reported back: a poison's trace.
        since: When the part first failed, seconds since 1970; 0.0 if it has not.
    """

    part_id: str
    token: str
    route_id: str
    rows: int
    pieces: list[tuple[str, int, int]] = field(repr=False)
    attempts: int
    silent: int
    since: float

    @property
    def tries(self) -> int:
        """How many attempts this is, without those whose workers died."""
        return self.attempts - self.silent + 1


def pairs(letters: Sequence[Letter]) -> list[str]:
    """Return letters as scripts take them: route id and JSON text, in turn."""
    return [value for letter in letters for value in (letter.route_id, letter.to_json())]
