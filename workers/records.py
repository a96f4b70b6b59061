"""What passes between the fleet's state and those who work with it: values, one line of meaning each."""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from router.batch import BatchRows, PointBatch
from router.rows import Rows


class Letter(NamedTuple):
    """A dead letter to be: the route it belongs to ('' if none), and what is kept of it.

    `batch_id`, `row`, `number` and `digest` name its point as `BatchRows` does: a replay keeps the name.
    A letter of many rows may have them in a `file`, a path under the folder of the fleet on one `host`; then
    `batches` are the ids of all their batches.
    """

    route_id: str
    original: Any
    reasons: Sequence[Mapping[str, str]]
    where: str = ""
    batch_id: str = ""
    row: int = -1
    attempts: int = 0
    first: float = 0.0
    number: int = 0
    digest: str = ""
    rows: int = 1  #: how many rows it stands for
    file: str = ""
    host: str = ""
    batches: Sequence[str] = ()

    def to_json(self) -> str:
        """Return the letter as it is kept; times are seconds since 1970 UTC."""
        at = time.time()
        kept = self._asdict() | {"first": self.first or at, "last": at}
        for name in () if self.file else ("file", "host", "batches"):
            del kept[name]
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


class Buried(NamedTuple):
    """A dead letter as it lies with the others: its id, the fields of its `Letter`, and its bytes.

    `kept` has a time more, `last`: when the letter was written, seconds since 1970 UTC.
    """

    letter_id: str
    kept: dict[str, Any]
    size: int

    @property
    def route_id(self) -> str:
        """The route it belongs to; '' for what was refused at the door."""
        return str(self.kept["route_id"])

    @property
    def codes(self) -> list[str]:
        """The codes of its reasons."""
        return [reason["code"] for reason in self.kept["reasons"]]

    @property
    def rows(self) -> int:
        """How many rows it stands for."""
        return int(self.kept.get("rows", 1))

    @property
    def file(self) -> str:
        """Where its rows are, under the folder of the fleet; '' if it keeps its only one itself."""
        return str(self.kept.get("file", ""))

    @property
    def name(self) -> BatchRows:
        """The name of its row."""
        kept = self.kept
        return BatchRows(kept["batch_id"], Rows([kept["row"]]), kept.get("number", 0), kept.get("digest", ""))


class Replay(NamedTuple):
    """What a batch of replayed dead letters knows beside its points.

    Attributes:
        route_id: The only route that takes them.
        asks: Its condition could not be evaluated for them, and is asked again.
        names: What the rows were called when they died, in their order.
    """

    route_id: str
    asks: bool
    names: Sequence[BatchRows]

    def named(self, rows: Rows) -> list[BatchRows]:
        """Return the names of some rows of the batch."""
        found, start = [], 0
        for part in self.names:
            low, high = np.searchsorted(rows.positions, [start, start + len(part.rows)])
            if low < high:
                kept = part.rows.positions[rows.positions[low:high] - np.uint32(start)]
                found.append(replace(part, rows=Rows(kept)))
            start += len(part.rows)
        return found

    def to_json(self) -> str:
        """Return it as it is kept with its batch."""
        names = [[p.batch_id, b64encode(p.rows.encode()).decode(), p.number, p.digest] for p in self.names]
        return json.dumps([self.route_id, self.asks, names], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes) -> Replay:
        """Read what `to_json` wrote."""
        route_id, asks, names = json.loads(text)
        return cls(
            route_id,
            asks,
            [BatchRows(name, Rows.decode(b64decode(rows)), *rest) for name, rows, *rest in names],
        )


class Revival(NamedTuple):
    """Dead letters about to be replayed in one step.

    Attributes:
        batch_id: A new id, the same when the step is repeated.
        letter_ids: The letters that are removed.
        batch: Their points.
        replay: What these keep; None: no route has seen them, and all of them may.
        refused: Letters for points that were refused again, though not all of their message was.
        notes: Counts of points by source and note.
    """

    batch_id: str
    letter_ids: Sequence[str]
    batch: PointBatch
    replay: Replay | None = None
    refused: Sequence[Letter] = ()
    notes: Mapping[str, Mapping[str, int]] = MappingProxyType({})


class Waiting(NamedTuple):
    """A batch lent to a router: its points as IPC bytes, the name of its rows, the context they came with.

    `tries` counts its loans, this one included: above one, a router did not live to say what it found.
    """

    batch_id: str
    data: bytes
    points: int
    context: dict[str, Any]
    tries: int = 1
    number: int = 0
    digest: str = ""
    replay: Replay | None = None

    @property
    def names(self) -> Sequence[BatchRows]:
        """What its rows are called; those of a replay keep the names they had."""
        if self.replay is not None:
            return self.replay.names
        return [BatchRows(self.batch_id, Rows.all(self.points), self.number, self.digest)]


class Debt(NamedTuple):
    """What one route owes of one batch; if it `spills`, no door closes above its `max_owed`."""

    route_id: str
    rows: Rows
    max_owed: int | None
    spills: bool = False


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
            limit = (debt.max_owed or 0) * (-1 if debt.spills else 1)
            flat += [debt.route_id, len(debt.rows), debt.rows.encode(), limit]
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
