"""Find dead letters by id, route, reason and age, count them, drop them: always some at a time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from router.errors import ConfigError
from workers.overflow import release
from workers.records import Buried
from workers.store import LETTERS_AT_A_TIME, Store

#: What people call the route of points that were refused before any route saw them.
DOOR: Final = "-"

_ID: Final = re.compile(r"\d{1,18}-\d{1,18}")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters are meant; those that pass every filter.

    Attributes:
        route: Of this route; `-` for what was refused at the door.
        reason: With this code, or one that begins with it: ``destination`` means ``destination.refused`` too.
        older_than: That died more than so many seconds ago.
        newer_than: That died less than so many seconds ago.
        ids: With one of these ids.
    """

    route: str | None = None
    reason: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    ids: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """True when nothing is left out."""
        return self == Filters()

    def admits(self, letter: Buried) -> bool:
        """Return whether a letter's route and reasons are among those meant; age and id are not looked at."""
        return (self.route is None or letter.route_id == ("" if self.route == DOOR else self.route)) and (
            self.reason is None or any(_begins(code, self.reason) for code in letter.codes)
        )


class Letters:
    """The dead letters that some filters mean, but for those that come after this was made."""

    def __init__(self, store: Store, filters: Filters) -> None:
        """Note what the newest letter is.

        Raises:
            ConfigError: ``letter.id``: an id that cannot be one.
        """
        self._store = store
        self._filters = filters
        for letter_id in filters.ids:
            if _ID.fullmatch(letter_id) is None:
                raise ConfigError(
                    "letter.id",
                    letter_id,
                    "is no id of a dead letter: `candlefleet dead-letters list` shows them",
                )
        now = store.now()
        newest = next(store.buried(newest_first=True), None)
        self._first = "-" if filters.newer_than is None else _at(now - filters.newer_than)
        self._last = "0-1" if newest is None else newest.letter_id
        if filters.older_than is not None:
            self._last = min(self._last, _at(now - filters.older_than), key=_parsed)

    def oldest_first(self) -> Iterator[Buried]:
        """Yield them in the order in which they died."""
        return self._admitted(newest_first=False)

    def newest_first(self) -> Iterator[Buried]:
        """Yield them, the last to die first."""
        return self._admitted(newest_first=True)

    def _admitted(self, *, newest_first: bool) -> Iterator[Buried]:
        return filter(self._filters.admits, self._in_range(newest_first=newest_first))

    def _in_range(self, *, newest_first: bool) -> Iterator[Buried]:
        if not self._filters.ids:
            yield from self._store.buried(self._first, self._last, newest_first=newest_first)
            return
        lowest = (0, 0) if self._first == "-" else _parsed(self._first)
        for letter_id in sorted(set(self._filters.ids), key=_parsed, reverse=newest_first):
            if lowest <= _parsed(letter_id) <= _parsed(self._last):
                yield from self._store.buried(letter_id, letter_id)


@dataclass(slots=True)
class Tally:
    """How many dead letters there are, by route and by reason, and what they take."""

    letters: int = 0
    rows: int = 0
    bytes: int = 0
    by_route: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, letter: Buried) -> None:
        """Count one letter."""
        self.letters += 1
        self.rows += letter.rows
        self.bytes += letter.size
        self.by_route[letter.route_id or DOOR] += letter.rows
        self.by_reason.update(dict.fromkeys(letter.codes, letter.rows))


def tally(letters: Iterable[Buried]) -> Tally:
    """Count letters."""
    found = Tally()
    for letter in letters:
        found.add(letter)
    return found


def drop_letters(store: Store, letters: Iterator[Buried], folder: Path) -> Iterator[tuple[int, int]]:
    """Remove letters for good, with their files in the fleet's folder, some at a time.

    Yields:
        How many were looked at, and how many were there.
    """
    while chunk := list(islice(letters, LETTERS_AT_A_TIME)):
        dropped = set(store.drop([letter.letter_id for letter in chunk]))
        for letter in chunk:
            if letter.letter_id in dropped:
                release(folder, letter, replayed=False)
        yield len(chunk), len(dropped)


def seconds(text: str, where: str) -> float:
    """Return the seconds of a duration such as ``30s``, ``15m``, ``2h`` or ``1d12h``.

    Raises:
        ConfigError: ``duration``: it is none.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError("duration", where, f"{text!r} is no duration: write it like 30s, 15m, 2h or 1d12h")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _begins(code: str, reason: str) -> bool:
    return code == reason or code.startswith(f"{reason.rstrip('.')}.")


# Ids begin with the milliseconds since 1970 at which the letter was written.
def _at(moment: float) -> str:
    return f"{max(0, int(moment * 1000))}-0"


def _parsed(letter_id: str) -> tuple[int, int]:
    milliseconds, number = letter_id.split("-")
    return int(milliseconds), int(number)
