"""Rules: what a deployment asks of its points beyond what holds everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from router.errors import ConfigError
from router.names import nearest

#: How many of a unit make a second.
TIMESTAMP_UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
#: Which moment a local time means that comes twice.
FOLDS: Final = ("earlier", "later")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the present moment, UTC."""
    return datetime.now(UTC)


def check_word(where: str, word: str, known: Iterable[str]) -> None:
    """Check that a word is one of those known.

    Raises:
        ConfigError: `enum`, with the nearest one.
    """
    if word not in known:
        message = f"{word!r} is not one of {', '.join(known)}{nearest(word, known)}"
        raise ConfigError("enum", where, message)


def check_zone(where: str, name: str) -> None:
    """Check that a time zone is known.

    Raises:
        ConfigError: `zone`, with the nearest one.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        guess = nearest(name, available_timezones())
        message = f"{name!r} is not a known time zone{guess}: name one such as Europe/Berlin"
        raise ConfigError("zone", where, message) from error


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of points on arrival.

    Attributes:
        exact_sources: Sources whose numbers are refused rather than rounded to float64.
        zone: The IANA zone of timestamps that name none; None: they are refused.
        fold: Which of the two moments a local time means that comes twice: earlier or later; None: it
            is refused.
        timestamp_unit: What an integer timestamp counts since 1970 (s, ms, us, ns); None: it is refused.
        max_skew: How far ahead of the clock a bar may start.
        clock: Tells the present moment, as an aware datetime.

    Raises:
        ConfigError: `zone`, `enum` or `range`, if one of these cannot be used.
    """

    exact_sources: frozenset[str] = frozenset()
    zone: str | None = None
    fold: str | None = None
    timestamp_unit: str | None = None
    max_skew: timedelta = timedelta(days=1)
    clock: Callable[[], datetime] = utc_now
    _reached: list[datetime] = field(default_factory=lambda: [_EPOCH], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.zone is not None:
            check_zone("zone", self.zone)
        if self.fold is not None:
            check_word("fold", self.fold, FOLDS)
        if self.timestamp_unit is not None:
            check_word("timestamp_unit", self.timestamp_unit, TIMESTAMP_UNITS)
        if self.max_skew < timedelta(0):
            raise ConfigError("range", "max_skew", "is negative: give how far ahead a bar may start")

    def is_ahead(self, moment: datetime) -> bool:
        """Return whether a bar that starts at this moment starts later than it may."""
        if moment <= self._reached[0]:
            return False
        self._reached[0] = self.latest()
        return moment > self._reached[0]

    def latest(self) -> datetime:
        """Return the last moment at which a bar may start."""
        return self.clock() + self.max_skew


#: What is asked unless somebody asks for something else.
DEFAULT: Final = Rules()
