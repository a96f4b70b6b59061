"""Outcome: what became of the rows of a part, told by their place in the part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from router.batch import PointBatch
from router.preparing import Prepared
from router.rows import Mask
from router.transforms import Transformed
from workers.letters import letters_for, missing
from workers.open_destinations import Written
from workers.records import Claim, Letter
from workers.series import encode_changes


class Sums(NamedTuple):
    """How the rows before some row ended, and what that changes in the windows of their route."""

    delivered: int
    dropped: int
    letters: list[Letter]
    windows: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A claimed part after its writes.

    Attributes:
        claim: The part.
        batch: Its rows as they were loaded.
        prepared: What became of them before they were written.
        written: How far the writes came.
    """

    claim: Claim
    batch: PointBatch
    prepared: Prepared
    written: Written

    @property
    def transformed(self) -> Transformed:
        """What the route's transform made of them."""
        return self.prepared.transformed

    @property
    def is_cut_short(self) -> bool:
        """Whether the turn was over before everything was written."""
        return self.written.error is None and self.written.rows < len(self.transformed.batch)

    @property
    def failing(self) -> tuple[int, int]:
        """The rows of the part that the failed write held: from the first to behind the last."""
        if len(self.batch) != self.claim.rows:  # some are missing, so places in the part are not known
            return 0, self.claim.rows
        done = self.written.rows
        return self._row(done) if done else 0, self._row(done + self.written.failed)

    @property
    def middle(self) -> int:
        """The row that begins the second half of the failed write."""
        start, stop = self.failing
        row = self._row(self.written.rows + self.written.failed // 2)
        return row if start < row < stop else (start + stop) // 2

    def before(self, stop: int) -> Sums:
        """Return how the rows before a row ended: `failing` begins there, or everything is done."""
        rows = self.transformed.rows.positions
        kept = int((rows < stop).sum())
        failed = [(row, why) for row, why in self.transformed.failed if row < stop]
        late = [(row, why) for row, why in self.prepared.late if row < stop]
        refused = [(int(rows[at]), why) for at, why in self.written.refused if rows[at] < stop]
        letters = missing(self.claim, self.batch) if stop == self.claim.rows else []
        for code, found in (("late", late), ("transform", failed), ("destination.refused", refused)):
            for row, why in found:
                letters += letters_for(self.claim, self.batch, [row], code, why)
        dropped = min(stop, len(self.batch)) - kept - len(failed) - len(late)
        changes = [encode_changes(w.stage, w.before(stop)) for w in self.prepared.windows]
        return Sums(kept - len(refused), dropped, letters, [told for one in changes for told in one])

    def buried(self, code: str, why: str, held: Mask) -> Sums:
        """Return how the rows up to the end of the failed write ended if that write is given up.

        Args:
            code: Why it is, for programs.
            why: The same for people.
            held: Of each transformed row whether the destination has it all the same.
        """
        start, stop = self.failing
        rows = self.transformed.rows.positions
        given_up = rows[(rows >= start) & (rows < stop) & ~held]
        sums = self.before(stop)
        refused = {int(rows[at]) for at, _ in self.written.refused}
        dead = [row for row in given_up.tolist() if row not in refused]
        letters = letters_for(self.claim, self.batch, dead, code, why)
        return sums._replace(delivered=sums.delivered - len(dead), letters=sums.letters + letters)

    # The row of the part at which some transformed row stands; behind the last there is nothing.
    def _row(self, position: int) -> int:
        rows = self.transformed.rows.positions
        return int(rows[position]) if position < len(rows) else self.claim.rows
