"""What is known of points that are reviewed: values, one line of meaning each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from router.checks import check_point
from router.errors import ConfigError

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class State(StrEnum):
    """What became of a point that was to be reviewed."""

    WAITING = "waiting"
    APPROVED = "approved"
    CORRECTED = "corrected"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


#: The decisions after which a point travels again.
SENT_ON: Final = frozenset({State.APPROVED, State.CORRECTED})


class Review(NamedTuple):
    """One point that was to be reviewed; every time is UTC.

    Attributes:
        id: What people call it.
        route: The route it came by.
        reason: Why it waits, or waited.
        state: What became of it.
        came_at: When it came.
        point: Its fields, as they came.
        batch: The accepted batch it came in.
        row: Its row in that batch.
        number: The acceptance number of that batch.
        superseded_by: The id of a newer revision, which came while it waited or before.
        decided_by: Who decided.
        decided_at: When.
        why: What they said.
        changes: The fields that the decision changes.
        sent_as: The id of the batch in which it travels again.
        sent_at: When the fleet was known to have it.
    """

    id: int
    route: str
    reason: str
    state: State
    came_at: datetime
    point: Mapping[str, Any]
    batch: str
    row: int
    number: int
    superseded_by: int | None
    decided_by: str | None
    decided_at: datetime | None
    why: str | None
    changes: Mapping[str, Any] | None
    sent_as: str | None
    sent_at: datetime | None

    @property
    def is_unsent(self) -> bool:
        """Whether it is to travel again, and the fleet is not known to have it."""
        return self.sent_as is not None and self.sent_at is None

    @property
    def revised(self) -> dict[str, Any]:
        """Its fields, with what the decision changes."""
        return {**self.point, **(self.changes or {})}


class Decision(NamedTuple):
    """What a person says of points: what becomes of them, who says so, why, and what changes."""

    state: State
    by: str
    why: str
    changes: Mapping[str, Any] = _NOTHING


class Tally(NamedTuple):
    """How many points of a route are in a state, and how many of these are still to be sent on."""

    route: str
    state: State
    points: int
    unsent: int


@dataclass(frozen=True, slots=True)
class Filters:
    """Which points are meant: those that pass every filter.

    Attributes:
        state: In this state; None: in any.
        fields: With these values, by column: `route`, `symbol` or `source`.
        before: That came before a moment.
        after: That came at it or after it.
    """

    state: State | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    before: datetime | None = None
    after: datetime | None = None


def check_words(name: str, words: str) -> None:
    """Refuse words that say nothing, or that no table can keep.

    Raises:
        ConfigError: `review.words`.
    """
    if not words.strip():
        raise ConfigError("review.words", name, "is empty: whoever reads the decision later wants to know")
    if not all(c.isprintable() or c in "\n\t" for c in words):
        raise ConfigError("review.words", name, f"{words!r} holds characters that nobody can read")


def check_waiting(reviews: Sequence[Review]) -> None:
    """Refuse points that no longer wait.

    Raises:
        ConfigError: `review.decided`: who decided what, when and why.
    """
    if told := "; ".join(f"{one.id} {_what_became(one)}" for one in reviews if one.state != State.WAITING):
        others = "" if len(reviews) == 1 else "; nothing was decided on the others"
        raise ConfigError("review.decided", "", f"{told}{others}")


def checked(one: Review) -> Review:
    """Return a point that was decided on with its changes as values, checked as on arrival.

    Raises:
        ConfigError: `review.refused`: it would be no valid point, with every reason; `review.change`: it was
            corrected, and nothing but its score would change.
    """
    found = check_point(one.revised)
    if found.values is None:
        raise ConfigError("review.refused", str(one.id), "; ".join(map(str, found.reasons)))
    changes = {name: found.values[name] for name in one.changes or {}}
    same = all(one.point[name] == value for name, value in changes.items() if name != "data_quality_score")
    if same and one.state is State.CORRECTED:
        raise ConfigError("review.change", str(one.id), "these are its values: approve it, if they are right")
    return one._replace(changes=changes or None)


def _what_became(one: Review) -> str:
    if one.state is State.SUPERSEDED:
        newer = one.superseded_by
        return f"was superseded by {newer}, a newer revision: `candlefleet review show {newer}`"
    at = f" at {one.decided_at:%Y-%m-%d %H:%M:%S} UTC" if one.decided_at else ""
    return f"was {one.state} by {one.decided_by}{at}: {one.why}"
