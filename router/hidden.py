"""Values that no message shows, because a routes file only refers to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

#: A shorter value keeps nothing secret, and hiding it would hide the message.
_SHORTEST: Final = 3

_SHOWN: Final[dict[str, str]] = {}


def spellings(value: str) -> list[str]:
    """Return how a value may turn up in a message: as it is, quoted, in a URL, or a line of it."""
    spelt = [
        written
        for line in (value, *value.splitlines())
        for written in (line, repr(line)[1:-1], json.dumps(line)[1:-1], quote(line, safe=""))
    ]
    return [written for written in dict.fromkeys(spelt) if len(written) >= _SHORTEST]


def hide(values: Mapping[str, str]) -> None:
    """Let values be shown as others, such as the references they came from, from now on in this process."""
    _SHOWN.update(values)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return a text, such as what a server answered, with three stars for every secret in it."""
    spelt = {written for secret in secrets for written in spellings(secret)}
    return (
        re.sub("|".join(map(re.escape, sorted(spelt, key=len, reverse=True))), "***", text) if spelt else text
    )


def without_hidden(text: str) -> str:
    """Return a text in which every hidden value is replaced by what is shown for it."""
    if not any(value in text for value in _SHOWN):
        return text
    longest_first = sorted(_SHOWN, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: _SHOWN[found[0]], text)
