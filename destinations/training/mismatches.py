"""What a training set says otherwise than the bars it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from destinations.training.known_bars import KnownBars

#: Mismatches that are kept to be shown; all are counted.
SHOWN: Final = 1000
NOTHING: Final = "nothing"


class Difference(NamedTuple):
    """One thing that a row of some examples says otherwise than the bars.

    Attributes:
        row: Which of them.
        column: Which column, and where in it: `context[3].close`, `target.next_close`, `split`.
        written: What is there, as text.
        bars: What the bars say, as text.
    """

    row: int
    column: str
    written: str
    bars: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that a training set says otherwise than the bars.

    Attributes:
        example_id: Of which example; empty for one that is missing.
        split: The split it was found in, or belongs to.
        source: Who reported its bars; with `symbol` and `timeframe` its series.
        symbol: What was traded.
        timeframe: The length of its bars.
        timestamp: The start of its current bar, UTC; None: it says none.
        column: As in `Difference`, and so are `written` and `bars`.
    """

    example_id: str
    split: str
    source: str
    symbol: str
    timeframe: str
    timestamp: datetime | None
    column: str
    written: str
    bars: str

    def __str__(self) -> str:
        time = "" if self.timestamp is None else f" {self.timestamp.isoformat()}"
        where = f"{self.symbol} {self.timeframe}{time} from {self.source}"
        name = f"example {self.example_id}" if self.example_id else "an example"
        return f"{name} ({where}, {self.split}): {self.column} is {self.written}; by the bars {self.bars}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of comparing a training set with bars.

    Attributes:
        examples: How many examples were checked, by split.
        expected: How many the bars have.
        missing: How many of those are not there.
        wrong: How many examples say something the bars do not, or should not be there.
        mismatches: What is wrong, and what is missing: the first `SHOWN`.
        bars: What they were compared with.
        revisions: How many examples are flagged `revised` though the files hold one version of the bar only.
        indicators: How many numbers of bars' own indicators were compared; None: the examples say none.
        unknown_indicators: How many bars in examples say an indicator that the files' have not.
    """

    examples: dict[str, int]
    expected: int
    missing: int
    wrong: int
    mismatches: tuple[Mismatch, ...]
    bars: KnownBars
    revisions: int
    indicators: int | None
    unknown_indicators: int

    def proven(self, *, partial: bool = False) -> bool:
        """Return whether nothing is wrong, and nothing missing unless only a part is there yet."""
        return not self.wrong and (partial or not self.missing)


def shown(value: Any) -> str:
    """Return a value of an example as text for a person."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return value.isoformat()
    return value or "none" if isinstance(value, str) else repr(value)
