"""Know the values of rows without names by their position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from router.errors import ConfigError
from router.layout import Layout
from router.schema import PRICES

#: What the first values are, in this order; the volume may be missing.
ORDER: Final = ("timestamp", *PRICES, "volume")
LEAST: Final = len(ORDER) - 1
#: How many values are known: 12 are a row of Binance, those and others behind them.
_KNOWN: Final = (LEAST, len(ORDER), 12)
_ALL: Final = " ".join(f"--map {name}={at}" for at, name in enumerate(ORDER, 1))


def positions(width: int) -> list[str]:
    """Return names for so many values: their positions from 1."""
    return [str(at) for at in range(1, width + 1)]


def fits(row: Sequence[object], names: Sequence[str]) -> bool:
    """Return whether a row has as many values as there are names, or lacks only its volume."""
    return len(row) == len(names) or len(row) + 1 == len(names) == len(ORDER)


def by_position(layout: Layout, names: Sequence[str], where: str) -> Layout:
    """Return a layout that also says what the values of rows without names are.

    Five or six are `ORDER`, and so are the first six of twelve, as Binance gives them; those that were
    said to be something else are not.

    Args:
        layout: What was said, which comes first.
        names: The positions.
        where: What to call the file in errors.

    Raises:
        ConfigError: `columns`, if there is another number of them, and nothing was said.
    """
    if len(names) in _KNOWN:
        taken = layout.columns.values()
        known = {name: at for name, at in zip(ORDER, names, strict=False) if at not in taken}
        return replace(layout, columns={**known, **layout.columns})
    if not layout.columns:
        message = (
            f"its rows have no names, and {len(names)} values: say by position which is which, as in {_ALL}"
        )
        raise ConfigError("columns", where, message)
    return layout
