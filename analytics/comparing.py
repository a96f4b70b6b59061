"""Compare an engine's answers with those expected."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Rows = Sequence[Mapping[str, Any]]

#: What names a row of an answer; everything else in it is compared.
KEYS: Final = {
    "years": ("symbol", "timeframe", "year"),
    "bars": ("source", "symbol", "timeframe", "timestamp"),
}
#: Engines add up twenty numbers in different orders; relative.
_TOLERANCE: Final = 1e-12


def differences(question: str, expected: Rows, found: Rows) -> list[str]:
    """Return one line for each row that is missing, doubled, unexpected or different; none if all agree.

    Everything must be equal, except averages, which may differ by a relative 1e-12.

    Args:
        question: One of `KEYS`.
        expected: The rows of the answer, in any order.
        found: The same of the engine.
    """
    wanted, seen = _by_key(question, expected), _by_key(question, found)
    lines = [f"{_name(key)}: missing" for key in sorted(wanted.keys() - seen.keys())]
    for key, rows in seen.items():
        lines += [f"{_name(key)}: {len(rows)} times"] if len(rows) > 1 else []
        lines += [f"{_name(key)}: {what}" for what in _unequal(wanted.get(key, []), rows)]
    return lines


def _by_key(question: str, rows: Rows) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in KEYS[question]), []).append(row)
    return found


def _unequal(wanted: Rows, found: Rows) -> Iterator[str]:
    if not wanted:
        yield "not expected"
        return
    for name, value in wanted[0].items():
        if not _equal(name, value, found[0].get(name)):
            yield f"{name} is {found[0].get(name)!r}, expected {value!r}"


def _equal(name: str, one: Any, other: Any) -> bool:
    if name == "average" and other is not None:
        return math.isclose(one, other, rel_tol=_TOLERANCE)
    return bool(one == other)


def _name(key: tuple[Any, ...]) -> str:
    return " ".join(map(str, key))
