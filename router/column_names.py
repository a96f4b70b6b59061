"""Find out which column of a file holds which field of a point: by a small table, without guessing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from router.errors import ConfigError
from router.layout import CONSTANTS, Layout
from router.names import nearest
from router.schema import COLUMNS

#: Fields that a file may lack.
OPTIONAL: Final = frozenset({"volume", "data_quality_score", "is_realtime", "technical_indicators"})
_SHOWN: Final = 20  # columns of a file that an error names
_REQUIRED: Final = tuple(column for column in COLUMNS if column not in OPTIONAL)

#: Other names of fields, in small letters; nothing else is recognised.
ALIASES: Final[Mapping[str, str]] = {
    **{name: name for name in COLUMNS},
    **dict.fromkeys(("t", "ts", "time", "date", "datetime", "open_time", "open time"), "timestamp"),
    **{"o": "open", "h": "high", "l": "low", "c": "close"},
    **dict.fromkeys(("v", "vol"), "volume"),
    "ticker": "symbol",
}


def columns_by_field(names: Iterable[str], layout: Layout, where: str) -> dict[str, str]:
    """Return, for each field of a point that a file has, the column that holds it.

    Args:
        names: The file's columns.
        layout: Which of them hold what, and what the file may lack.
        where: What to call the file in errors.

    Raises:
        ConfigError: `columns`, with everything that is amiss: fields that no column holds, or two, and
            columns that are named but not there.
    """
    names = list(names)
    claims = {name: [column] for name, column in layout.columns.items()}
    taken = set(layout.columns.values())
    for column in names:
        name = ALIASES.get(column.strip().lower())
        if name is not None and name not in layout.columns and column not in taken:
            claims.setdefault(name, []).append(column)
    faults = [
        *_absent(layout, names),
        *_twice(claims, names),
        *_doubled(claims),
        *_missing(claims, layout, names),
    ]
    if faults:
        raise ConfigError("columns", where, "; ".join(faults))
    return {name: columns[0] for name, columns in claims.items()}


def _listed(names: Sequence[str]) -> str:
    return (", ".join(map(repr, names[:_SHOWN])) or "none") + (", …" if len(names) > _SHOWN else "")


def _absent(layout: Layout, names: list[str]) -> list[str]:
    absent = [column for column in layout.columns.values() if column not in names]
    return [
        f"has no column {column!r}{nearest(column, names) or f' (it has {_listed(names)})'}"
        for column in dict.fromkeys(absent)
    ]


def _twice(claims: Mapping[str, list[str]], names: list[str]) -> list[str]:
    used = dict.fromkeys(column for columns in claims.values() for column in columns)
    return [
        f"has the column {column!r} twice: rename one of them" for column in used if names.count(column) > 1
    ]


def _doubled(claims: Mapping[str, list[str]]) -> list[str]:
    return [
        f"{' and '.join(map(repr, columns))} may each be the {name}: choose with --map {name}=COLUMN"
        for name, columns in claims.items()
        if len(set(columns)) > 1
    ]


def _missing(claims: Mapping[str, list[str]], layout: Layout, names: list[str]) -> list[str]:
    given = {*claims, *layout.constants}
    missing = [name for name in _REQUIRED if name not in given]
    constant = [name for name in missing if name in CONSTANTS]
    other = [name for name in missing if name not in CONSTANTS]
    faults = []
    if other:
        taken = {column for columns in claims.values() for column in columns}
        free = [column for column in names if column not in taken]
        wanted = ", ".join(name + nearest(name, free) for name in other)
        faults.append(
            f"has no column for {wanted}: name it, as in --map {other[0]}=COLUMN (it has {_listed(names)})"
        )
    if constant:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in constant)
        faults.append(f"does not say {', '.join(constant)}: give {options}")
    return faults
