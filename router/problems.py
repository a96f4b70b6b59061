"""The mistakes of one file: gathered while it is read, and said all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn

from router.errors import ConfigError, RoutesFileError
from router.hidden import hide, spellings

#: Where a value is in a file: keys of mappings and positions in lists, from the top.
KeyPath = tuple[str | int, ...]

_PLAIN_KEY: Final = re.compile(r"[\w-]+")
#: So much of a hidden value's beginning is hidden as well: messages cut long values short.
_TELLING: Final = 6


def spelled(path: KeyPath) -> str:
    """Return a key path as people write it: ``routes[2].condition``."""
    return "".join(map(_step, path)).removeprefix(".")


class Problems:
    """What is wrong with a file, each with its line and key path.

    Args:
        file: The file as it was named.

    Attributes:
        places: Line and column of every value of the file, both from 1.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[KeyPath, tuple[int, int]] = {}
        self._found: dict[tuple[tuple[int, int], str, str], ConfigError] = {}
        self._lost: set[KeyPath] = set()
        self._hidden: dict[str, str] = {}

    def add(self, path: KeyPath, code: str, message: str, at: tuple[int, int] | None = None) -> None:
        """Add a mistake; the same one at the same place, or in a value that was given up, is said once.

        Args:
            path: The value it is about; of one that is missing, where it would be.
            code: Its stable name.
            message: What is wrong and what would be right.
            at: Line and column, where they are known better than by the path.
        """
        if self.is_lost(path):
            return
        place = ":".join(map(str, [self.file, *at])) if at else self.place(path)
        where = f"{place}: {spelled(path)}" if path else place
        found = (at or self._at(path), code, message)
        self._found.setdefault(found, ConfigError(code, where, message))

    def __bool__(self) -> bool:
        """Return whether something was found."""
        return bool(self._found)

    def give_up(self, path: KeyPath, code: str, message: str) -> None:
        """Add a mistake after which nothing more is said of a value, nor of what is in it."""
        self.add(path, code, message)
        self._lost.add(path)

    def place(self, path: KeyPath) -> str:
        """Return the file and the line of a value, or of what it is missing from: ``routes.yaml:12``."""
        line, _ = self._at(path)
        return f"{self.file}:{line}" if line else self.file

    def is_lost(self, path: KeyPath) -> bool:
        """Return whether a value, or one it is in, was given up."""
        return any(path[:length] in self._lost for length in range(len(path) + 1))

    def hide(self, value: str, shown: str) -> None:
        """Let a value be shown as something else in every message, wherever it turns up."""
        self._hidden |= dict.fromkeys(spellings(value), shown)

    def stop(self, code: str, message: str, at: tuple[int, int] | None = None) -> NoReturn:
        """Raise what was found, and as the last of it why the file cannot be read any further."""
        self.add((), code, message, at)
        self.raise_any()
        raise AssertionError("something was found")

    @contextmanager
    def gathered(self, path: KeyPath) -> Iterator[None]:
        """Take an error raised in a context as a mistake at a path."""
        try:
            yield
        except ConfigError as error:
            self.add(path, error.code, error.message)

    def hide_from_now_on(self) -> None:
        """Let no later message of this process show what messages of this file do not."""
        hide(self._hidden)

    def raise_any(self) -> None:
        """Raise what was found, by line.

        Raises:
            RoutesFileError: Something was found.
        """
        if self._found:
            by_place = sorted(self._found.items(), key=lambda found: found[0][0])
            raise RoutesFileError(
                self.file, [self._without_secrets(error) for _, error in by_place]
            ) from None

    def _at(self, path: KeyPath) -> tuple[int, int]:
        known = (self.places.get(path[:length]) for length in range(len(path), -1, -1))
        return next((place for place in known if place), (0, 0))

    def _without_secrets(self, error: ConfigError) -> ConfigError:
        return ConfigError(error.code, error.where, _without(error.message, self._hidden))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{step!r}]"


# In one pass: what is shown in place of one value may hold another.
def _without(text: str, hidden: Mapping[str, str]) -> str:
    begins = re.compile("|".join(re.escape(value[:_TELLING]) for value in hidden) or r"(?!)")
    kept, at = "", 0
    while found := begins.search(text, at):
        start = found.start()
        shared = {v: _shared(text[start:], v) for v in hidden if text.startswith(v[:_TELLING], start)}
        value = max(shared, key=shared.__getitem__)
        kept += text[at:start] + hidden[value]
        at = start + shared[value]
    return kept + text[at:]


def _shared(one: str, other: str) -> int:
    differs = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differs, min(len(one), len(other)))
