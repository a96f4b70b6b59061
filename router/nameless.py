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
_LEAST: Final = len(ORDER) - 1
_OF_BINANCE: Final = 12  # values of a row of Binance: those, and others behind them
_ALL: Final = " ".join(f"--map {name}={at}" for at, name in enumerate(ORDER, 1))


def positions(width: int) -> list[str]:
    """Return names for so many values: their positions from 1; the volume counts where only it is missing."""
    count = len(ORDER) if width == _LEAST else width
    return [str(at) for at in range(1, count + 1)]


def fits(row: Sequence[object], names: Sequence[str]) -> bool:
    """Return whether a row has as many values as there are names, or lacks only its volume."""
    return len(row) == len(names) or len(row) + 1 == len(names) == len(ORDER)


def by_position(layout: Layout, names: Sequence[str], where: str) -> Layout:
    """Return a layout that also says what the values of rows without names are.

    Five or six are `ORDER`, and so are the first six of twelve, as Binance gives them.

    Args:
        layout: What was said, which comes first.
        names: The positions.
        where: What to call the file in errors.

    Raises:
        ConfigError: `columns`, if there is another number of them, and nothing was said.
    """
    if len(names) in (len(ORDER), _OF_BINANCE):
        return replace(layout, columns=dict(zip(ORDER, names, strict=False)) | dict(layout.columns))
    if not layout.columns:
        message = (
            f"its rows have no names, and {len(names)} values: say by position which is which, as in {_ALL}"
        )
        raise ConfigError("columns", where, message)
    return layout
