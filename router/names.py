"""What a name may look like, and which known one a misspelt one was meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
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
    found = difflib.get_close_matches(name, words, n=1) or [w for w in words if w.lower() == name.lower()]
    return found[0] if found else None
