"""The mistakes of one file: gathered while it is read, and said all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from router.errors import ConfigError, RoutesFileError

#: Where a value is in a file: keys of mappings and positions in lists, from the top.
KeyPath = tuple[str | int, ...]

_PLAIN_KEY: Final = re.compile(r"[\w-]+")
#: A shorter value keeps nothing secret, and hiding it would hide the message.
_SHORTEST: Final = 3
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
        lines: The line of every value of the file.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self._found: dict[tuple[int, str, str], ConfigError] = {}
        self._lost: set[KeyPath] = set()
        self._hidden: dict[str, str] = {}

    def add(self, path: KeyPath, code: str, message: str, at: tuple[int, int] | None = None) -> None:
        """Add a mistake; the same one at the same line, or in a value that was given up, is said once.

        Args:
            path: The value it is about; of one that is missing, where it would be.
            code: Its stable name.
            message: What is wrong and what would be right.
            at: Line and column, where they are known better than by the path.
        """
        if self.is_lost(path):
            return
        line = at[0] if at else self._line(path)
        place = ":".join(map(str, [self.file, *(at or ([line] if line else []))]))
        where = f"{place}: {spelled(path)}" if path else place
        self._found.setdefault((line, code, message), ConfigError(code, where, message))

    def give_up(self, path: KeyPath, code: str, message: str) -> None:
        """Add a mistake after which nothing more is said of a value, nor of what is in it."""
        self.add(path, code, message)
        self._lost.add(path)

    def is_lost(self, path: KeyPath) -> bool:
        """Return whether a value, or one it is in, was given up."""
        return any(path[:length] in self._lost for length in range(len(path) + 1))

    def hide(self, value: str, shown: str) -> None:
        """Let a value be shown as something else in every message, wherever it turns up."""
        if len(value) >= _SHORTEST:
            self._hidden[value] = self._hidden[repr(value)[1:-1]] = shown

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

    def raise_any(self) -> None:
        """Raise what was found, by line.

        Raises:
            RoutesFileError: Something was found.
        """
        if self._found:
            by_line = sorted(self._found.items(), key=lambda found: found[0][0])
            raise RoutesFileError(self.file, [self._without_secrets(error) for _, error in by_line]) from None

    def _line(self, path: KeyPath) -> int:
        known = (self.lines.get(path[:length]) for length in range(len(path), -1, -1))
        return next((line for line in known if line), 0)

    def _without_secrets(self, error: ConfigError) -> ConfigError:
        message = error.message
        for value in sorted(self._hidden, key=len, reverse=True):
            message = _hidden(message, value, self._hidden[value])
        return ConfigError(error.code, error.where, message)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{step!r}]"


def _hidden(text: str, value: str, shown: str) -> str:
    text = text.replace(value, shown)
    while (start := text.find(value[:_TELLING])) >= 0 and len(value) > _TELLING:
        stop = start + _TELLING
        while text[stop : stop + 1] == value[stop - start : stop - start + 1] != "":
            stop += 1
        text = text[:start] + shown + text[stop:]
    return text
