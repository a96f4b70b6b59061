"""What depends on later bars in a training set's examples, and how that is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: What a leak is called, and what examples of that kind do.
KINDS: Final = {
    "changed": "changed when later bars came",
    "gone": "gone when later bars came",
    "early": "built before the bar of the target had ended",
    "foresight": "say something of bars after `as_of`",
    "own_target": "have a target that later bars do not change",
    "doubled": "built twice",
}
#: Bytes shown before and after the first that differs.
_AROUND: Final = 40


@dataclass(frozen=True, slots=True)
class Leak:
    """One way in which examples depend on what came later.

    Attributes:
        kind: One of `KINDS`.
        cut: Up to when the bars had ended of which the examples were built, UTC.
        examples: How many examples it is true of.
        example_id: The first of them.
        at: The first byte that differs; None: there is nothing to compare.
        before: What stands there, and around it, when nothing later is known.
        after: What stands there when it is.
    """

    kind: str
    cut: datetime
    examples: int
    example_id: str
    at: int | None = None
    before: str = ""
    after: str = ""

    @classmethod
    def among(cls, kind: str, cut: datetime, found: Sequence[str]) -> list[Leak]:
        """Return the leak that some examples have, if there are any."""
        return [cls(kind, cut, len(found), found[0])] if found else []

    @classmethod
    def between(cls, kind: str, cut: datetime, found: Mapping[str, tuple[bytes, bytes]], count: int) -> Leak:
        """Return the leak that some examples have, the first of which are given as they were, and became."""
        name, (before, after) = next(iter(found.items()))
        return cls(kind, cut, count, name, *_around(before, after))

    def __str__(self) -> str:
        what = f"{self.examples} examples {KINDS[self.kind]}"
        text = f"{self.cut.isoformat()}: {what}; the first is {self.example_id}"
        if self.at is None:
            return text
        return f"{text}, at byte {self.at}:\n  before  {self.before}\n  after   {self.after}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of building examples at several moments.

    Attributes:
        cuts: Up to when, and how many examples the bars had that had ended by then; the last are all.
        under_way: How many examples were looked at whose target was still to come at one of the moments.
        leaks: What depends on later bars, by moment.
    """

    cuts: tuple[tuple[datetime, int], ...]
    under_way: int
    leaks: tuple[Leak, ...]

    def proven(self) -> bool:
        """Return whether there were examples, some under way, and no leak."""
        return not self.leaks and self.under_way > 0


def _around(before: bytes, after: bytes) -> tuple[int, str, str]:
    shorter = min(len(before), len(after))
    at = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    start, stop = max(0, at - _AROUND), at + _AROUND

    def shown(line: bytes) -> str:
        text = line[start:stop].decode(errors="replace")
        return f"{'…' * (start > 0)}{text}{'…' * (stop < len(line))}"

    return at, shown(before), shown(after)
