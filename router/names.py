"""What a name may look like, and which known one a misspelt one was meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import partial
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
NAME_RULE: Final = "1 to 100 letters, digits and . _ -"


def is_name(text: object) -> bool:
    """Return whether a text may be the id of a route or the name of a destination."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name most like this one, or nothing."""
    found = nearest_name(name, known)
    return "" if found is None else f" (did you mean {found!r}?)"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like this one; None: none is."""
    words = list(known)
    close = difflib.get_close_matches(name, words, n=5) or [w for w in words if _begins(w, name)]
    return max(close, key=partial(_likeness, name), default=None)


# 'CSV' is short for 'csv_file'; one or two letters are short for anything.
def _begins(word: str, name: str) -> bool:
    return word.lower() == name.lower() or (len(name) > 2 and word.lower().startswith(name.lower()))


# Of two that are as much alike, '1d' is meant by '1day' rather than '1y'.
def _likeness(name: str, word: str) -> tuple[float, bool]:
    return difflib.SequenceMatcher(None, word, name).ratio(), name.startswith(word)
